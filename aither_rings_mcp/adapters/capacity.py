"""How much memory and disk there is: of containers by the engine, of the machine by its kernel."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from aither_rings_mcp.adapters.engine import PROJECT_LABEL, DockerEngine
from aither_rings_mcp.adapters.engine_socket import engine_socket
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.ports import MemoryUse

_MEMINFO = Path("/proc/meminfo")


class HostCapacity:
    """`ports.Capacity` for an engine on this machine."""

    def __init__(self, engine: DockerEngine, state_dir: Path) -> None:
        self._engine = engine
        self._state_dir = state_dir

    async def used(self, project: str) -> MemoryUse | None:
        labels = {"label": f"{PROJECT_LABEL}={project}"}
        found: list[int | None] = []

        async def look(container: str) -> None:
            try:
                found.append(await self._engine.call(partial(_memory_of, container), abandon=True))
            except RingError:  # gone, or nobody can tell
                found.append(None)

        try:
            listed = await self._engine.call(lambda api: api.containers(filters=labels), abandon=True)
        except RingError:
            return None
        async with anyio.create_task_group() as group:
            for one in listed:
                group.start_soon(look, one["Id"])
        known = [size for size in found if size is not None]
        return MemoryUse(tuple(known), unknown=len(found) - len(known))

    def free(self) -> int | None:
        try:
            lines = _MEMINFO.read_text().splitlines()
        except OSError:  # not on Linux
            return None
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        return kilobytes[0] * 1024 if kilobytes else None

    def disk(self) -> int | None:
        try:
            return shutil.disk_usage(self._state_dir).free
        except OSError:
            return None

    async def store(self) -> int | None:
        if engine_socket() is None:  # that is another machine's disk
            return None
        try:
            root = await self._engine.call(lambda api: api.info()["DockerRootDir"], abandon=True)
            return shutil.disk_usage(root).free
        except (RingError, OSError):  # as from inside a container, which does not see it
            return None


def _memory_of(container: str, api: Any) -> int | None:
    """As `docker stats` shows it: without what the kernel would give back at once. None where it does not count."""
    memory: dict[str, Any] = api.stats(container, stream=False, one_shot=True).get("memory_stats") or {}
    if not memory.get("usage"):
        return None
    details: dict[str, int] = memory.get("stats") or {}
    cache = details.get("inactive_file") or details.get("total_inactive_file") or 0  # cgroup 2, cgroup 1
    return max(0, int(memory["usage"]) - cache)
