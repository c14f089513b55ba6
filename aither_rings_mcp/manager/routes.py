"""Keeps users where the record says that their ring runs."""

from __future__ import annotations

from collections.abc import Mapping

from aither_rings_mcp.domain.errors import ConfigInvalid, EngineFailure
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.slots import Route, Slot
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


def recorded_slots(world: World) -> dict[str, Slot]:
    """ring -> the slot that its users belong to."""
    state = world.state.load()
    return {ring: state.ring(ring).slot for ring in world.settings.runtime_rings}


async def strayed(world: World, records: Mapping[str, RingRecord]) -> dict[str, Slot | None]:
    """ring -> the slot that the edge sends its users to instead of the recorded one, or only some of them (None)."""
    rings = {ring: record for ring, record in records.items() if world.settings.rings[ring].fronts and record.running}
    found: dict[str, Slot | None] = {}
    if not rings:
        return found
    routes = await world.edge.routes()
    for ring, record in rings.items():
        route = routes.get(ring, Route())
        if route.slot is not record.slot:
            found[ring] = route.slot
        elif route.canary or route.services:
            found[ring] = None
    return found


async def unpublished(world: World, ring: str) -> dict[str, int]:
    """The front services of a ring whose port nobody reaches: the edge runs, and publishes other ports only."""
    edge, backbone = world.settings.edge, world.settings.backbone
    there = await world.engine.containers(backbone.project) if edge and backbone else ()
    published = {port for one in there if edge and one.service == edge.service for port in one.published}
    fronts = world.settings.rings[ring].fronts
    # one that is on the host's network publishes nothing, and is reached all the same
    return {name: port for name, port in fronts.items() if published and port not in published}


async def kept(world: World, records: Mapping[str, RingRecord], say: OnLine) -> str | None:
    """Sends strayed users back, and starts an edge that was stopped; what is wrong with it all the same.

    `records`: of rings that nobody changes.
    """
    if world.settings.edge is None:
        return None
    try:
        astray = await strayed(world, records)
    except EngineFailure:
        try:
            await world.edge.prepare(recorded_slots(world), say)
            astray = await strayed(world, records)
        except (EngineFailure, ConfigInvalid) as error:
            return error.message
    for ring in astray:
        await _back(world, ring, say)
    return None


async def _back(world: World, ring: str, say: OnLine) -> None:
    """Under the ring's claim, and by its record as it is then: whoever changes the ring knows better, and so does who
    carries on what a worker left that died meanwhile, maybe between the switch and the record.
    """
    claim = world.claims.take(ring, "routes")
    if claim is None:
        return
    try:
        if any(op.request.ring == ring for op in world.journals.unfinished()):
            return
        record = world.state.load().ring(ring)
        if await strayed(world, {ring: record}):
            await world.edge.route(ring, Route(slot=record.slot))
            say(f"{ring}: the edge sent users elsewhere; they are back on {record.slot}")
    finally:
        claim.release()
