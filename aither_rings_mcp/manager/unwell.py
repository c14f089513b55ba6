"""What makes sense next for a ring whose critical services are not well: to go back, or something else first.

It only advises: whoever asks for a rollback all the same gets one.
"""

from __future__ import annotations

from typing import NamedTuple

from aither_rings_mcp.domain.answers import NextAction
from aither_rings_mcp.domain.errors import RingBusy
from aither_rings_mcp.domain.model import Deployment, RingRecord
from aither_rings_mcp.domain.policy import contracts_crossed
from aither_rings_mcp.domain.watch import Call
from aither_rings_mcp.manager.backbone import trouble
from aither_rings_mcp.manager.monitor_views import judged, watched
from aither_rings_mcp.manager.operations import Operations, shown
from aither_rings_mcp.manager.world import World


class Advice(NamedTuple):
    """`held`: what speaks against going back now, if anything does."""

    held: str | None
    actions: tuple[NextAction, ...]


async def advice(world: World, operations: Operations, ring: str, record: RingRecord, way: Deployment | None) -> Advice:
    """What to do about `ring`, whose critical services are not well; `way` is what it could go back to."""
    if held := _operation(operations, ring):
        return held
    if record.stuck:
        return Advice("it is stuck", (_past(ring, "see what failed, then have a person look"),))
    if why := await trouble(world) or _monitor(world, ring, record):
        return Advice(why, (_again(ring, f"{why}: wait, then look again"), changed(ring)))
    if record.returned:
        return Advice(
            "it came back from a release before",
            (_past(ring, "see what was taken back and why; a second way back is a person's to choose"),),
        )
    if way is None:
        return Advice(None, (changed(ring),))
    if crossed := contracts_crossed(record, way.release):
        why = f"a person decides whether to go back across {', '.join(crossed)}, which took data away"
        return Advice(why, (changed(ring),))
    back = NextAction(tool="ring_rollback", arguments={"ring": ring}, why=f"go back to {way.tag}")
    return Advice(None, (back, changed(ring)))


def changed(ring: str) -> NextAction:
    return NextAction(tool="ring_history", arguments={"ring": ring, "limit": 5}, why="see what changed")


def _operation(operations: Operations, ring: str) -> Advice | None:
    """Whoever changes the ring, or left it half-changed, comes first."""
    try:
        active = operations.active(ring)
    except RingBusy as error:  # a claim that cannot be read counts as taken
        return Advice(error.message, (_past(ring, "see who changed it last"),))
    left = next((op for op in operations.interrupted() if op.request.ring == ring), None)
    now = active or (shown(left) if left else None)
    if now is None:
        return None
    arguments = {"operation_id": now.operation_id, "wait_s": 45}
    said = f"its {now.kind} is {now.phase}" if active else f"its {now.kind} was interrupted while {now.phase}"
    follow = NextAction(tool="ring_operation", arguments=arguments, why=f"{said}: see how it ends")
    return Advice(said, (follow,))


def _monitor(world: World, ring: str, record: RingRecord) -> str | None:
    """Why the monitor keeps it as it is, or that it goes back by itself."""
    judgement = judged(world, ring, record)
    if judgement is None:
        return None
    if judgement.call is Call.HELD:
        return f"the monitor holds: {judgement.reason}"
    view = watched(world, ring)
    if view.settling_until is None or record.returned:  # then it only tells, or calls a person
        return None
    left = view.rollback_in_s
    return f"the monitor takes it back {'by itself' if left is None else f'in {left:.0f} s'} if that goes on"


def _again(ring: str, why: str) -> NextAction:
    return NextAction(tool="ring_health", arguments={"ring": ring}, why=why)


def _past(ring: str, why: str) -> NextAction:
    """With each event's operation, whose evidence can be read."""
    arguments = {"ring": ring, "limit": 5, "response_format": "detailed"}
    return NextAction(tool="ring_history", arguments=arguments, why=why)
