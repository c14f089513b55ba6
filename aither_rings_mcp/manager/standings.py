"""Cheap looks at what changed, for doors that tell their clients."""

from __future__ import annotations

from collections import deque

from aither_rings_mcp.domain.answers import LogSlice
from aither_rings_mcp.domain.errors import StateUnreadable
from aither_rings_mcp.domain.standing import Standing
from aither_rings_mcp.manager.operations import shown
from aither_rings_mcp.manager.world import World

#: As many as `Operations` looks back, so that what has ended stays read.
_RECENT = 100
_CHUNK_LINES = 1000


def standing(world: World, before: Standing | None = None) -> Standing:
    """Where everything stands by the files alone: no engine is asked. `before` is where logs were read to."""
    recent = world.journals.recent(_RECENT)
    running = {op.request.ring: shown(op).model_dump_json() for op in recent if not op.final}
    try:
        state = world.state.load()
        records = {name: state.ring(name).model_dump_json() for name in world.settings.rings}
    except StateUnreadable as error:
        records = dict.fromkeys(world.settings.rings, error.message)
    return Standing(
        rings={name: f"{record} {running.get(name, '')}" for name, record in records.items()},
        operations={op.id: f"{op.phase} {op.updated_at.isoformat()}" for op in recent},
        logs={
            op.id: world.logs.read(op.id, before.logs.get(op.id, 0) if before else 0, _CHUNK_LINES)[1]
            for op in recent
            if not op.final
        },
    )


def recent_ids(world: World) -> tuple[str, ...]:
    """The ids of the newest operations, newest first."""
    return tuple(op.id for op in world.journals.recent(_RECENT))


def log_tail(world: World, operation_id: str, lines: int) -> LogSlice:
    """The last `lines` of an operation's log, and the cursor for what will come."""
    world.journals.load(operation_id)
    kept: deque[str] = deque(maxlen=lines)
    cursor = 0
    while True:
        some, cursor = world.logs.read(operation_id, cursor, _CHUNK_LINES)
        if not some:
            return LogSlice(lines=tuple(kept), next_cursor=cursor)
        kept.extend(some)
