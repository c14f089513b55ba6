"""What can be done with operations that have not ended: give one up, or carry on those whose worker died."""

from __future__ import annotations

from aither_rings_mcp.domain.answers import CancelAnswer, NextAction, RecoverAnswer
from aither_rings_mcp.domain.errors import InvalidTransition
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.rollout import BEFORE_EFFECT, Operation, Phase
from aither_rings_mcp.manager import outcomes, settling
from aither_rings_mcp.manager.operations import Operations, Watch
from aither_rings_mcp.manager.world import World


async def cancelled(world: World, operations: Operations, operation_id: str, actor: Actor, reason: str) -> CancelAnswer:
    """Ends an operation at its next safe point: before it touches what runs, or not at all."""
    op = world.journals.load(operation_id)
    if op.phase is Phase.CANCELLED:
        return _given_up(world, op)
    if op.phase not in BEFORE_EFFECT:
        raise InvalidTransition(
            f"{op.id} is {op.phase}, past the last safe point",
            "Let it end; then roll back if the release is not wanted.",
            phase=op.phase,
        )
    world.journals.ask_to_cancel(op.id, actor.in_full, reason)
    op, _ = await operations.watch(op.id, world.settings.limits.probe * 5)
    return _given_up(world, op)


def _given_up(world: World, op: Operation) -> CancelAnswer:
    given_up = op.phase is Phase.CANCELLED
    return CancelAnswer(
        ok=given_up,
        summary=f"{op.id} was cancelled; nothing that runs was touched."
        if given_up
        else f"{op.id} is {op.phase}: it had passed its last safe point.",
        as_of=world.clock.now(),
        operation_id=op.id,
        status=op.phase,
        undone=outcomes.undone(op) if given_up else (),
    )


async def recovered(world: World, operations: Operations, wait_s: float | None, watch: Watch | None) -> RecoverAnswer:
    """Carries on every operation whose worker died, and waits up to `wait_s` seconds for each to end."""
    resumed = [op.id for op in operations.interrupted() if operations.resume(op)]
    resumed += [op.id for op in await settling.overdue(world, operations)]
    ends = [(await operations.watch(one, wait_s, watch))[0] for one in resumed]
    going_on = [op.id for op in ends if not op.final]
    parts = [
        f"the {op.request.kind} of {op.request.ring} ({op.id}) is {op.phase if op.final else 'not done yet'}"
        for op in ends
    ]
    return RecoverAnswer(
        ok=not going_on and all(op.phase is not Phase.STUCK for op in ends),
        summary=f"Carried on: {'; '.join(parts)}." if parts else "Nothing was interrupted.",
        next_actions=tuple(
            NextAction(tool="ring_operation", arguments={"operation_id": one, "wait_s": 45}, why="see it end")
            for one in going_on[:3]
        ),
        as_of=world.clock.now(),
        resumed=tuple(resumed),
        ends={op.id: op.phase for op in ends},
    )
