"""The worker's part: one operation is driven to its end, with the claim that the worker inherited."""

from __future__ import annotations

from contextlib import suppress

import anyio

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.manager import settling
from aither_rings_mcp.manager.executor import Executor
from aither_rings_mcp.manager.marks import Marks
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.retention import Retention
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


async def work(world: World, operations: Operations, operation_id: str, claim_fd: int) -> bool:
    """Drives the operation, then watches its release settle; true when the operation came to an end."""
    op, say = await _driven(world, operation_id, claim_fd)
    async with anyio.create_task_group() as group:
        if op.final:
            group.start_soon(_afterwards, world, say)
        if op.settling_until:
            group.start_soon(settling.watch, world, operations, op.request.ring, say)
    return op.final


async def execute(world: World, operation_id: str, claim_fd: int) -> bool:
    """The same, leaving a release that settles to the monitor."""
    op, say = await _driven(world, operation_id, claim_fd)
    if op.final:
        await _afterwards(world, say)
    return op.final


async def _driven(world: World, operation_id: str, claim_fd: int) -> tuple[Operation, OnLine]:
    op = world.journals.load(operation_id)
    claim = world.claims.adopt(op.request.ring, claim_fd)

    def say(line: str) -> None:
        with suppress(OSError):  # a log that cannot be written must not end a rollout
            world.logs.append(op.id, line)

    try:
        op = await Executor(world, say).run(op.model_copy(update={"epoch": claim.epoch}))
    finally:
        claim.release()
    return op, say


async def _afterwards(world: World, say: OnLine) -> None:
    """What nobody has to wait for: leftovers go, and the way back is made to survive every prune."""
    for act in (Retention(world, say).clear, Marks(world, say).stand):
        try:
            await act()
        except RingError as error:
            say(f"left for the next time: {error.message}")
