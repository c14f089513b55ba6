"""The scratch rings of a drill, as its scenarios use them, and what is looked at after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from aither_rings_mcp.domain.composition import LABEL_RELEASE
from aither_rings_mcp.domain.drill import Ware, not_told_once, reached, taking_back
from aither_rings_mcp.domain.errors import EngineFailure
from aither_rings_mcp.domain.model import Actor, RingRecord
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase
from aither_rings_mcp.domain.watch import Call, RingWatch, judge
from aither_rings_mcp.manager.observer import mismatched
from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import ScratchSite

DRILL = Actor(name="drill")
_FROM, _RING = "dev", "prod"
#: In which whatever is waited for has happened, and how long a claim may outlive its operation.
_LIMIT_S, _FREE_S = 45.0, 10.0
#: More operations and events than a drill has.
_MANY = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """How a scenario ended, and what `prod` should run now. `bad` is the release that should have been taken back."""

    ended: str
    runs: str
    bad: str | None = None
    detected_s: float | None = None
    recovered_s: float | None = None
    faults: tuple[str, ...] = ()


class Scratch:
    """The scratch rings, as the scenarios use them."""

    def __init__(self, world: World, site: ScratchSite) -> None:
        self.world = world
        self.site = site
        self._manager = RingManager(world)
        #: What a scenario before answered for already: the history keeps it.
        self._told_wrong: set[str] = set()

    @property
    def record(self) -> RingRecord:
        return self.world.state.load().ring(_RING)

    async def promote(self, ware: Ware) -> str:
        """Ships a new release to dev and starts to promote it; the operation's id."""
        await self.site.ship(ware)
        deployed = await self._manager.deploy(_FROM, DRILL, build=False, wait_s=_LIMIT_S)
        if deployed.outcome != "deployed":
            raise EngineFailure(f"dev did not take a release: {deployed.summary}", "Look at the engine's log.")
        return str((await self._manager.promote(_FROM, _RING, DRILL, wait_s=0)).operation_id)

    async def until(self, look: Callable[[], T | None], what: str, limit: float = _LIMIT_S, pace: float = 0.02) -> T:
        """What `look` gives once it gives something. Raises `TimeoutError`, which says what was waited for."""
        clock = self.world.clock
        deadline = clock.monotonic() + limit
        while (found := look()) is None:
            if clock.monotonic() >= deadline:
                raise TimeoutError(f"not within {limit:g} s: {what}")
            await clock.sleep(pace)
        return found

    async def ended(self, operation_id: str) -> Operation:
        def look() -> Operation | None:
            op = self.world.journals.load(operation_id)
            return op if op.final else None

        return await self.until(look, f"{operation_id} ends")

    async def killed_when(self, operation_id: str, phase: Phase) -> datetime | None:
        """Kills the operation's worker as soon as its journal shows `phase`; None if the worker was faster."""
        load, clock = self.world.journals.load, self.world.clock
        kill = await self.until(partial(self.site.worker, operation_id), f"{operation_id} has a worker")

        def look() -> Phase | None:
            op = load(operation_id)
            return op.phase if op.phase is phase or op.final or reached(op, phase) else None

        if await self.until(look, f"{operation_id} is {phase}", pace=0.001) is not phase:
            return None
        kill()
        at = clock.now()
        return at if load(operation_id).phase is phase else None

    async def exited(self) -> datetime:
        """When a container of prod ended by itself, as the engine says."""
        clock, project = self.world.clock, self.world.project(_RING)
        deadline = clock.monotonic() + _LIMIT_S
        while clock.monotonic() < deadline:
            for container in await self.world.engine.containers(project):
                if container.status == "exited" and container.finished_at:
                    return container.finished_at
            await clock.sleep(0.05)
        raise TimeoutError(f"not within {_LIMIT_S:g} s: the late release goes bad")

    def operations(self) -> tuple[Operation, ...]:
        return self.world.journals.recent(_MANY)

    def restore_of(self, bad: str) -> Operation | None:
        """The rollback that takes `bad` back, once there is one."""
        return next((op for op in taking_back(self.operations(), bad) if op.request.kind is Kind.ROLLBACK), None)

    def counting(self) -> bool | None:
        """True while the monitor counts against prod and has not condemned it."""
        watch = self.world.memory.load().watches.get(_RING, RingWatch())
        call = judge(watch.samples, self.world.settings.rollback).call if watch.samples else Call.WELL
        return True if call is Call.SUSPECT else None

    def remembered(self, restarted: datetime) -> bool | None:
        """Whether a monitor started then still knows what was seen of prod before; None until it has looked."""
        samples = self.world.memory.load().watches.get(_RING, RingWatch()).samples
        if not samples or samples[-1].at < restarted.timestamp():
            return None
        return samples[0].at < restarted.timestamp()

    async def broken_promises(self, seen: Seen) -> tuple[str, ...]:
        """What is not as it should be: in the record, in what runs, in the history."""
        world, rings = self.world, self.world.settings.runtime_rings

        def free() -> bool | None:
            return None if any(world.claims.holder(ring) for ring in rings) else True

        await self.until(free, "every claim is free", _FREE_S)
        faults = [*_misrecorded(self.record, seen)]
        for ring in rings:
            faults += await self._not_as_recorded(ring)
        events, _, broken_at, torn = world.history.verify()
        if broken_at is not None or torn:
            faults.append(f"the history's chain is broken at {broken_at or events}")
        told, _ = world.history.read(_MANY)
        wrong = {*not_told_once(self.operations(), [event.operation for event in told])}
        faults += sorted(wrong - self._told_wrong)
        self._told_wrong |= wrong
        if seen.bad:
            times = len([*taking_back(self.operations(), seen.bad)])
            faults += [] if times == 1 else [f"{seen.bad} was taken back {times} times"]
        return tuple(faults)

    async def _not_as_recorded(self, ring: str) -> Iterator[str]:
        record = self.world.state.load().ring(ring)
        release = self.world.releases.load(str(record.release))
        containers = await self.world.engine.containers(self.world.project(ring))
        wrong = [f"{name} has another image" for name in mismatched(containers, release)]
        wrong += [f"{c.name} is {c.status}" for c in containers if c.status != "running"]
        of = {c.labels.get(LABEL_RELEASE) for c in containers} - {release.id}
        wrong += [f"{one} runs too" for one in of]
        return (f"{ring} should run {release.id}, but {fault}" for fault in wrong)


def _misrecorded(record: RingRecord, seen: Seen) -> Iterator[str]:
    if record.release != seen.runs:
        yield f"{record.release} is recorded where {seen.runs} should be"
    if not record.running or record.stuck:
        yield f"prod is recorded as {record.stuck or 'down'}"
    if seen.bad and not record.is_quarantined(seen.bad):
        yield f"{seen.bad} is not quarantined"
