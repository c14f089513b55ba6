"""Autoheal, or whoever restarts unhealthy containers: kept out of a ring that is just changing over."""

from __future__ import annotations

from functools import partial
from typing import Any

from aither_rings_mcp.adapters.engine import DockerEngine


class HealerContainer:
    """Pauses the healer's container in the backbone. Labels cannot be changed while a container lives, so the healer
    as a whole is suspended; that is for the seconds of a rollout.
    """

    def __init__(self, engine: DockerEngine, project: str, service: str) -> None:
        self._engine = engine
        self._project = project
        self._service = service

    async def suspend(self) -> None:
        for container in await self._those("running"):
            await self._engine.call(partial(_pause, container))

    async def resume(self) -> None:
        for container in await self._those("paused"):
            await self._engine.call(partial(_unpause, container))

    async def _those(self, status: str) -> list[str]:
        found = await self._engine.listed(self._project)
        return [container.id for container in found if (container.service, container.status) == (self._service, status)]


def _pause(container: str, api: Any) -> None:
    api.pause(container)


def _unpause(container: str, api: Any) -> None:
    api.unpause(container)


class NoHealer:
    """Where rings.yaml names none."""

    async def suspend(self) -> None:
        pass

    async def resume(self) -> None:
        pass
