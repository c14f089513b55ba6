"""Gates against what really runs: other images in dev, a person's answer, a gate that may fail."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from small_world import SmallWorld

from aither_rings_mcp.domain.model import Actor

pytestmark = pytest.mark.engine

ROBIN = Actor(name="robin", kind="person", door="cli")


def with_gate(source: str, **gate: Any):
    def change(rules: dict[str, Any]) -> None:
        next(path for path in rules["paths"] if path["source"] == source)["gates"].append(gate)

    return change


@pytest.mark.promise(2)
def test_docker_build_refuses_when_dev_runs_other_images_than_its_release(small: SmallWorld) -> None:
    recorded = small.running_images("dev")
    small.engine.images.get(recorded["veil"]).tag(f"{small.app}-node", "dev-latest")
    small.compose_by_hand("dev", "node")
    try:
        said = small.ctl("promote", "dev", "staging")
        assert (said.code, said.outcome) == (4, "blocked")
        gate = next(gate for gate in said.answer["gates"] if gate["name"] == "docker_build")
        assert gate["status"] == "failed"
        assert [item["id"] for item in gate["failed_items"]] == ["node"]
    finally:
        back = small.ctl("up", "dev")
    assert (back.code, small.running_images("dev")) == (0, recorded)
    assert small.ctl("promote", "dev", "staging").outcome == "candidate_tagged"


@pytest.mark.promise(13)
def test_only_somebody_else_can_approve_and_an_approval_counts_once(small: SmallWorld) -> None:
    before = small.what_runs("prod")
    with small.rules(with_gate("staging", gate="manual_approval")):
        small.new_setting()
        asked = small.ctl("promote", "staging", "prod")
        assert (asked.code, asked.outcome) == (4, "approval_required")
        assert asked.answer["approval"]["required"] is True
        plan = asked.answer["approval"]["ways"][0].split()[-1]
        assert small.what_runs("prod") == before

        own = small.ctl("approve", plan)
        assert (own.code, own.error["code"]) == (4, "forbidden")
        unanswered = small.ctl("promote", "staging", "prod", "--plan", plan)
        assert (unanswered.code, unanswered.outcome) == (4, "approval_required")

        approval = anyio.run(small.manager.answer_plan, plan, True, ROBIN)
        assert approval.decision == "approved"
        done = small.ctl("promote", "staging", "prod", "--plan", plan)
        assert (done.code, done.outcome) == (0, "promoted")

        again = small.ctl("promote", "staging", "prod", "--plan", plan)
        assert (again.code, again.error["code"]) == (4, "plan_stale")
    answers = [event for event in small.history("prod") if event["event"] == "approval"]
    assert [event["outcome"] for event in answers] == ["approved", "refused"], "newest first; the attempt is told, too"
    assert answers[0]["actor"] == str(ROBIN)


@pytest.mark.promise(13)
def test_a_plan_that_somebody_rejected_stays_rejected(small: SmallWorld) -> None:
    with small.rules(with_gate("staging", gate="manual_approval")):
        small.new_setting()
        plan = small.ctl("plan", "staging", "prod").answer["plan_id"]
        anyio.run(partial(small.manager.answer_plan, plan, False, ROBIN, note="not on a Friday"))
        said = small.ctl("promote", "staging", "prod", "--plan", plan)
    assert (said.code, said.outcome) == (4, "blocked")
    assert said.answer["gates"][0]["reason_code"] == "approval_rejected"


def test_an_optional_gate_that_fails_is_told_and_does_not_block(small: SmallWorld) -> None:
    failing = with_gate("dev", gate="command", name="licences", blocking=False, **{"with": {"argv": ["false"]}})
    with small.rules(failing):
        said = small.ctl("promote", "dev", "staging")
    assert (said.code, said.outcome) == (0, "candidate_tagged")
    assert {gate["name"]: gate["status"] for gate in said.answer["gates"]} == {
        "health_check": "passed", "docker_build": "passed", "licences": "failed",
    }  # fmt: skip
