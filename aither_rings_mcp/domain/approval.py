"""Whose yes a change needs before it happens: what rings.yaml says, for who asks, and what they are told."""

from __future__ import annotations

from aither_rings_mcp.domain.answers import ApprovalView, NextAction
from aither_rings_mcp.domain.model import Actor, Override
from aither_rings_mcp.domain.plan import Plan
from aither_rings_mcp.domain.policy import known_path
from aither_rings_mcp.domain.settings import AskedOf, GateSpec, Path, Settings

#: The gate whose answer is a person's.
GATE = "manual_approval"


def gates_due(settings: Settings, source: str, target: str, actor: Actor, override: Override | None = None) -> Path:
    """The path with the gates that this promotion has to pass, the one that asks a person among them where it is due.

    A person's override goes past all of them. An agent's goes past those that measure, never past a person.
    """
    path = known_path(settings, source, target)
    asked = _asks(path.approval, actor) or has_gate(path)
    if override:
        asked = actor.kind != "person" and (asked or _asks(settings.approvals.force, actor))
        return path.model_copy(update={"gates": (GateSpec(gate=GATE),) if asked else ()})
    if asked and not has_gate(path):
        taken = any(spec.label == GATE for spec in path.gates)  # one that stops nobody
        due = GateSpec(gate=GATE, name="approval_by_policy" if taken else None)
        return path.model_copy(update={"gates": (*path.gates, due)})
    return path


def has_gate(path: Path) -> bool:
    """Whether a promotion along `path`, as it is given, waits for a person."""
    return any(spec.gate == GATE and spec.blocking for spec in path.gates)


def ways(plan_id: str, plan_hash: str | None) -> tuple[str, ...]:
    """How a person can answer a plan, the two commands first."""
    bound = f', "plan_hash": "{plan_hash}"' if plan_hash else ""
    return (
        f"ring-ctl approve {plan_id}",
        f"ring-ctl reject {plan_id}",
        'the dashboard of `ring-ctl serve`, under "Waiting for a person"',
        f'REST with an approver\'s token: POST /plans/{plan_id}/approve {{"decision": "approved"{bound}}}',
    )


def covers(plan: Plan, override: Override | None) -> bool:
    """Whether an answer to `plan` is one to this: a yes to a promotion through its gates is none to one past them."""
    return override is None or plan.forced == override.reason


def needed_to_go_back(settings: Settings, ring: str, actor: Actor) -> bool:
    """Whether a rollback of `ring` that `actor` asks for waits for a person; the monitor's never does."""
    return _asks(settings.rings[ring].rollback_approval, actor)


def rejected_way_back(plan: Plan) -> str:
    """How long a no to a rollback stands, and who need not wait that long: no no keeps a person from going back."""
    return (
        f"Nobody is asked again until {plan.expires_at:%Y-%m-%d %H:%M:%SZ}; a person can go back all the same, at "
        f"once: `ring-ctl rollback {plan.target} --release {plan.release} --reason TEXT`."
    )


def asked_of_a_person(plan_id: str, plan_hash: str | None) -> ApprovalView:
    """What whoever waits for a person is told: which plan it is, and how one can answer it."""
    return ApprovalView(required=True, plan_id=plan_id, plan_hash=plan_hash, ways=ways(plan_id, plan_hash))


def promotion_by(plan_id: str, source: str, target: str, forced: str | None, why: str) -> NextAction:
    """The call that applies a plan; where that goes past the gates (`forced`: its reason), the call has to say so."""
    override = {} if forced is None else {"force": True, "reason": forced}
    arguments = {"source": source, "target": target, "plan_id": plan_id, **override}
    return NextAction(tool="ring_promote", arguments=arguments, why=why)


def same_asker(asked: Actor, answers: Actor) -> bool:
    """Whether who answers is who asked: another door, or another client at which they sit, makes nobody another."""
    return identity(asked) == identity(answers)


def identity(actor: Actor) -> tuple[str, str]:
    """What makes an actor somebody else: name and kind, whatever the door."""
    return _account(actor), actor.kind


def person_at(account: str, client: str) -> Actor:
    """The person of that account who answers a question that an agent's client showed them."""
    return Actor(name=f"{account}{_AT}{client or 'their client'}", kind="person", door="mcp")


_AT = " at "


def _account(actor: Actor) -> str:
    return actor.name.partition(_AT)[0] if actor.kind == "person" else actor.name


def _asks(of: AskedOf, actor: Actor) -> bool:
    return of is AskedOf.EVERYONE or (of is AskedOf.AGENTS and actor.kind == "agent")
