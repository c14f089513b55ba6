"""The engine dies, the machine loses power, somebody prunes for real: on an engine that is only this test's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from private_engine import PrivateEngine
from scratch_world import ScratchWorld
from watching import Running, watched
from worlds import wait_for

from aither_rings_mcp.domain.composition import LABEL_PIN
from aither_rings_mcp.wiring import installation

pytestmark = pytest.mark.engine

#: The fast profile as it is; `watched` alone is quicker still. What a test before promoted has not settled yet.
FAST = {"poll": "1s", "suspect_poll": "500ms", "unhealthy_for": "3s", "dead_for": "3s", "settle": "30m"}


@pytest.fixture(scope="module")
def private() -> Iterator[PrivateEngine]:
    engine = PrivateEngine()
    try:
        engine.start()
        with pytest.MonkeyPatch.context() as environment:
            for name in list(os.environ):
                if name.startswith(("RINGS_", "AITHER_", "COMPOSE_", "DOCKER_")):
                    environment.delenv(name)
            environment.setenv("DOCKER_HOST", engine.url)
            yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def one_world(private: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchWorld]:
    with closing(private.client()) as client:
        world = ScratchWorld(client, tmp_path_factory.mktemp("scratch"))
        try:
            yield world
        finally:
            world.loses_its_processes()  # all else goes with the engine


@pytest.fixture
def world(private: PrivateEngine, one_world: ScratchWorld) -> ScratchWorld:
    private.ensure()
    try:
        one_world.at_rest()
    finally:
        print(private.log[-3000:])  # shown when a test fails
    return one_world


def carried_to_its_end(world: ScratchWorld, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation once it has ended; whatever says what happened says the same."""
    ended = wait_for(world.ended, 60, f"{operation['id']} ends")
    assert ended["id"] == operation["id"]
    world.workers_end()
    assert list(world.faults(ended)) == []
    return ended


# -- the engine dies


@pytest.mark.promise(5, 12)
def test_a_rollout_whose_engine_dies_waits_for_it_and_ends_by_itself(
    private: PrivateEngine, world: ScratchWorld
) -> None:
    world.ready()
    door = world.start("promote", "staging", "prod")
    operation = world.switching()
    private.kill()
    wait_for(lambda: "trying again until it passes" in world.log_of(operation), 20, "the worker waits for its engine")
    assert not world.ended()
    private.start()
    ended = carried_to_its_end(world, operation)
    assert door.wait(20) == {"done": 0, "rolled_back": 7}[ended["phase"]]


@pytest.mark.promise(5, 12)
def test_a_rollout_whose_engine_stays_away_is_left_and_carried_on_by_the_monitor(
    private: PrivateEngine, world: ScratchWorld
) -> None:
    def impatient(rules: dict[str, Any]) -> None:
        rules["limits"]["engine"] = "3s"

    world.ready()
    with world.rules(impatient):
        door = world.start("promote", "staging", "prod")
        operation = world.switching()
        private.kill()
        world.workers_end()
        assert door.wait(20) != 0
        assert "left for `ring-ctl recover`" in world.log_of(operation)
        assert not world.ended()
        with watched(world, **FAST) as monitor:
            private.start()
            carried_to_its_end(world, operation)
            assert f"{operation['id']} was interrupted while switching: carrying it on" in monitor.log


@pytest.mark.promise(5, 12)
def test_after_a_power_cut_in_mid_promotion_recover_brings_one_release_everywhere(
    private: PrivateEngine, world: ScratchWorld
) -> None:
    world.ready()
    door = world.start("promote", "staging", "prod")
    before = {container.id for container in world.containers("prod")}
    operation = world.switching()
    wait_for(lambda: before - {c.id for c in world.containers("prod")}, 20, "a container of the old release is gone")
    door.send_signal(signal.SIGKILL)
    world.loses_its_processes()
    private.power_cut()
    door.wait(10)
    assert not world.ended()
    private.start()
    recovered = world.ctl("recover")
    assert (recovered.code, recovered.answer["resumed"]) == (0, [operation["id"]])
    carried_to_its_end(world, operation)


# -- the engine dies while all is at rest


@contextmanager
def nothing_is_taken_back(world: ScratchWorld, *, beside: bool = True) -> Iterator[Running]:
    """The fast monitor runs; whatever happens meanwhile is no release's fault, so at most it starts what it was.

    Not `beside`: with no other ring that could have the same trouble, and so be its excuse.
    """
    if not world.ring("prod")["rollback_ready"]:
        world.promoted()
    if not beside:
        world.arrange("down", "dev")
        world.workers_end()
    begun, rings = time.time(), ("dev", "prod")
    before = {ring: world.ring(ring) for ring in rings}
    operations, told = [world.latest_operation(ring) for ring in rings], len(world.history())
    with watched(world, **FAST) as monitor:
        wait_for(lambda: monitor_looked_at(world) > begun, 20, "the monitor has looked")
        assert world.quick("health", "prod").answer["monitor"]["armed"]
        yield monitor
    started_again = [op for op in map(world.latest_operation, rings) if op and op not in operations]
    assert {(op["request"]["kind"], op["actor"]["kind"], op["phase"]) for op in started_again} <= {
        ("up", "monitor", "done")
    }
    for ring in rings:
        after = world.ring(ring)
        same = ("state", "release", "quarantine")
        assert [after.get(key) for key in same] == [before[ring].get(key) for key in same]
    new = world.history()[: len(world.history()) - told]
    assert {event["outcome"] for event in new} <= {"engine", "engine_over", "held", "held_over", "up"}, new


