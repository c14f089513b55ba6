"""What a killed process leaves: a door's death stops nothing, a worker's death can be carried on from."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Any

import anyio
import pytest
from small_world import SmallWorld
from worlds import wait_for

from aither_rings_mcp.domain.answers import PromoteAnswer
from aither_rings_mcp.domain.model import Actor

pytestmark = pytest.mark.engine

AGENT = Actor(name="robin", kind="agent", door="mcp")


def ended(small: SmallWorld, operation: str) -> str:
    """The operation's status once it has ended."""
    return str(small.ctl("operation", operation, "--follow").answer["status"])


@pytest.mark.promise(4, 6)
def test_an_operation_outlives_its_door_and_keeps_others_out_meanwhile(small: SmallWorld) -> None:
    small.new_setting()
    before = small.ring("prod")["release"]
    door = small.start("promote", "staging", "prod")
    operation = small.operation_in("prod", "switching")
    door.send_signal(signal.SIGKILL)
    assert door.wait(10) == -signal.SIGKILL

    busy = small.quick("promote", "staging", "prod")
    assert (busy.code, busy.error["code"]) == (3, "ring_busy")
    assert busy.error["operation_id"] == operation["id"]
    assert busy.error["phase"] in {"switching", "verifying"}
    assert operation["actor"]["name"] in busy.error["owner"]
    assert f"ring-ctl operation {operation['id']} --follow" in busy.error["next"]

    assert ended(small, operation["id"]) == "done"
    prod = small.ring("prod")
    assert (prod["release"], prod["rollback_release"]) == (operation_release(small, operation["id"]), before)
    assert small.running_images("prod") == small.stored_images(prod["release"])
    assert small.told(operation["id"]) == ["promoted"]


@pytest.mark.promise(4, 12)
def test_the_same_idempotency_key_gets_the_same_operation(small: SmallWorld) -> None:
    def ask() -> PromoteAnswer:
        promote = partial(small.manager.promote, "staging", "prod", AGENT, wait_s=0, idempotency_key="patrol-7")
        return anyio.run(promote)

    small.new_setting()
    first, again = ask(), ask()
    assert first.operation_id is not None
    assert again.operation_id == first.operation_id
    assert ended(small, first.operation_id) == "done"
    late = ask()
    assert (late.operation_id, late.outcome) == (first.operation_id, "promoted")
    assert small.told(first.operation_id) == ["promoted"]


@pytest.mark.promise(5, 12)
@pytest.mark.parametrize("phase", ["switching", "verifying"])
def test_a_killed_worker_leaves_an_operation_that_recover_carries_on(small: SmallWorld, phase: str) -> None:
    small.new_setting()
    door = small.start("promote", "staging", "prod")
    operation = small.operation_in("prod", phase)["id"]
    if phase == "switching":
        wait_for(lambda: small.half_way("prod"), 20, "Compose has replaced a part")
    small.kill_worker(operation)
    assert door.wait(20) != 0
    # a killed worker's Compose goes on to its end and keeps the claim until then: nobody carries on beside it
    assert not small.processes_with("--project-name", small.projects["prod"])
    assert small.ctl("operation", operation).answer["status"] == "interrupted"
    status = small.ctl("status", "prod")
    assert status.answer["ok"] is False
    assert status.answer["rings"][0]["active_operation"]["operation_id"] == operation
    assert f"interrupted while {phase}" in status.answer["summary"]
    refused = small.ctl("promote", "staging", "prod")
    assert (refused.code, refused.error["code"], refused.error["phase"]) == (3, "ring_busy", phase)
    assert "ring-ctl recover" in refused.error["next"]

    recovered = small.ctl("recover")
    assert (recovered.code, recovered.answer["resumed"]) == (0, [operation])
    assert ended(small, operation) == "done"
    release = operation_release(small, operation)
    assert small.ring("prod")["release"] == release
    assert small.running_images("prod") == small.stored_images(release)
    assert small.http("prod", "genesis", "/")[1]["release"] == release
    assert small.told(operation) == ["promoted"]
    assert small.ctl("recover").answer["resumed"] == []


@pytest.mark.promise(4)
def test_an_operation_cancelled_at_its_gates_leaves_everything_as_it_was(small: SmallWorld) -> None:
    marker = small.root / "gate-runs"
    waits = f"import pathlib, time; pathlib.Path({str(marker)!r}).touch(); time.sleep(60)"

    def slow(rules: dict[str, Any]) -> None:
        gate = {"gate": "command", "with": {"argv": [sys.executable, "-c", waits]}}
        rules["paths"][1]["gates"].append(gate)

    small.new_setting()
    before, recorded = small.everything_running(), small.recorded()
    with small.rules(slow):
        door = small.start("promote", "staging", "prod")
        operation = small.operation_in("prod", "gating")["id"]
        wait_for(marker.exists, 10, "the gate runs")
        said = small.ctl("cancel", operation, "--reason", "wrong release")
    assert (said.code, said.answer["status"]) == (0, "cancelled")
    assert said.answer["undone"][0] == "the gates were stopped"
    assert door.wait(20) == 4
    assert (small.everything_running(), small.recorded()) == (before, recorded)
    assert small.told(operation) == ["cancelled"]
    assert small.processes_with(waits) == []


def operation_release(small: SmallWorld, operation: str) -> str:
    latest = small.latest_operation("prod")
    assert latest is not None
    assert latest["id"] == operation
    return str(latest["release"]["id"])
