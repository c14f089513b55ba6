"""Whose yes a change needs: the whole table."""

from __future__ import annotations

import pytest

from aither_rings_mcp.domain import approval
from aither_rings_mcp.domain.model import Actor, Override, RingKind
from aither_rings_mcp.domain.settings import Approvals, AskedOf, GateSpec, Path, Ring, Service, Settings

PERSON = Actor(name="ann")
AGENT = Actor(name="claude-code", kind="agent", door="mcp")
MONITOR = Actor(name="monitor", kind="monitor", door="monitor")
TESTS, HUMAN = GateSpec(gate="tests_pass"), GateSpec(gate="manual_approval", name="a-person")
NOBODY, AGENTS, EVERYONE = AskedOf.NOBODY, AskedOf.AGENTS, AskedOf.EVERYONE


def settings(force: AskedOf = AGENTS, back: AskedOf = NOBODY, path: Path | None = None) -> Settings:
    return Settings(
        app="shop",
        services={"api": Service()},
        rings={
            "staging": Ring(kind=RingKind.GATE),
            "prod": Ring(kind=RingKind.RUNTIME, project="prod", compose=("c.yml",), rollback_approval=back),
        },
        paths=(path,) if path else (),
        approvals=Approvals(force=force),
    )


def gates(of: AskedOf, actor: Actor, *on_path: GateSpec, force: AskedOf = AGENTS, override: bool = False) -> list[str]:
    path = Path(source="staging", target="prod", gates=on_path, approval=of)
    by_force = Override(by=str(actor), reason="it burns") if override else None
    return [
        spec.gate for spec in approval.gates_due(settings(force, path=path), "staging", "prod", actor, by_force).gates
    ]


@pytest.mark.parametrize(
    ("of", "actor", "asked"),
    [
        (NOBODY, PERSON, False), (NOBODY, AGENT, False),
        (AGENTS, PERSON, False), (AGENTS, AGENT, True),
        (EVERYONE, PERSON, True), (EVERYONE, AGENT, True),
    ],
)  # fmt: skip
def test_a_path_asks_a_person_for_whom_rings_yaml_says(of: AskedOf, actor: Actor, asked: bool) -> None:
    assert gates(of, actor, TESTS) == ["tests_pass", *(["manual_approval"] if asked else [])]


@pytest.mark.parametrize("of", AskedOf)
@pytest.mark.parametrize("actor", [PERSON, AGENT])
def test_a_path_with_the_gate_asks_once_whoever_asks(of: AskedOf, actor: Actor) -> None:
    assert gates(of, actor, TESTS, HUMAN) == ["tests_pass", "manual_approval"]


def test_a_gate_that_stops_nobody_does_not_stand_in_for_the_policy() -> None:
    optional = GateSpec(gate="manual_approval", blocking=False)
    path = Path(source="staging", target="prod", gates=(optional,), approval=AGENTS)
    due = approval.gates_due(settings(path=path), "staging", "prod", AGENT).gates
    assert [(spec.gate, spec.label) for spec in due] == [
        ("manual_approval", "manual_approval"),
        ("manual_approval", "approval_by_policy"),
    ]


@pytest.mark.promise(14)
@pytest.mark.parametrize("of", AskedOf)
@pytest.mark.parametrize("on_path", [(), (TESTS, HUMAN)])
def test_a_persons_override_goes_past_everything(of: AskedOf, on_path: tuple[GateSpec, ...]) -> None:
    assert gates(of, PERSON, *on_path, override=True) == []


@pytest.mark.promise(13)
@pytest.mark.parametrize(
    ("of", "force", "on_path", "asked"),
    [
        (NOBODY, AGENTS, (TESTS,), True),
        (NOBODY, NOBODY, (TESTS,), False),
        (AGENTS, NOBODY, (TESTS,), True),
        (EVERYONE, NOBODY, (TESTS,), True),
        (NOBODY, NOBODY, (TESTS, HUMAN), True),
    ],
)
def test_an_agents_override_goes_past_no_person(
    of: AskedOf, force: AskedOf, on_path: tuple[GateSpec, ...], asked: bool
) -> None:
    assert gates(of, AGENT, *on_path, force=force, override=True) == (["manual_approval"] if asked else [])


@pytest.mark.parametrize(
    ("back", "actor", "asked"),
    [
        (NOBODY, AGENT, False), (AGENTS, AGENT, True), (AGENTS, PERSON, False), (AGENTS, MONITOR, False),
    ],
)  # fmt: skip
def test_going_back_waits_for_nobody_unless_an_agent_asks_where_rings_yaml_says_so(
    back: AskedOf, actor: Actor, asked: bool
) -> None:
    assert approval.needed_to_go_back(settings(back=back), "prod", actor) is asked


@pytest.mark.parametrize(
    ("asks", "answers", "same"),
    [
        (PERSON, PERSON.model_copy(update={"door": "mcp"}), True),
        (PERSON, approval.person_at("ann", "claude-code"), True),
        (approval.person_at("ann", "desktop"), approval.person_at("ann", "claude-code"), True),
        (PERSON, approval.person_at("eve", "claude-code"), False),
        (AGENT, approval.person_at("ann", "claude-code"), False),
        (AGENT, AGENT.model_copy(update={"door": "rest"}), True),
        (Actor(name="ann", kind="agent"), PERSON, False),
    ],
)
def test_another_door_or_client_makes_nobody_somebody_else(asks: Actor, answers: Actor, same: bool) -> None:
    assert approval.same_asker(asks, answers) is same
