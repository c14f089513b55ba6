"""What runs against what is recorded: somebody was at it by hand. It is told, never put right in silence."""

from __future__ import annotations

from collections.abc import Sequence

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.manager.observer import mismatched
from aither_rings_mcp.manager.world import World


def drift(world: World, record: RingRecord, containers: Sequence[ContainerView]) -> str | None:
    """How a ring at rest differs from its record; None when it does not."""
    if not record.running or record.release is None:
        stray = sorted(container.service for container in containers if container.status == "running")
        return f"recorded as not running, but these do: {', '.join(stray)}" if stray else None
    try:
        release = world.releases.load(record.release)
    except RingError as error:
        return error.message
    if not containers:
        return "recorded as running, but nothing is there"
    wrong = mismatched(containers, release)
    return f"does not run {release.id} in {', '.join(wrong)}" if wrong else None
