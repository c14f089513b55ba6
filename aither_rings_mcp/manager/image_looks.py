"""What status and health tell of images, by the cheapest question that will do.

The list of all images is the engine's dearest answer: 5 to 10 ms of its processor time for thirty images. Whoever asks
for status every second, times fifty, would keep a core busy with it.
"""

from __future__ import annotations

import math

from aither_rings_mcp.domain.model import Deployment, RingRecord
from aither_rings_mcp.domain.policy import ways_back
from aither_rings_mcp.manager.drift import moved_tags
from aither_rings_mcp.manager.way_back import runnable
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import Images

#: So late it may be told that somebody moved a tag, in seconds: nothing depends on tags.
_LATE_S = 1.0


class SeenImages:
    """The images as they were last seen. `at` is when that look began, on the monotonic clock."""

    def __init__(self) -> None:
        self.images = Images(frozenset(), ())
        self.at = -math.inf


class ImageLook:
    """One look, which asks nothing twice. `seen` outlives it."""

    def __init__(self, world: World, seen: SeenImages) -> None:
        self._world = world
        self._seen = seen
        self._standing: frozenset[str] | None = None
        self._images: Images | None = None

    async def way_back(self, record: RingRecord) -> Deployment | None:
        """What a rollback would take now: its config is stored and every image is here. None: no way is open."""
        ways = ways_back(record)
        if not ways:
            return None
        if self._standing is None:
            self._standing = await self._world.pins.standing()
        if runnable(self._world, ways[0].release, self._standing):
            return ways[0]
        here = (await self._now()).ids
        return next((way for way in ways if runnable(self._world, way.release, here)), None)

    async def moved_tags(self, ring: str, record: RingRecord) -> str | None:
        """Tags that point elsewhere than recorded. It is never told of tags that have been put right by now."""
        late = self._world.clock.monotonic() - self._seen.at
        images = self._seen.images if late < _LATE_S else await self._now()
        if moved_tags(self._world, ring, record, images.names) is None:
            return None
        return moved_tags(self._world, ring, record, (await self._now()).names)

    async def _now(self) -> Images:
        if self._images is None:
            began = self._world.clock.monotonic()
            self._images = await self._world.engine.images()
            self._seen.images, self._seen.at = self._images, began
        return self._images
