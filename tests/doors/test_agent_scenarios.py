"""What an agent can do that has only the tool list: each test is a transcript, with the words that made it act.

It finds tools by their titles and descriptions, follows `next_actions` as they are given, and reads answers. Whatever
it does for a reason has to be said somewhere in what it read (`Agent.call`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent import USUAL, Agent, at_work, tokens
from fakes.machine import Fault
from fakes.memory import quick_folder
from fakes.shop import ANN, EVE, Shop, settings
from fakes.stories import candidate, two_in_prod, with_approval

NEVER = Fault("never-healthy")


@pytest.fixture(params=["http", "legacy"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


def cheap(agent: Agent) -> None:
    """What usual answers cost a model: not those to which it asked for a log or evidence."""
    for turn in agent.turns:
        if not turn.arguments.get("include_log") and turn.tool != "ring_evidence":
            assert tokens(turn.answer) < USUAL, (turn.tool, tokens(turn.answer))


def on_disk(shop: Shop) -> dict[str, bytes]:
    state = shop.folder / "state"
    return {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}


# -- (a) prod is unhealthy


async def test_it_finds_why_prod_is_unhealthy_and_takes_it_back(folder: Path, way: str) -> None:
    shop = Shop(folder / "shop")
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    bad = shop.record().release
    shop.turn("v2", NEVER)
    async with at_work(shop, way) as agent:
        await agent.call(agent.tool_for("start here"), "Start here.")
        prod = next(ring for ring in agent.last.answer["rings"] if ring["name"] == "prod")
        assert (prod["state"], prod["rollback_ready"]) == ("running", True)
        health = await agent.call(
            agent.tool_for("or when something seems wrong"), "see whether it is well", ring="prod"
        )
        assert health["summary"] == "prod is unhealthy: 0 of 2 services healthy; critical: api."
        (api, _) = health["services"]
        assert (api["name"], api["http_status"], api["reason"]) == ("api", 503, "/health answered 503")

        history = await agent.follow("ring_history")
        newest = history["events"][0]
        assert (newest["outcome"], newest["to"], newest["actor"]) == ("promoted", bad, "ann (person via cli)")

        back = await agent.follow("ring_rollback")
        assert agent.last.because == f"go back to {prod['rollback_target']}"
        assert (back["ok"], back["outcome"], back["from"]) == (True, "rolled_back", bad)
        assert back["verification"]["images_match"]
        assert back["verification"]["healthy"] == back["verification"]["total"] == 2

        assert (await agent.follow("ring_health"))["state"] == "healthy"
        (prod,) = (await agent.call("ring_status", "Start here.", ring="prod"))["rings"]
        assert [entry["release"] for entry in prod["quarantine"]] == [bad]
    assert shop.record().release == back["to"] != bad
    cheap(agent)


# -- (b) a promotion is blocked by a test

TESTED = {"gate": "tests_pass", "with": {"paths": ["tests"]}, "env": {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}}
BROKEN = "def total(prices):\n    return sum(prices) + 1\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"


async def test_it_sees_which_test_blocked_a_promotion_and_promotes_once_that_is_mended(folder: Path) -> None:
    tests = folder / "shop" / "tests"
    tests.mkdir(parents=True)
    (folder / "shop" / "pytest.ini").write_text("[pytest]\n")
    (tests / "test_cart.py").write_text(BROKEN)
    paths = [
        {"source": "dev", "target": "staging", "gates": [{"gate": "health_check"}, TESTED]},
        {"source": "staging", "target": "prod", "gates": [{"gate": "health_check"}]},
    ]
    shop = Shop(folder / "shop", config=settings(paths=paths))
    await shop.deploy("v1")
    async with at_work(shop, "http") as agent:
        promote = agent.tool_for("promote a release", "through its gates")
        plan = await agent.call("ring_plan", "Plan a promotion", source="dev", target="staging")
        assert plan["gates"] == ["health_check", "tests_pass"]
        blocked = await agent.follow(promote)
        assert (blocked["ok"], blocked["outcome"]) == (False, "blocked")
        assert "by tests_pass; nothing was changed" in blocked["summary"]
        gate = next(gate for gate in blocked["gates"] if gate["status"] == "failed")
        (item,) = gate["failed_items"]
        assert (item["id"], item["where"]) == ("tests/test_cart.py::test_total", "tests/test_cart.py:6")
        assert item["message"].startswith("assert 4 == 3")
        assert gate["fix_hint"].startswith("Fix the code or the tests named here")

        read = await agent.follow("ring_operation")
        assert agent.last.because == "read what the gates wrote"
        assert read["log"]["untrusted"]
        assert any("assert 4 == 3" in line for line in read["log"]["lines"])
        assert read["next_actions"] == [], "it was read: an agent that follows what is offered comes to an end"
        kept = await agent.call("ring_evidence", "Read the evidence", operation_id=blocked["operation_id"])
        sections = {section["name"] for section in kept["sections"]}
        assert "gates" in sections
        text = await agent.call("ring_evidence", "gates", operation_id=blocked["operation_id"], section="gates")
        assert (text["untrusted"], "test_total" in text["text"]) == (True, True)

        # somebody mends it and deploys to dev: for that there is no tool
        (tests / "test_cart.py").write_text(BROKEN.replace(" + 1", ""))
        await shop.deploy("v2")

        passed = await agent.call(promote, gate["fix_hint"], source="dev", target="staging", reason="the cart adds up")
        assert passed["outcome"] == "candidate_tagged"
        await agent.follow("ring_plan")
        promoted = await agent.follow(promote)
        assert (promoted["ok"], promoted["outcome"]) == (True, "promoted")
        assert (await agent.follow("ring_health"))["state"] == "healthy"
    assert shop.record().release == promoted["release"]
    cheap(agent)


# -- (c) a person has to say yes, and the client cannot ask them


async def test_it_stops_at_an_approval_with_the_words_for_a_person(folder: Path, way: str) -> None:
    shop = Shop(folder / "shop", config=with_approval())
    await shop.deploy("v1")
    await shop.stage()
    async with at_work(shop, way) as agent:
        assert "ring_approve" not in agent.tools
        assert not {name for tool in agent.tools.values() for name in tool.input_schema["properties"]} & {
            "approve", "approved", "approval", "decision", "plan_hash",
        }  # fmt: skip
        asked = await agent.call("ring_promote", "Promote a release", source="staging", target="prod")
        assert (asked["ok"], asked["outcome"]) == (False, "approval_required")
        approval = asked["approval"]
        plan_id, plan_hash = approval["plan_id"], approval["plan_hash"]

        # what it tells a person: exactly what it was given for that
        said = approval["words"]
        assert "pass `approval.words` on as they are and stop" in (agent.tools["ring_promote"].description or "")
        until = shop.world.plans.load(plan_id).expires_at
        for fact in (
            plan_id, plan_hash, "promote staging -> prod", "2 services, critical: api", f"{until:%Y-%m-%d %H:%M:%SZ}",
            f"ring-ctl approve {plan_id}", f"ring-ctl reject {plan_id}", "the dashboard",
            f"POST /plans/{plan_id}/approve",
        ):  # fmt: skip
            assert fact in said, fact
        assert len(said) < 1200
        assert "scout" not in said, "nothing in it comes from the agent"
        assert approval["blast_radius"]["critical"] == ["api"]

        # going on before a person said yes asks for the same plan, and not for another one
        again = await agent.follow("ring_promote")
        assert (again["outcome"], again["approval"]["plan_id"]) == ("approval_required", plan_id)
        assert [action["arguments"]["plan_id"] for action in again["next_actions"]] == [plan_id]
        forced = await agent.call(
            "ring_promote",
            "True: go past failing gates",
            source="staging",
            target="prod",
            force=True,
            reason="it is urgent",
        )
        assert forced["error"] == "forbidden"
        for argument in ({"approve": True}, {"plan_hash": plan_hash}, {"decision": "approved"}):
            refused = await agent.mistake("ring_promote", source="staging", target="prod", plan_id=plan_id, **argument)
            assert refused["error"] == "invalid_arguments"
        guessed = {"plan_id": plan_id, "plan_hash": plan_hash, "decision": "approved", "note": "me"}
        assert (await agent.client.call_tool("ring_approve", guessed)).is_error
        assert shop.record().release is None

        # through another door
        await shop.manager.answer_plan(plan_id, True, EVE, plan_hash=plan_hash)

        done = await agent.follow("ring_promote")
        assert agent.last.arguments["plan_id"] == plan_id
        assert (done["ok"], done["outcome"]) == (True, "promoted")
    assert shop.record().release == shop.world.plans.load(plan_id).release
    cheap(agent)


async def test_an_operation_that_was_followed_has_the_same_words(folder: Path) -> None:
    shop = Shop(folder / "shop", config=with_approval())
    await shop.deploy("v1")
    await shop.stage()
    shop.hands.held = True
    async with at_work(shop, "legacy") as agent:
        await agent.call("ring_promote", "Promote a release", source="staging", target="prod", wait_s=0)
        shop.hands.held = False
        seen = await agent.follow("ring_operation")
        approval = seen["result"]["approval"]
        assert approval["words"].startswith(f"Please decide on plan {approval['plan_id']}: promote staging -> prod")
        assert [action["tool"] for action in seen["next_actions"]] == ["ring_promote"]
    cheap(agent)


async def test_it_stops_with_the_same_words_where_going_back_needs_a_person(folder: Path) -> None:
    rings = settings().model_dump(mode="json", by_alias=True, exclude_unset=True)["rings"]
    rings["prod"]["rollback_approval"] = "agents"
    shop = Shop(folder / "shop", config=settings(rings=rings))
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    shop.turn("v2", NEVER)
    async with at_work(shop, "legacy") as agent:
        await agent.call("ring_health", "Ring health", ring="prod")
        asked = await agent.follow("ring_rollback")
        assert (asked["outcome"], asked["approval"]["required"]) == ("refused", True)
        words, plan_id = asked["approval"]["words"], asked["approval"]["plan_id"]
        assert f"Please decide on plan {plan_id}: take prod back" in words
        await shop.manager.answer_plan(plan_id, True, EVE)
        assert (await agent.follow("ring_rollback"))["outcome"] == "rolled_back"
    cheap(agent)


# -- (d) a misspelt argument


async def test_a_misspelt_argument_changes_not_a_byte_and_is_told_the_right_one(folder: Path, way: str) -> None:
    shop = Shop(folder / "shop")
    await candidate()(shop)
    async with at_work(shop, way) as agent:
        before, running = on_disk(shop), dict(shop.machine.containers)
        refused = await agent.mistake("ring_promote", target="prod", dryrun=True)
        assert "unknown argument 'dryrun' (did you mean 'dry_run'?)" in refused["what"]
        assert "'source' is missing; it has to be one of dev, staging" in refused["what"]
        assert "nothing was done" in refused["what"]
        assert refused["did_you_mean"] == {"dryrun": "dry_run"}
        assert on_disk(shop) == before
        assert shop.machine.containers == running

        mended = await agent.call(
            "ring_promote", "did you mean 'dry_run'?", source="staging", target="prod", dry_run=True
        )
        assert (mended["outcome"], mended["plan"]["release"]) == ("dry_run", mended["release"])
    cheap(agent)


# -- (e) it takes longer than the agent waits


async def test_it_follows_what_it_did_not_see_end(folder: Path, way: str) -> None:
    shop = Shop(folder / "shop")
    await candidate()(shop)
    shop.hands.held = True
    async with at_work(shop, way) as agent:
        plan = await agent.call("ring_plan", "Plan a promotion", source="staging", target="prod")
        (offered,) = plan["next_actions"]
        running = await agent.call("ring_promote", offered["why"], **offered["arguments"], wait_s=0.2)
        assert (running["ok"], running["outcome"]) == (True, "running")
        operation = running["operation_id"]

        busy = await agent.call("ring_rollback", "Roll a ring back", ring="prod")
        assert (busy["error"], busy["operation_id"]) == ("ring_busy", operation)
        assert "(tool: ring_operation)" in busy["next"]
        status = await agent.call("ring_status", "Start here.")
        assert [a["arguments"]["operation_id"] for a in status["next_actions"] if a["tool"] == "ring_operation"] == [
            operation
        ]

        shop.hands.held = False
        ended = await agent.follow("ring_operation")
        assert (ended["status"], ended["result"]["outcome"]) == ("done", "promoted")
        assert (await agent.follow("ring_health"))["state"] == "healthy"
    cheap(agent)


# -- (f) what only a person can mend


async def test_it_stops_at_a_frozen_ring_and_says_who_can_thaw_it(folder: Path) -> None:
    shop = Shop(folder / "shop")
    await candidate()(shop)
    await shop.manager.freeze("prod", ANN, "the sale")
    async with at_work(shop, "auto") as agent:
        plan = await agent.call("ring_plan", "Plan a promotion", source="staging", target="prod")
        assert plan["next_actions"] == [], "what would be refused is not offered"
        assert "frozen by ann" in plan["warnings"][0]
        refused = await agent.call("ring_promote", "Promote a release", source="staging", target="prod")
        assert refused["error"] == "ring_frozen"
        assert refused["next"] == "Ask a person, who can `ring-ctl thaw prod`. A freeze stops no rollback."
        assert "force" not in json.dumps(refused)
    cheap(agent)


async def test_it_stops_at_a_quarantined_release_and_says_that_a_fix_passes(folder: Path) -> None:
    shop = Shop(folder / "shop")
    await candidate()(shop)
    await shop.promote()
    await shop.rollback(reason="the till is off")
    async with at_work(shop, "auto") as agent:
        for tool in ("ring_plan", "ring_promote"):
            refused = await agent.call(tool, "Promote a release", source="staging", target="prod")
            assert refused["error"] == "quarantined"
            assert "was rolled back from prod" in refused["what"]
            assert refused["next"].startswith("A fix passes freely: deploy it and bring it here through its gates.")
            assert "only if a person overrides that" in refused["next"]
    cheap(agent)


async def test_it_stops_where_there_is_nothing_to_go_back_to(folder: Path) -> None:
    shop = Shop(folder / "shop")
    await shop.ship("v1")
    await shop.manager.up("shared", ANN)
    shop.turn("v1", NEVER)
    async with at_work(shop, "auto") as agent:
        health = await agent.call("ring_health", "Ring health", ring="prod")
        assert health["summary"].endswith("no release that it could go back to is ready.")
        assert [action["tool"] for action in health["next_actions"]] == ["ring_history"]
        refused = await agent.call("ring_rollback", "Roll a ring back", ring="prod")
        assert refused["error"] == "no_rollback_target"
        assert "A person has to bring a fix, or mend prod by hand." in refused["next"]
    cheap(agent)


async def test_it_stops_at_a_stuck_ring_and_says_who_takes_it_back_into_service(folder: Path) -> None:
    shop = Shop(folder / "shop")
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    shop.turn("v1", NEVER)
    shop.turn("v2", NEVER)
    async with at_work(shop, "auto") as agent:
        await agent.call("ring_health", "Ring health", ring="prod")
        stuck = await agent.follow("ring_rollback")
        assert (stuck["ok"], stuck["outcome"]) == (False, "stuck")
        assert "once a person has looked, `ring-ctl unlock prod --reason TEXT`" in stuck["summary"]
        kept = await agent.follow("ring_evidence")
        assert {section["name"] for section in kept["sections"]} >= {"summary", "logs"}
    cheap(agent)


# -- what only names the command line leads an agent nowhere


@pytest.mark.parametrize(
    ("tool", "arguments", "leads_to"),
    [
        ("ring_operation", {"operation_id": "op-1"}, "ring_history"),
        ("ring_promote", {"source": "staging", "target": "prod", "plan_id": "plan-00000000"}, "ring_plan"),
        ("ring_plan", {"source": "staging", "target": "prod"}, "ring_promote"),
        ("ring_rollback", {"ring": "prod", "tag": "prod-0000000"}, "ring_history"),
        ("ring_rollback", {"ring": "prod", "tag": "no tag"}, "ring_status"),
        ("ring_rollback", {"ring": "prod", "release": "no id"}, "ring_history"),
    ],
)
async def test_a_refusal_names_the_tool_that_helps(
    folder: Path, tool: str, arguments: dict[str, Any], leads_to: str
) -> None:
    shop = Shop(folder / "shop")
    await (shop.deploy("v1") if tool == "ring_plan" else two_in_prod()(shop))
    async with at_work(shop, "legacy") as agent:
        refused = await agent.call(tool, agent.tools[tool].title or "", **arguments)
        assert refused["error"] not in {"internal", "invalid_arguments"} or "ring-ctl" in refused["next"]
        assert leads_to in refused["next"], refused
        assert leads_to in agent.tools


async def test_a_plan_warns_an_agent_whose_changes_of_this_hour_are_nearly_spent(folder: Path) -> None:
    shop = Shop(folder / "shop", config=settings(agents={"changes_per_hour": 2}))
    await candidate()(shop)
    async with at_work(shop, "auto") as agent:
        first = await agent.call("ring_plan", "Plan a promotion", source="staging", target="prod")
        assert first["warnings"] == []
        await agent.follow("ring_promote")
        await shop.deploy("v4")
        await shop.stage()
        second = await agent.call("ring_plan", "Plan a promotion", source="staging", target="prod")
        assert any("1 of the 2 changes" in warning for warning in second["warnings"])
