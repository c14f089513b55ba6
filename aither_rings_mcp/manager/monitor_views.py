"""What people and agents see of the monitor, whether they ask it or look at what it last wrote down."""

from __future__ import annotations

from datetime import datetime, timedelta

from aither_rings_mcp.domain.answers import MonitorView, RingWatchView
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.settings import Unhealthy
from aither_rings_mcp.domain.watch import Call, Judgement, RingWatch, judge
from aither_rings_mcp.manager.world import MONITOR_CLAIM, World


def watched(world: World, ring: str) -> MonitorView:
    """What the monitor makes of a ring, for whoever asks meanwhile; from what it last wrote down."""
    record = world.state.load().ring(ring)
    judgement = judged(world, ring, record)
    if judgement is None:
        return MonitorView(armed=False)
    view = ring_watch(world, ring, record, judgement)
    return MonitorView(armed=True, **view.model_dump(exclude={"ring", "call"}))


def judged(world: World, ring: str, record: RingRecord) -> Judgement | None:
    """The monitor's verdict, from the same; None where no monitor would take this ring's release back."""
    restores = world.settings.rings[ring].on_unhealthy is Unhealthy.RESTORE
    if world.claims.holder(MONITOR_CLAIM) is None or not record.running or not restores or record.stuck:
        return None
    watch = world.memory.load().watches.get(ring, RingWatch())
    return judge(watch.samples if watch.release == record.release else (), world.settings.rollback)


def settling_until(world: World, record: RingRecord) -> datetime | None:
    """Until when the ring's release has to prove itself; None when it has."""
    if record.deployed_at is None or not record.running:
        return None
    until = record.deployed_at + timedelta(seconds=world.settings.rollback.settle)
    return until if until > world.clock.now() else None


def ring_watch(world: World, ring: str, record: RingRecord, judgement: Judgement) -> RingWatchView:
    until = settling_until(world, record)
    counts = judgement.call is Call.SUSPECT and judgement.left is not None and until
    return RingWatchView(
        ring=ring,
        call=judgement.call,
        reason=judgement.reason,
        unhealthy_for_s=round(judgement.bad_for, 1) if judgement.since else None,
        rollback_in_s=round(judgement.left or 0.0, 1) if counts else None,
        settling_until=until,
    )
