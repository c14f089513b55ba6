"""Looks at what runs: health of a project's services, and whether a release runs as it should."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from aither_rings_mcp.domain.composition import LABEL_RELEASE
from aither_rings_mcp.domain.health import (
    ContainerView,
    ListedContainer,
    ProbeResult,
    ServiceHealth,
    ServiceState,
    judge_service,
)
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.settings import Service
from aither_rings_mcp.domain.watch import Sample
from aither_rings_mcp.manager.world import World

_DEAD = frozenset({ServiceState.EXITED, ServiceState.RESTARTING})


async def look(world: World, project: str, services: Sequence[str]) -> tuple[ServiceHealth, ...]:
    """Every service's health right now, asked side by side."""
    return await judge(world, await world.engine.containers(project), services)


async def judge(
    world: World, containers: Sequence[ContainerView], services: Sequence[str]
) -> tuple[ServiceHealth, ...]:
    """Every service's health from its container and a fresh probe, in the order asked."""
    by_service = {container.service: container for container in containers}
    found: dict[str, ServiceHealth] = {}

    async def one(name: str) -> None:
        service = world.settings.services.get(name, Service())
        container = by_service.get(name)
        result: ProbeResult | None = None
        if container is not None and container.status == "running" and _asked(world, service, container):
            result = await world.prober.probe(container, service.probe.http, service.probe.port)
        found[name] = judge_service(name, service.critical, container, result, service.one_shot)

    async with anyio.create_task_group() as group:
        for name in services:
            group.start_soon(one, name)
    return tuple(found[name] for name in services)


def _asked(world: World, service: Service, container: ContainerView) -> bool:
    """Whether its probe is asked. Where nothing else says whether a front service is well, its port has to be open: the
    edge goes there.
    """
    if service.probe.http or service.probe.tcp:
        return True
    if container.health is not None or service.probe.port is None:
        return False
    rings = (ring for ring in world.settings.rings.values() if container.project in ring.slots.values())
    return any(container.service in ring.fronts for ring in rings)


def mismatched(containers: Sequence[ListedContainer], release: Release) -> tuple[str, ...]:
    """Services whose container does not run the release's image, or that have none, or that should not be there."""
    running: dict[str, set[str]] = {}
    for container in containers:
        running.setdefault(container.service, set()).add(container.image_id)
    expected = {name: {image} for name, image in release.images.items()}
    return tuple(sorted(name for name in {*running, *expected} if running.get(name) != expected.get(name)))


def made_for(containers: Sequence[ListedContainer], release: Release) -> bool:
    """Whether these containers are the release: its images, and not under the configuration of another one."""
    of_it = all(container.labels.get(LABEL_RELEASE) == release.id for container in containers)
    return of_it and not mismatched(containers, release)


def sampled(services: Sequence[ServiceHealth], at: float, excuse: str | None = None) -> Sample:
    """One look at a ring's critical services, as the monitor's rule takes it; `at` in seconds."""
    return Sample(
        at=at,
        critical=len(services),
        unhealthy=tuple(sorted(service.name for service in services if not service.healthy)),
        dead=tuple(sorted(service.name for service in services if service.state in _DEAD)),
        restarts={service.name: service.restarts for service in services},
        excuse=excuse,
    )
