"""What has to be waited for before and after users change the slot: ways that open, and requests that end."""

from __future__ import annotations

from aither_rings_mcp.domain.errors import EngineFailure, RingError
from aither_rings_mcp.domain.slots import Slot, Traffic
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


class Drain:
    """The edge as a rollout sees it."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line

    async def traffic(self, ring: str) -> dict[Slot, Traffic]:
        """What the edge counted; nothing while it does not answer: traffic is measured, it must not be in the way."""
        try:
            return dict(await self._world.edge.traffic(ring))
        except EngineFailure as error:
            self._say(f"the edge's counters are out of reach: {error.message}")
            return {}

    async def unreached(self, ring: str, slot: Slot, only: str | None = None) -> str | None:
        """Which front services the edge does not reach in a slot, once it had the time to find them."""
        world, clock = self._world, self._world.clock
        until = clock.monotonic() + world.settings.limits.healthy
        while lost := [one for one in await world.edge.unreached(ring, slot) if only in (None, one)]:
            if clock.monotonic() >= until:
                return f"the edge does not reach {', '.join(lost)}"
            await clock.sleep(world.settings.limits.poll)
        return None

    async def counted_if_reached(self, ring: str) -> Traffic | None:
        """What it counted for the slot that serves; None while it does not reach all of that."""
        world, slot = self._world, self._world.state.load().ring(ring).slot
        try:
            if not world.settings.rings[ring].fronts or await world.edge.unreached(ring, slot):
                return None
        except RingError:
            return None
        return (await self.traffic(ring)).get(slot)

    async def wait(self, ring: str, slot: Slot, service: str | None = None) -> None:
        """Waits until the edge has no request or connection open to a slot, or a service in it, up to the limit."""
        clock, edge = self._world.clock, self._world.settings.edge
        limit = edge.drain if edge else 0
        began, said = clock.monotonic(), False
        what = f"{service} in {slot}" if service else slot
        while (still := await self._open(ring, slot, service)) and clock.monotonic() < began + limit:
            if not said:
                self._say(f"{still} requests or connections to {what} are open: they have {limit:g} s")
                said = True
            await clock.sleep(self._world.settings.limits.poll)
        if still:
            self._say(f"{still} connections to {what} are cut")

    async def _open(self, ring: str, slot: Slot, service: str | None) -> int:
        try:
            return await self._world.edge.open(ring, slot, service)
        except EngineFailure as error:  # nobody is connected by way of an edge that is away
            self._say(f"the edge does not tell what is open: {error.message}")
            return 0
