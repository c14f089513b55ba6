"""Which ways back are open: what is recorded, held against the images that are here."""

from __future__ import annotations

from collections.abc import Collection

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.errors import InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.manager.world import World


async def lost_releases(world: World, *records: RingRecord) -> frozenset[str]:
    """The kept releases of these rings that cannot be run any more: an image is gone, or what is stored of them."""
    return lost_among(world, (await world.engine.images()).ids, *records)


def lost_among(world: World, here: Collection[str], *records: RingRecord) -> frozenset[str]:
    """The same, of the images that are `here`."""
    kept = {release for record in records for release in policy.kept_releases(record)}
    return frozenset(release for release in kept if not runnable(world, release, here))


def runnable(world: World, release: str, here: Collection[str]) -> bool:
    """Whether a release can be read and all its images are `here`."""
    try:
        return all(image in here for image in world.releases.load(release).images.values())
    except (InvalidArguments, StateUnreadable):
        return False
