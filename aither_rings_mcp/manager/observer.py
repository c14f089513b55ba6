"""Looks at what runs: health of a project's services, and whether a release runs as it should."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio

from aither_rings_mcp.domain.answers import Verification
from aither_rings_mcp.domain.health import (
    ContainerView,
    ProbeResult,
    ServiceHealth,
    ServiceState,
    Window,
    judge_service,
)
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.settings import Service
from aither_rings_mcp.domain.watch import Call, RingWatch, Sample
from aither_rings_mcp.domain.watch import judge as verdict
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

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
        asks = service.probe.http or service.probe.tcp
        if asks and container is not None and container.status == "running":
            result = await world.prober.probe(container, service.probe.http, service.probe.port)
        found[name] = judge_service(name, service.critical, container, result, service.one_shot)

    async with anyio.create_task_group() as group:
        for name in services:
            group.start_soon(one, name)
    return tuple(found[name] for name in services)


def mismatched(containers: Sequence[ContainerView], release: Release) -> tuple[str, ...]:
    """Services whose container does not run the release's image, or that have none, or that should not be there."""
    running: dict[str, set[str]] = {}
    for container in containers:
        running.setdefault(container.service, set()).add(container.image_id)
    expected = {name: {image} for name, image in release.images.items()}
    return tuple(sorted(name for name in {*running, *expected} if running.get(name) != expected.get(name)))


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


async def verify(world: World, project: str, release: Release, on_line: OnLine, *, fresh: bool = True) -> Verification:
    """Whether `release` proves itself: the right images, and every service healthy for a whole window by the deadline.

    What counts is what is observed: a start that reported success proves nothing. What crash-loops does not get the
    whole deadline, nor does a critical service that is dead for `rollback.dead_for`. `fresh`: the containers were made
    for this, so that every restart of theirs counts.
    """
    limits = world.settings.limits
    services = world.services_of(release)
    window = Window(
        needed=max(2, round(limits.healthy_window / limits.poll) + 1),
        first_restarts=dict.fromkeys(services, 0) if fresh else {},
    )
    # Ill health has the deadline; this is for what exits.
    dead_rule = world.settings.rollback.model_copy(update={"unhealthy_for": math.inf})
    watch = RingWatch()
    started = world.clock.monotonic()
    said = ""
    while True:
        containers = await world.engine.containers(project)
        wrong = mismatched(containers, release)
        health = await judge(world, containers, services)
        window = window.seen(health)
        unhealthy = tuple(service.name for service in health if not service.healthy)
        waited = world.clock.monotonic() - started
        seen = Verification(
            images_match=not wrong,
            healthy=len(health) - len(unhealthy),
            total=len(health),
            unhealthy=unhealthy,
            mismatched=wrong,
            waited_s=round(waited, 1),
        )
        line = f"{seen.healthy}/{seen.total} healthy" + (f", waiting for {', '.join(unhealthy)}" if unhealthy else "")
        if line != said:
            on_line(line)
            said = line
        if window.proven and not wrong:
            return seen
        if window.crash_looping:
            return seen.model_copy(update={"reason": f"crash loop: {', '.join(window.crash_looping)}"})
        watch = watch.seen(release.id, sampled([s for s in health if s.critical], at=waited), dead_rule)
        if (dead := verdict(watch.samples, dead_rule)).call is Call.CONDEMNED:
            return seen.model_copy(update={"reason": dead.reason})
        if waited > limits.healthy:
            reasons = {f"{s.name}: {s.reason or s.state}" for s in health if not s.healthy}
            why = "; ".join(sorted(reasons)[:4]) or f"other images than the release's: {', '.join(wrong)}"
            return seen.model_copy(update={"reason": f"not healthy within {limits.healthy:g} s: {why}"})
        await world.clock.sleep(limits.poll)
