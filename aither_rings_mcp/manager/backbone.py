"""Whether the backbone is well: where it is not, nobody can tell whether a release is at fault."""

from __future__ import annotations

from collections.abc import Sequence

from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.settings import Backbone
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


async def trouble(world: World) -> str | None:
    """What is wrong with the backbone, by name; None when nothing is, or when there is none."""
    backbone = world.settings.backbone
    if backbone is None:
        return None
    containers = await world.engine.containers(backbone.project)
    return await _unwell(world, backbone, containers) if containers else "the backbone is down"


async def waited_for(world: World, say: OnLine) -> str | None:
    """What is still wrong with the backbone once it has had `limits.up` to start; None as soon as nothing is."""
    deadline = world.clock.monotonic() + world.settings.limits.up
    said: str | None = None
    while (why := await trouble(world)) and world.clock.monotonic() < deadline:
        if why != said:
            say(f"waiting: {why}")
            said = why
        await world.clock.sleep(world.settings.limits.poll)
    return why


async def is_down(world: World) -> bool:
    """Whether there is a backbone in rings.yaml and nothing of it on the machine."""
    backbone = world.settings.backbone
    return backbone is not None and not await world.engine.listed(backbone.project)


async def unwell(world: World) -> str | None:
    """Which of its services are not well, as far as they are there at all."""
    backbone = world.settings.backbone
    if backbone is None:
        return None
    return await _unwell(world, backbone, await world.engine.containers(backbone.project))


async def _unwell(world: World, backbone: Backbone, containers: Sequence[ContainerView]) -> str | None:
    bad = [c.service for c in containers if c.service != backbone.healer and not await _well(world, backbone, c)]
    return f"the backbone is not well: {', '.join(sorted(bad))}" if bad else None


async def _well(world: World, backbone: Backbone, container: ContainerView) -> bool:
    """By Docker's word and, as that comes late, by a probe of our own."""
    if container.service in backbone.one_shot and container.status == "exited" and container.exit_code == 0:
        return True
    if container.status != "running" or container.health not in {None, "healthy"}:
        return False
    probe = backbone.probes.get(container.service)
    return probe is None or (await world.prober.probe(container, probe.http, probe.port)).ok
