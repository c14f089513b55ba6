"""`kill -9` at random instants, on the real engine: whatever it hits, one release is everywhere afterwards.

`RINGS_KILLS=100` kills more often; each takes three to five seconds.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import docker
import pytest
from tiny_world import TinyWorld
from worlds import WORKER, free_port, wait_for

from aither_rings_mcp.domain.composition import LABEL_RELEASE
from aither_rings_mcp.domain.model import Actor

KILLS = int(os.environ.get("RINGS_KILLS", "8"))
SEED = 7
#: A person: an agent has to wait after each promotion that went back.
ROBIN = Actor(name="robin", kind="person", door="mcp")
#: In which an interrupted operation is carried on to its end.
LIMIT = 45.0

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400 + 50 * KILLS)]


@dataclass
class Figures:
    """What was seen, over all kills."""

    hit: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    inconsistent: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)


class Killer:
    """Starts one operation after the other and kills what works on it."""

    def __init__(self, world: TinyWorld) -> None:
        self.world = world
        self.figures = Figures()
        self._random = random.Random(SEED)
        self._free = free_port()
        self._taken = socket.create_server(("127.0.0.1", free_port()))

    def begin(self) -> None:
        """Two releases that proved themselves, so that there is a way back."""
        for words in (("deploy", "dev"), ("promote", "dev", "staging"), ("promote", "staging", "prod")):
            self.world.arrange(*words)
        self.world.new_setting()

    def end(self) -> None:
        self._taken.close()

    def undisturbed(self, kind: str) -> float:
        """How long one takes, in seconds."""
        self._arrange(kind)
        started = time.monotonic()
        self._ask(kind)
        wait_for(self._ended, LIMIT, f"the {kind} ends")
        return time.monotonic() - started

    def kill_one(self, kind: str, duration: float) -> None:
        world, draw = self.world, self._random
        before = world.latest_operation("prod")
        self._arrange(kind)
        delay, door_too, compose_too = draw.uniform(0, duration), draw.random() < 0.25, draw.random() < 0.3
        words = ("rollback", "prod") if kind == "rollback" else ("promote", "staging", "prod")
        door = world.start(*words) if door_too else None
        if door:
            # its interpreter takes a while to start; the instant is drawn from there on
            wait_for(lambda: world.latest_operation("prod") != before or door.poll() is not None, LIMIT, "it begins")
        else:
            self._ask(kind)
        time.sleep(delay)  # the random instant
        if door:
            door.kill()
        operation = world.latest_operation("prod")
        assert operation
        phase = operation["phase"]
        compose = world.processes_with("--project-name", world.projects["prod"]) if compose_too else []
        for process in (*world.processes_with(WORKER, operation["id"]), *compose):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if door:
            door.wait(10)
        if operation.get("ended_at") is None:
            self.figures.hit[phase] += 1
        self._carried_on(f"{kind} killed when {phase}, {delay:.2f} s in")

    def _ask(self, kind: str) -> None:
        manager = self.world.manager
        call: Callable[..., Any] = (
            partial(manager.rollback, "prod", ROBIN, wait_s=0)
            if kind == "rollback"
            else partial(manager.promote, "staging", "prod", ROBIN, wait_s=0)
        )
        anyio.run(call)

    def _arrange(self, kind: str) -> None:
        """What the next promotion brings: a good release, or one whose port is taken, so that it cannot start."""
        if kind != "rollback":
            self.world.new_setting()
            port = self._taken.getsockname()[1] if kind == "refused" else self._free
            self.world.set(".env.prod", GENESIS_PORT=port)

    def _ended(self) -> bool:
        operation = self.world.latest_operation("prod")
        return operation is not None and operation.get("ended_at") is not None

    def _carried_on(self, where: str) -> None:
        world = self.world

        def recovered() -> bool:
            # again and again: a killed worker's Compose holds the claim until it has ended
            anyio.run(world.manager.recover)
            return self._ended()

        wait_for(recovered, LIMIT, f"{where}, it is carried on")
        wait_for(lambda: "active_operation" not in world.ring("prod"), 10, f"{where}, the claim is free")
        operation = world.latest_operation("prod")
        assert operation
        self.figures.ends[operation["phase"]] += 1
        self.figures.inconsistent += [f"{where}: {fault}" for fault in self._inconsistent(operation)]
        told, verified = world.told(operation["id"]), anyio.run(world.manager.verify_history)
        if len(told) != 1 or not verified.ok:
            self.figures.history.append(f"{where}: told {told}, {verified.summary}")

    def _inconsistent(self, operation: dict[str, Any]) -> Iterator[str]:
        """Where record, containers and the operation do not say the same."""
        world, prod = self.world, self.world.ring("prod")
        release = operation["release"]["id"] if operation["phase"] == "done" else operation.get("previous")
        if prod["release"] != release:
            yield f"recorded {prod['release']}, {operation['phase']} should mean {release}"
        containers = world.containers("prod")
        runs = {(c.attrs["Image"], c.labels[LABEL_RELEASE], c.status) for c in containers}
        wanted = {(world.stored_images(prod["release"])["genesis"], prod["release"], "running")}
        if len(containers) != 1 or runs != wanted:
            yield f"{len(containers)} containers, {runs} instead of {wanted}"


@pytest.fixture
def killer(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    world = TinyWorld(engine, tmp_path_factory.mktemp("tiny"))
    try:
        killer = Killer(world)
        killer.begin()
        yield killer
        killer.end()
    finally:
        world.remove()


@pytest.mark.promise(5, 12)
@pytest.mark.parametrize("strategy", ["recreate"])
def test_a_kill_at_any_instant_leaves_one_release_everywhere_told_once(
    killer: Killer, strategy: str, record_property: Callable[[str, object], None]
) -> None:
    kinds = ("promote", "refused", "rollback")
    durations = {kind: killer.undisturbed(kind) for kind in kinds}
    figures = killer.figures
    within, tries = dict(durations), 0
    # one that came too late, after the end, does not count, and tells that the next may end as early
    while figures.hit.total() < KILLS and tries < 3 * KILLS:
        kind, hit = kinds[tries % 3], figures.hit.total()
        killer.kill_one(kind, within[kind])
        if figures.hit.total() == hit:
            within[kind] *= 0.7
        tries += 1
    for name, seen in (("durations", durations), ("hit", figures.hit), ("ends", figures.ends)):
        record_property(name, dict(seen))
        print(f"{name}: {dict(seen)}")
    assert (figures.inconsistent, figures.history) == ([], [])
    assert figures.hit.total() == KILLS
