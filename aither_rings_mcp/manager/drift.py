"""What runs against what is recorded: somebody was at it by hand. It is told, never put right in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.health import ListedContainer
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.naming import latest_tag, repository, rollback_tag
from aither_rings_mcp.manager.observer import mismatched
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import NamedImage


def moved_tags(world: World, ring: str, record: RingRecord, names: Iterable[NamedImage]) -> str | None:
    """Tags for people that somebody pointed at another image; nothing that runs depends on them."""
    if record.release is None or world.settings.rings[ring].build:
        return None  # where releases are built, `latest` is what was built last
    wanted: dict[str, str] = {}
    for tag, release in ((latest_tag(ring), record.release), (rollback_tag(ring), record.rollback_release)):
        with suppress(RingError):
            if release:
                images = world.releases.load(release).images
                wanted |= {f"{repository(world.settings.app, name)}:{tag}": image for name, image in images.items()}
    moved = sorted(name.reference for name in names if wanted.get(name.reference, name.id) != name.id)
    return f"moved to another image: {', '.join(moved)}" if moved else None


def drift(world: World, record: RingRecord, containers: Sequence[ListedContainer]) -> str | None:
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
