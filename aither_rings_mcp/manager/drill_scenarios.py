"""What a drill does, one scenario after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from aither_rings_mcp.domain.drill import Ware, between, reached
from aither_rings_mcp.domain.rollout import Operation, Phase
from aither_rings_mcp.manager.drill_scratch import Scratch, Seen

#: A phase can be over before its worker is caught in it: so many releases are spent on each.
_TRIES = 5


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
        restarted = scratch.world.clock.now()
        scratch.site.start_monitor()
        if not await scratch.until(partial(scratch.remembered, restarted), "the new monitor looks at prod"):
            faults = (*faults, "the new monitor began to count anew")
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
        faults=() if op.phase is wanted else (f"it should be {wanted}, but is {op.phase}: {op.why}",),
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
