"""One service at a time, for a machine with no room for two slots: the new one starts beside the old one, on the same
networks; once it is well the edge sends its users there, and the old one is stopped.

Nothing is written down of how far it came: what runs says it.
"""

from __future__ import annotations

from collections.abc import Sequence

from aither_rings_mcp.domain.composition import LABEL_RELEASE, start_order
from aither_rings_mcp.domain.errors import DockerUnavailable, EngineFailure, RingError
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.rollout import Kind, Operation, Signal
from aither_rings_mcp.domain.slots import Route, Slot
from aither_rings_mcp.manager.drain import Drain
from aither_rings_mcp.manager.planning import run_file
from aither_rings_mcp.manager.preparation import Moved
from aither_rings_mcp.manager.trial import verified
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


class Rolling:
    """The effect of ROLLING, and its way back."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._drain = Drain(world, on_line)

    async def roll(self, op: Operation, release: Release, slot: Slot) -> Moved:
        """Moves service by service to `slot`; the first that is not well there stops it."""
        old = self._world.releases.load(str(op.previous)) if op.previous else None
        project = self._world.project(op.request.ring, slot)
        there = await self._world.engine.listed(project)
        if any(one.labels.get(LABEL_RELEASE) != release.id for one in there):
            # Before the first moves: what Compose would replace, it could leave half-way under users' feet.
            await self._world.compose.down(project, self._say)
        why = await self._moved(op, release, slot, self._order(release), old)
        if why is None:
            seen = await verified(self._world, project, release, self._say, fresh=False)
            op, why = op.model_copy(update={"verification": seen.model_dump(exclude_none=True)}), seen.reason
        else:
            op = op.model_copy(update={"verification": {**_NOTHING, "reason": why}})
        if why is None:
            return Signal.OK, op
        return (Signal.UNHEALTHY, op) if op.request.kind is not Kind.ROLLBACK else await self.refused(op, slot, why)

    async def refused(self, op: Operation, slot: Slot, why: str) -> Moved:
        """Nothing is gone back to from a rollback, but what served until now can serve again."""
        ring, previous = op.request.ring, str(op.previous)
        await self.back(op, slot.other, self._world.releases.load(previous))
        what = op.release.id if op.release else slot
        error = EngineFailure(
            f"going back to {what} failed: {why}; {ring} stays on {previous}", "Choose another release."
        )
        return Signal.REFUSED, op.failed(error)

    async def back(self, op: Operation, slot: Slot, release: Release | None) -> None:
        """Everything returns to `slot`, the last one moved first, and the other slot is stopped."""
        world, ring = self._world, op.request.ring
        if release:
            if why := await self._moved(op, release, slot, self._order(release)[::-1], None):
                raise EngineFailure(f"going back to {release.id} failed: {why}", "A person has to look.")
            await world.edge.route(ring, Route(slot=slot))
        await world.compose.stop(world.project(ring, slot.other), self._say)

    async def _moved(
        self, op: Operation, release: Release, slot: Slot, order: Sequence[str], old: Release | None
    ) -> str | None:
        """Why a service could not move; None when all did. Those that have moved already are not touched."""
        world, ring = self._world, op.request.ring
        new, before = world.project(ring, slot), world.project(ring, slot.other)
        file = run_file(world, release, slot)
        gone = sorted({*old.images} - {*release.images}) if old else []
        serves = world.state.load().ring(ring).slot
        for service in (*order, *gone):
            if service in gone:
                await world.compose.stop(before, self._say, services=(service,))
                continue
            self._say(f"{service} moves to {slot}")
            try:
                await world.compose.up(new, file, self._say, services=(service,))
            except DockerUnavailable:
                raise
            except RingError as error:
                return f"{service}: {error.message}"
            seen = await verified(world, new, release, self._say, fresh=False, only=service)
            if seen.reason:
                return f"{service}: {seen.reason}"
            if service in world.settings.rings[ring].fronts:
                if why := await self._drain.unreached(ring, slot, only=service):
                    return why
                await world.edge.route(ring, await self._with(ring, service, slot, serves))
            if any(one.service == service for one in await world.engine.listed(before)):
                await self._drain.wait(ring, slot.other, service)
                await world.compose.stop(before, self._say, services=(service,))
        return None

    async def _with(self, ring: str, service: str, slot: Slot, serves: Slot) -> Route:
        """The route as it is, but for one service."""
        now = (await self._world.edge.routes()).get(ring, Route(slot=serves))
        return Route(slot=serves, services={**now.services, service: slot})

    def _order(self, release: Release) -> tuple[str, ...]:
        """What others depend on comes first."""
        return start_order(self._world.releases.config(release.id))


#: What is observed of a release that stopped half-way.
_NOTHING = {"images_match": False, "healthy": 0, "total": 0}