def monitor_looked_at(world: ScratchWorld) -> float:
    """When the monitor last looked at prod, in seconds of wall-clock time."""
    try:
        watches = json.loads((world.state_dir / "monitor.json").read_bytes())["watches"]
    except FileNotFoundError:
        return 0.0
    return float(watches["prod"]["samples"][-1]["at"]) if "prod" in watches else 0.0


def monitor_has_seen_enough(world: ScratchWorld, seconds: float = 5) -> None:
    """Longer than it needs to condemn a release, from now on."""
    begun = time.time()
    wait_for(lambda: monitor_looked_at(world) > begun + seconds, 30, "the monitor has seen enough")


@pytest.mark.promise(10)
def test_after_a_power_cut_the_rings_come_back_as_they_were_and_nothing_is_blamed(
    private: PrivateEngine, world: ScratchWorld
) -> None:
    with nothing_is_taken_back(world):
        runs = world.running_images("prod")
        ids = {container.id for container in world.containers("prod")}
        private.power_cut()
        private.start()
        monitor_has_seen_enough(world)
        assert world.healthy("prod")
        assert world.running_images("prod") == runs
        assert {container.id for container in world.containers("prod")} == ids


@pytest.mark.promise(10)
def test_an_engine_that_dies_and_leaves_containers_down_is_no_releases_fault(
    private: PrivateEngine, world: ScratchWorld
) -> None:
    """20.10 stops what still ran when it starts again, and takes that for a wish: `unless-stopped` stays down."""
    with nothing_is_taken_back(world, beside=False) as monitor:
        runs = world.running_images("prod")
        private.kill()
        private.start()
        wait_for(lambda: world.healthy("prod"), 60, "prod runs again")
        monitor_has_seen_enough(world)
        assert world.healthy("prod")
        assert world.running_images("prod") == runs
        if "did not start again" in monitor.log:
            assert "starts it again" in monitor.log


# -- somebody prunes


def pinned(world: ScratchWorld, *, running: bool = False) -> set[str]:
    label = f"{LABEL_PIN}={installation(world.state_dir)}"
    pins = world.engine.containers.list(all=not running, filters={"label": label})
    return {str(pin.attrs["Image"]) for pin in pins}


def images_of(world: ScratchWorld, *releases: str) -> set[str]:
    return {image for release in releases for image in world.stored_images(release).values()}


def here(world: ScratchWorld) -> set[str]:
    return {str(image.id) for image in world.engine.images.list(all=True)}


def goes_back_to(world: ScratchWorld, release: str, *words: str) -> None:
    said = world.quick("rollback", "prod", *words)
    assert (said.code, said.outcome, said.answer["to"]) == (0, "rolled_back", release), said
    assert world.running_images("prod") == world.stored_images(release)
    assert world.healthy("prod")
    assert world.quick("history", "verify").code == 0


def lost_ways(world: ScratchWorld) -> str:
    """What one round of the monitor tells of prod's ways back."""
    alerts = [str(alert) for alert in world.quick("monitor", "--once").answer["alerts"]]
    (told,) = [alert for alert in alerts if alert.startswith("prod") and "no way back any more" in alert]
    return told


@pytest.mark.promise(9)
def test_after_a_real_system_prune_the_way_back_is_open_and_older_ones_are_told_as_lost(
    private: PrivateEngine, world: ScratchWorld
) -> None:
    older, way, newest = str(world.ring("prod")["release"]), world.promoted(), world.promoted()
    world.deployed()
    world.ready()  # dev and staging have gone on, so that the pins of what prod runs need not run
    world.workers_end()
    private.prune("system", "prune", "-af")
    assert images_of(world, way, newest) <= here(world)
    assert not images_of(world, older) & here(world)
    assert not images_of(world, newest) & pinned(world)
    assert world.ring("prod")["rollback_ready"]
    lost = lost_ways(world)
    assert (older in lost, way in lost, "none is left" in lost) == (True, False, False)
    assert images_of(world, way, newest) <= pinned(world)
    goes_back_to(world, way)

    assert "none is left" in lost_ways(world)
    refused = world.quick("rollback", "prod")
    assert refused.error["code"] == "no_rollback_target"
    world.arrange("promote", "staging", "prod")
    world.workers_end()
    private.prune("system", "prune", "-af", "--volumes=false")
    goes_back_to(world, way)


@pytest.mark.promise(9)
def test_after_a_real_prune_of_images_every_way_back_is_open(private: PrivateEngine, world: ScratchWorld) -> None:
    older, way, _ = str(world.ring("prod")["release"]), world.promoted(), world.promoted()
    private.prune("image", "prune", "-af")
    goes_back_to(world, older, "--release", older)
    assert images_of(world, way) <= here(world)


@pytest.mark.promise(9)
def test_a_ring_that_is_down_comes_up_after_a_real_system_prune(private: PrivateEngine, world: ScratchWorld) -> None:
    release = str(world.ring("prod")["release"])
    world.arrange("down", "prod")
    world.workers_end()
    assert images_of(world, release) <= pinned(world, running=True)
    private.prune("system", "prune", "-af")
    up = world.ctl("up", "prod")
    assert up.code == 0, up
    assert world.running_images("prod") == world.stored_images(release)
    assert world.ring("prod")["release"] == release
