"""The spare worker, as real processes: an operation here goes on as long as no engine answers, which none does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from aither_rings_mcp.adapters.spare_worker import SpareWorker
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.rollout import Kind, Operation, Request
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.wiring import build_world

LIMIT_S = 20.0
PERSON = Actor(name="robin", kind="person", door="cli")
DOWN = Request(kind=Kind.DOWN, ring="prod")
RING = {"kind": "runtime", "compose": ["prod.yml"]}
RULES = {
    "version": 1,
    "app": "shop",
    "services": {"web": {}},
    "rings": {"dev": {**RING, "project": "sparetest-dev"}, "prod": {**RING, "project": "sparetest-prod"}},
    "paths": [{"source": "dev", "target": "prod"}],
    "limits": {"engine": "60s"},
}
#: A door that starts an operation with its spare and then lives on.
DOOR = """
import sys, time
from pathlib import Path
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.rollout import Kind, Request
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.wiring import build_world
world = build_world(Path(sys.argv[1]), spare=True)
world.workers.expect()
while not world.workers.ready:
    time.sleep(0.01)
print(world.workers.ready, flush=True)
if sys.argv[2] == "starts":
    op = Operations(world).start(
        Request(kind=Kind.DOWN, ring="prod"), Actor(name="robin", kind="person", door="cli"))
    print(op.id, flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited too long: {what}"
        time.sleep(0.005)


def words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def lives(pid: int) -> bool:
    return bool([word for word in words(pid) if word])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    path = tmp_path / "rings.yaml"
    path.write_text(yaml.safe_dump(RULES))
    (tmp_path / "prod.yml").write_text("services: {web: {image: none}}\n")
    yield path
    for process in Path("/proc").glob("[0-9]*"):
        if str(path) in words(int(process.name)) and "aither_rings_mcp.entrypoints.worker" in words(int(process.name)):
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture
def world(config: Path) -> World:
    return build_world(config, spare=True)


def spare_of(world: World) -> int:
    assert isinstance(world.workers, SpareWorker)
    workers = world.workers
    workers.expect()
    until(lambda: workers.ready, "a spare is ready")
    return workers.ready or 0


def started(world: World) -> Operation:
    return Operations(world).start(DOWN, PERSON)


def worker_of(operation: Operation, config: Path) -> list[int]:
    pids = [int(process.name) for process in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if {operation.id, str(config)} <= set(words(pid))]


def log_of(world: World, operation: Operation) -> tuple[str, ...]:
    return world.logs.read(operation.id, 0, 10)[0]


def holds(pid: int, path: Path) -> bool:
    return any(os.path.samestat(fd.stat(), path.stat()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.exists())


@pytest.mark.promise(4)
def test_an_operation_starts_in_the_spare_as_if_it_were_made_for_it(world: World, config: Path) -> None:
    spare = spare_of(world)
    lock = config.parent / ".rings/claims/prod.lock"
    assert os.getsid(spare) == spare
    began = time.perf_counter()
    op = started(world)
    until(lambda: log_of(world, op), "its first line")
    print(f"\nstart to first line, spare: {(time.perf_counter() - began) * 1000:.0f} ms")
    until(lambda: worker_of(op, config) == [spare], "whoever looks for its worker finds it by the operation")
    assert holds(spare, lock)
    errors = config.parent / ".rings/operations" / op.id / "worker.err"
    assert os.readlink(f"/proc/{spare}/fd/2") == str(errors)
    os.kill(spare, signal.SIGUSR1)
    until(lambda: "in _spare" in errors.read_text(), "it says where it stands")
    assert lives(spare)


@pytest.mark.promise(4, 6)
def test_what_a_spare_works_on_outlives_its_killed_door_and_the_ring_stays_claimed(config: Path) -> None:
    world = build_world(config)
    door = subprocess.Popen([sys.executable, "-c", DOOR, str(config), "starts"], stdout=subprocess.PIPE, text=True)
    assert door.stdout
    spare = int(door.stdout.readline())
    operation = door.stdout.readline().strip()
    door.kill()
    door.communicate(timeout=LIMIT_S)
    assert world.claims.holder("prod") == operation
    until(lambda: world.logs.read(operation, 0, 10)[0], "its first line")
    assert world.claims.take("prod", "op-other") is None
    os.kill(spare, signal.SIGKILL)
    until(lambda: world.claims.holder("prod") is None, "the lock is free with its worker's end")


def test_a_spare_goes_with_its_door(config: Path) -> None:
    door = subprocess.Popen([sys.executable, "-c", DOOR, str(config), "waits"], stdout=subprocess.PIPE, text=True)
    assert door.stdout
    spare = int(door.stdout.readline())
    assert lives(spare)
    door.kill()
    door.communicate(timeout=LIMIT_S)
    until(lambda: not lives(spare), "the spare ends")


@pytest.mark.promise(6)
def test_the_ring_is_never_free_while_it_is_handed_over(world: World, config: Path) -> None:
    looks = """
import sys
from pathlib import Path
from aither_rings_mcp.wiring import build_world
claims, seen = build_world(Path(sys.argv[1])).claims, ""
print("looks", flush=True)
while seen == "" or holder:
    holder = claims.holder("prod")
    seen = seen or holder or ""
print(seen, flush=True)
"""
    spare = spare_of(world)
    watcher = subprocess.Popen([sys.executable, "-c", looks, str(config)], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout and watcher.stdout.readline() == "looks\n"
    op = started(world)
    until(lambda: log_of(world, op), "its first line")
    assert watcher.poll() is None, "it saw the ring free after it was claimed"
    os.kill(spare, signal.SIGKILL)
    assert watcher.communicate(timeout=LIMIT_S)[0].strip() == op.id


def test_a_killed_spare_costs_nothing_but_its_head_start(world: World, config: Path) -> None:
    spare = spare_of(world)
    os.kill(spare, signal.SIGKILL)
    op = started(world)
    until(lambda: log_of(world, op), "its first line")
    assert worker_of(op, config) and spare not in worker_of(op, config)


def test_a_spare_that_does_not_take_over_in_time_never_does(world: World, config: Path) -> None:
    spare = spare_of(world)
    os.kill(spare, signal.SIGSTOP)
    op = started(world)
    until(lambda: log_of(world, op), "its first line")
    until(lambda: not lives(spare), "the spare is gone")
    # a child that it is about to start shows its parent's words for an instant
    until(lambda: len(worker_of(op, config)) == 1, "one worker")


def test_a_spare_of_another_configuration_is_not_used(world: World, config: Path) -> None:
    spare = spare_of(world)
    config.write_text(yaml.safe_dump({**RULES, "limits": {"engine": "59s"}}))
    op = started(world)
    until(lambda: log_of(world, op), "its first line")
    assert worker_of(op, config) and spare not in worker_of(op, config)
    until(lambda: not lives(spare), "the spare is gone")


@pytest.mark.promise(6)
def test_a_spare_holds_no_claim_before_it_has_an_operation(world: World, config: Path) -> None:
    claim = world.claims.take("prod", "op-mine")
    assert claim
    spare = spare_of(world)
    assert not holds(spare, config.parent / ".rings/claims/prod.lock")
    claim.release()
    assert world.claims.holder("prod") is None
