"""Where a release under test runs: its own ring while that still runs it, else a preview made for the purpose.

Staging runs no containers. Only when dev has moved on since the candidate was tagged is the candidate itself
started, beside everything, for as long as its gates take.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from aither_rings_mcp.domain.composition import preview_of
from aither_rings_mcp.domain.errors import EngineFailure, InvalidTransition
from aither_rings_mcp.domain.health import ContainerView, ServiceHealth
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.settings import Preview
from aither_rings_mcp.manager.observer import judge, mismatched
from aither_rings_mcp.manager.planning import running_config
from aither_rings_mcp.manager.trial import verify
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


class Stage:
    """The running containers of one release. Use as an async context: a preview goes when it ends.

    `project`: where it runs already, if that is known.
    """

    def __init__(
        self, world: World, release: Release, preview: Preview | None, on_line: OnLine, project: str | None = None
    ) -> None:
        self._world = world
        self._release = release
        self._preview = preview
        self._on_line = on_line
        self._lock = anyio.Lock()
        self._project = project
        self._started = False

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._started and self._preview:
            with anyio.CancelScope(shield=True):
                await self._world.compose.down(self._preview.project, self._on_line, volumes=True)

    async def containers(self) -> tuple[ContainerView, ...]:
        return await self._world.engine.containers(await self.project())

    async def project(self) -> str:
        """The Compose project that runs exactly this release; starts the preview when no ring does."""
        async with self._lock:
            if self._project is None:
                self._project = await self._find()
            return self._project

    async def read(self, services: Sequence[str] | None = None) -> Sequence[ServiceHealth]:
        """Health of the release under test (`ports.ServiceReader`)."""
        wanted = tuple(services) if services else self._world.services_of(self._release)
        return await judge(self._world, await self.containers(), wanted)

    async def base_url(self, service: str, port: int | None = None) -> str:
        """Where a service of the release under test answers from here (`ports.Requests`)."""
        containers = {container.service: container for container in await self.containers()}
        if service not in containers:
            raise InvalidTransition(
                f"the release has no service {service!r}", f"Its services: {', '.join(sorted(containers))}."
            )
        settings = self._world.settings.services.get(service)
        wanted = port or (settings.probe.port if settings else None)
        if wanted is None:
            raise InvalidTransition(
                f"no port is known for {service!r}", f"Give the request a `port`, or {service!r} a probe port."
            )
        at = self._world.prober.address(containers[service], wanted)
        if at is None:
            raise EngineFailure(f"{service} has no address to reach port {wanted} on", "Look at `ring-ctl health`.")
        return f"http://{at[0]}:{at[1]}"

    async def _find(self) -> str:
        home = self._world.project(self._release.ring)
        if not mismatched(await self._world.engine.containers(home), self._release):
            return home
        if self._preview is None:
            raise InvalidTransition(
                f"{self._release.ring} no longer runs {self._release.id}, and rings.yaml names no preview to run it in",
                "Add `preview:` to the gate ring, or deploy that release again.",
            )
        return await self._start(self._preview)

    async def _start(self, preview: Preview) -> str:
        world, release = self._world, self._release
        self._on_line(f"{release.ring} has moved on: starting {release.id} as {preview.project} for its tests")
        home = world.settings.rings[release.ring]
        config = preview_of(
            world.releases.config(release.id),
            preview.project,
            home.shared_network,
            preview.shared_network,
        )
        file = world.releases.runnable(
            release.id, running_config(world, release, config, preview.project), name=preview.project
        )
        self._started = True
        # What a killed worker left of an earlier preview goes first.
        await world.compose.down(preview.project, self._on_line, volumes=True)
        await world.compose.up(preview.project, file, self._on_line)
        seen = await verify(world, preview.project, release, self._on_line)
        if seen.reason:
            self._on_line(f"the preview is not healthy: {seen.reason}")
        return preview.project
