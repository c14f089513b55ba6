"""The engine's event stream: which containers exit, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread

from aither_rings_mcp.adapters.engine import PROJECT_LABEL, SERVICE_LABEL
from aither_rings_mcp.domain.errors import DockerUnavailable
from aither_rings_mcp.ports import Death


class ContainerDeaths:
    """Follows the engine that the environment names, on a connection of its own that waits for ever."""

    async def follow(self, heard: Callable[[Death], None]) -> None:
        """Calls `heard` for each container that exits, until cancelled.

        Raises `docker_unavailable` when the stream ends: an engine that restarts tells nobody.
        """
        stream: Any = None

        def read() -> None:
            nonlocal stream
            import docker
            import docker.errors
            import requests
            from docker.utils import kwargs_from_env

            with suppress(docker.errors.DockerException, requests.RequestException, OSError, AttributeError):
                # AttributeError: the socket is gone from under a read, because `close` below took it away
                api = docker.APIClient(version="auto", timeout=None, **kwargs_from_env())  # pyright: ignore[reportArgumentType] - None means no limit
                stream = api.events(decode=True, filters={"type": "container", "event": "die"})
                for event in stream:
                    about = event["Actor"]["Attributes"]
                    death = Death(about.get(PROJECT_LABEL, ""), about.get(SERVICE_LABEL, ""), int(about["exitCode"]))
                    anyio.from_thread.run_sync(heard, death)

        try:
            await anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        finally:
            if stream is not None:
                with suppress(OSError, AttributeError):
                    stream.close()
        raise DockerUnavailable(
            "the Docker engine's event stream ended", "Start the engine (`systemctl start docker`, or dockerd)."
        )
