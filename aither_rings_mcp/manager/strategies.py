"""How a release takes over from the one before, and why not as the ring would have it."""

from __future__ import annotations

from dataclasses import dataclass

from aither_rings_mcp.domain.composition import cannot_run_twice, left_out
from aither_rings_mcp.domain.model import Release, SchemaChange
from aither_rings_mcp.domain.settings import Ring, Strategy, Unhealthy
from aither_rings_mcp.domain.slots import Slot
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import ComposeConfig

#: A new release may need a little more than the one before, and the machine has other guests.
_HEADROOM = 1.25


@dataclass(frozen=True)
class Choice:
    """`warnings` say why it is not what the ring is configured for, and what else nobody would expect."""

    strategy: Strategy
    warnings: tuple[str, ...] = ()


def wanted(ring: Ring) -> Strategy:
    """The strategy that rings.yaml asks for, or that fits by default.

    A ring that keeps its bad releases to look at is there for that: they come where people look.
    """
    if ring.strategy:
        return ring.strategy
    twice = ring.green and ring.fronts and ring.on_unhealthy is Unhealthy.RESTORE
    return Strategy.BLUE_GREEN if twice else Strategy.RECREATE


async def choose(world: World, release: Release, config: ComposeConfig) -> Choice:
    """What is possible now: two copies side by side need services that bear it, and memory."""
    ring = world.settings.rings[release.ring]
    asked = wanted(ring)
    services = world.settings.services
    told = [
        f"{name} is not published on {', '.join(ports)}, as its Compose file says: people reach it on "
        f"{ring.fronts[name]}, by the edge"
        for name, ports in left_out(config, ring, services).items()
    ]
    if asked is Strategy.RECREATE:
        return Choice(asked, tuple(told))
    record = world.state.load().ring(release.ring)
    reasons: list[str] = []
    if release.schema_change is SchemaChange.CONTRACT and record.running:
        reasons.append("it declares a `contract`: what it takes away, the release before still uses")
    fronts = {name: services[name].probe.port if name in services else None for name in ring.fronts}
    for name, why in sorted(cannot_run_twice(config, fronts, ring.shared_network).items()):
        if name not in services or not services[name].twice:
            reasons.append(
                f"{name} cannot run twice: {why} (make it part of the backbone, or say `twice: true` in rings.yaml)"
            )
    if record.running:
        short, unknown = await _memory(world, release.ring, record.slot, asked)
        reasons += [short] if short else []
        told += [unknown] if unknown else []
    if not reasons:
        # with nothing to go over from, all of it comes up at once
        return Choice(asked if record.running else Strategy.BLUE_GREEN, tuple(told))
    return Choice(Strategy.RECREATE, (*(f"recreate instead of {asked}: {reason}" for reason in reasons), *told))


async def foreign(world: World, release: Release) -> tuple[str, ...]:
    """Images that were built for another machine than this one, in words: they may start under emulation, or not."""
    here = (await world.engine.facts()).architecture
    views = {name: await world.engine.image(image) for name, image in sorted(release.images.items())}
    return tuple(
        f"the image of {name} is for {view.architecture}, and this machine is {here}"
        for name, view in views.items()
        if view and view.architecture not in {here, ""}
    )


async def _memory(world: World, ring: str, slot: Slot, asked: Strategy) -> tuple[str | None, str | None]:
    """Whether memory is short, by what the release that serves uses now; and what of that nobody can tell."""
    used, free = await world.capacity.used(world.project(ring, slot)), world.capacity.free()
    if used is None or not used.sizes or free is None:
        what = "is free" if used and used.sizes else f"{ring} uses"
        return None, f"nobody can tell how much memory {what}: whether there is enough is not checked"
    # what the other slot has now, it gives back first
    other = await world.capacity.used(world.project(ring, slot.other))
    free += sum(other.sizes) if other else 0
    rolling = asked is Strategy.ROLLING
    needed = round((max(used.sizes) if rolling else sum(used.sizes)) * _HEADROOM)
    unknown = f"nobody can tell how much memory {used.unknown} of {ring}'s containers use: they are not counted"
    short = (
        f"{'one more service' if rolling else 'a second slot'} needs about {_megabytes(needed)} of memory, "
        f"and {_megabytes(free)} are free"
    )
    return short if needed > free else None, unknown if used.unknown else None


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
