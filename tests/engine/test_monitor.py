"""The real monitor over real containers: it sees, judges, acts by itself, and can be killed like everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_world import SmallWorld
from watching import watched
from worlds import wait_for

pytestmark = pytest.mark.engine


def taken_back(small: SmallWorld, bad: str) -> dict[str, Any]:
    """The rollback that the monitor made, once it has ended."""

    def look() -> dict[str, Any] | None:
        latest = small.latest_operation("prod")
        ended = latest and latest["request"]["kind"] == "rollback" and latest["phase"] in {"done", "stuck", "failed"}
        return latest if ended and latest["previous"] == bad else None

    return wait_for(look, 60, f"{bad} is taken back")


def watched_release(small: SmallWorld) -> str:
    """Another release in prod, which the monitor has begun to watch."""
    small.promote_another()
    wait_for(lambda: small.ctl("health", "prod").answer["monitor"]["armed"], 10, "the monitor is armed")
    return str(small.ring("prod")["release"])


@pytest.mark.promise(7, 8, 10)
def test_a_critical_service_that_dies_after_its_promotion_is_seen_at_once_and_its_release_taken_back(
    small: SmallWorld,
) -> None:
    good = small.ring("prod")["release"]
    # so slow a pace that only the engine's events can have told it
    with watched(small, poll="10m") as monitor:
        bad = watched_release(small)
        small.container("prod", "veil").kill()
        monitor.says("critical services exit or restart: veil", 5)
        operation = taken_back(small, bad)
    assert (operation["phase"], operation["actor"]["kind"]) == ("done", "monitor")
    prod = small.ring("prod")
    assert prod["release"] == good
    assert small.running_images("prod") == small.stored_images(good)
    assert [entry["release"] for entry in prod["quarantine"]][-1] == bad
    assert small.told(operation["id"]) == ["rolled_back"]
    refused = small.ctl("promote", "staging", "prod")
    assert (refused.code, refused.error["code"]) == (4, "quarantined")


@pytest.mark.promise(4, 5, 7, 12)
def test_killed_monitors_and_workers_change_nothing_about_the_end(small: SmallWorld) -> None:
    good = small.ring("prod")["release"]
    with watched(small, dead_for="4s", unhealthy_for="4s") as monitor:
        bad = watched_release(small)
        small.container("prod", "veil").kill()
        monitor.says("critical services exit or restart: veil")
        began = wait_for(lambda: first_look(small, bad), 10, "it is on disk what was seen")
        monitor.kill_and_start_again()
        monitor.says("takes it back to")
        assert first_look(small, bad) == began, "its clock started anew"
        operation = small.operation_in("prod", "switching")["id"]
        small.kill_worker(operation)
        monitor.kill_and_start_again()
        assert taken_back(small, bad)["id"] == operation
    assert small.ring("prod")["release"] == good
    assert small.running_images("prod") == small.stored_images(good)
    assert small.told(operation) == ["rolled_back"]
    assert small.ctl("history", "verify").code == 0


def first_look(small: SmallWorld, release: str) -> float | None:
    """When the looks begin that the monitor judges this release of prod by."""
    memory = small.state_dir / "monitor.json"
    watches = json.loads(memory.read_bytes())["watches"] if memory.exists() else {}
    watch = watches.get("prod") or {"release": None}
    return watch["samples"][0]["at"] if watch["release"] == release and len(watch["samples"]) > 1 else None


@pytest.mark.promise(7)
def test_a_way_back_that_is_broken_too_ends_stuck_once_and_a_person_unlocks_it(small: SmallWorld) -> None:
    # healthy for long enough to prove itself, each time anew
    assert small.release("latent:5").code == 0
    small.arrange("promote", "dev", "staging")
    small.promote_another()
    broken = small.ring("prod")["release"]
    small.promote_another()
    newest = small.ring("prod")["release"]
    with watched(small) as monitor:
        taken_back(small, newest)
        wait_for(lambda: small.ring("prod")["state"] == "stuck", 30, "prod is stuck")
        assert small.ring("prod")["release"] == broken
        before = small.what_runs("prod")
        monitor.says("came by going back, and is bad too")
    alerts = [event["outcome"] for event in small.history("prod") if event["event"] == "alert"]
    assert alerts.count("stuck") == 1
    refused = small.ctl("promote", "staging", "prod")
    assert (refused.code, refused.error["code"]) == (8, "ring_stuck")
    assert small.what_runs("prod") == before
    unlocked = small.ctl("unlock", "prod", "--reason", "a fixed release follows")
    assert (unlocked.code, len(unlocked.answer["lifted"])) == (0, 1)
    assert small.release("ok").code == 0
    small.arrange("promote", "dev", "staging")
    assert small.promote_another().outcome == "promoted"


def test_what_somebody_did_by_hand_is_told_and_left_as_it_is(small: SmallWorld) -> None:
    prod, before = small.ring("prod"), small.latest_operation("prod")
    other = next(image for name, image in small.running_images("prod").items() if name != "veil")
    with watched(small, unhealthy_for="500ms") as monitor:
        small.engine.images.get(other).tag(f"{small.app}-veil", "prod-latest")
        small.compose_by_hand("prod", "veil")
        monitor.says("drift: does not run")
        wait_for(lambda: not small.ctl("health", "prod").answer["ok"], 10, "prod is not well")
        monitor.says("held: unhealthy, but held")
        status = small.ctl("status", "prod")
        assert (status.answer["ok"], "veil" in status.answer["rings"][0]["drift"]) == (False, True)
        assert small.running_images("prod")["veil"] == other
        assert small.latest_operation("prod") == before
    small.arrange("up", "prod")
    assert small.ring("prod")["release"] == prod["release"]
    assert small.running_images("prod") == small.stored_images(prod["release"])
    wait_for(lambda: small.ctl("monitor", "--once").answer["alerts"] == [], 30, "all is well again")
