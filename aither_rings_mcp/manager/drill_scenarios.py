"""What a drill does, one scenario after the other, and how it looks at what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from aither_rings_mcp.domain.composition import LABEL_RELEASE
from aither_rings_mcp.domain.drill import Ware, between, not_told_once, reached, taking_back
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
#: A phase can be over before its worker is caught in it: so many releases are spent on each.
_TRIES = 5
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
        faults += not_told_once(self.operations(), [event.operation for event in told])
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


# -- the scenarios


async def _good(scratch: Scratch) -> Seen:
    return _outcome(await scratch.ended(await scratch.promote(Ware.GOOD)), None)


async def _bad(scratch: Scratch, ware: Ware) -> Seen:
    before = str(scratch.record.release)
    op = await scratch.ended(await scratch.promote(ware))
    switched = reached(op, Phase.SWITCHING)
    return replace(
        _outcome(op, before),
        detected_s=between(switched, reached(op, Phase.RESTORING)),
        recovered_s=between(switched, reached(op, Phase.RESTORE_RECORDING)),
    )


async def _late(scratch: Scratch, kills_monitor: bool = False) -> Seen:
    before = str(scratch.record.release)
    op = await scratch.ended(await scratch.promote(Ware.LATE))
    if op.phase is not Phase.DONE or op.release is None:
        return replace(_outcome(op, before), faults=(f"it was not promoted first: {op.phase}",))
    bad = op.release.id
    exited = await scratch.exited()
    faults: tuple[str, ...] = ()
    if kills_monitor:
        await scratch.until(scratch.counting, "the monitor counts against the release")
        scratch.site.kill_monitor()
        if scratch.restore_of(bad):
            faults = ("the monitor had decided before it was killed",)
        scratch.site.start_monitor()
    started = await scratch.until(lambda: scratch.restore_of(bad), "the monitor takes the release back", pace=0.1)
    restore = await scratch.ended(started.id)
    return Seen(
        ended="taken back by the monitor" if restore.phase is Phase.DONE else f"the rollback is {restore.phase}",
        runs=before,
        bad=bad,
        detected_s=between(exited, restore.created_at),
        recovered_s=between(exited, reached(restore, Phase.RECORDING)),
        faults=faults,
    )


async def _killed(scratch: Scratch, phase: Phase, ware: Ware, tries: int = _TRIES) -> Seen:
    before = None if ware is Ware.GOOD else str(scratch.record.release)
    operation_id = await scratch.promote(ware)
    killed = await scratch.killed_when(operation_id, phase)
    if killed is None:
        seen = _outcome(await scratch.ended(operation_id), before)
        if tries > 1 and not seen.faults:
            return await _killed(scratch, phase, ware, tries - 1)
        return replace(seen, faults=(*seen.faults, f"in {_TRIES} tries no worker was caught while {phase}"))
    await scratch.until(partial(scratch.site.worker, operation_id), "the monitor carries it on", pace=0.05)
    again = scratch.world.clock.now()
    op = await scratch.ended(operation_id)
    seen = _outcome(op, before)
    return replace(
        seen,
        ended=f"{seen.ended}, carried on by the monitor",
        detected_s=between(killed, again),
        recovered_s=between(killed, op.ended_at),
    )


def _outcome(op: Operation, before: str | None) -> Seen:
    """How a promotion ended. `before` is what it should have gone back to; None: it should have gone through."""
    release = op.release.id if op.release else ""
    wanted = Phase.DONE if before is None else Phase.ROLLED_BACK
    ended = {Phase.DONE: "promoted", Phase.ROLLED_BACK: "taken back by the rollout"}.get(op.phase, str(op.phase))
    return Seen(
        ended=ended,
        runs=release if before is None else before,
        bad=None if before is None else release,
        faults=() if op.phase is wanted else (f"it should be {wanted}, but is {op.phase}: {op.summary or ''}",),
    )


@dataclass(frozen=True)
class Scenario:
    name: str
    expected: str
    act: Callable[[Scratch], Awaitable[Seen]]


_THROUGH = "the new release everywhere"
_BACK = "the old release everywhere, the bad one in quarantine"
_KILLS = (
    *((phase, Ware.GOOD) for phase in (Phase.PREPARING, Phase.SWITCHING, Phase.VERIFYING, Phase.RECORDING)),
    *((phase, Ware.CRASH_LOOP) for phase in (Phase.RESTORING, Phase.RESTORE_VERIFYING)),
)
SCENARIOS = (
    Scenario("good", _THROUGH, _good),
    Scenario("crash-loop", _BACK, partial(_bad, ware=Ware.CRASH_LOOP)),
    Scenario("never-healthy", _BACK, partial(_bad, ware=Ware.NEVER_HEALTHY)),
    Scenario("late", _BACK, _late),
    *(
        Scenario(
            f"worker killed while {phase}",
            _THROUGH if ware is Ware.GOOD else _BACK,
            partial(_killed, phase=phase, ware=ware),
        )
        for phase, ware in _KILLS
    ),
    Scenario("monitor killed while it counts", _BACK, partial(_late, kills_monitor=True)),
)
