"""Health over HTTP and TCP, asked from the host: on the container's own address, or on its published port."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import anyio

from aither_rings_mcp.adapters.http_wire import get
from aither_rings_mcp.domain.health import ContainerView, ProbeResult


def reachable(container: ContainerView, port: int) -> tuple[str, int] | None:
    """Where to reach a container's port from here.

    A Linux host reaches container addresses; where they are not routed (Docker Desktop) the published port is used,
    so a published port wins when there is one.
    """
    if port in container.published:
        return container.published[port]
    # by network name, so that the choice does not change from look to look
    for _, ip in sorted(container.addresses.items()):
        return ip, port
    return None


class NetworkProber:
    """Asks services whether they are well. An unwell service is an answer, never an exception."""

    def __init__(self, limit_s: float) -> None:
        self._limit = limit_s

    def address(self, container: ContainerView, port: int) -> tuple[str, int] | None:
        return reachable(container, port)

    async def probe(self, container: ContainerView, http: str | None, port: int | None) -> ProbeResult:
        target = self.address(container, port) if port else None
        if target is None:
            return ProbeResult(ok=False, reason=f"port {port} is not reachable: no address")
        started = time.perf_counter()
        result = await (self._http(*target, http) if http else self._tcp(*target))
        return result.model_copy(update={"latency_ms": round((time.perf_counter() - started) * 1000, 1)})

    async def _http(self, host: str, port: int, path: str) -> ProbeResult:
        try:
            with anyio.fail_after(self._limit):
                status = await _status(host, port, path)
        except TimeoutError:
            return ProbeResult(ok=False, reason=f"no answer to {path} within {self._limit:g} s")
        except OSError as error:
            return ProbeResult(ok=False, reason=f"{path}: {type(error).__name__}")
        ok = status < 400
        return ProbeResult(ok=ok, http_status=status, reason=None if ok else f"{path} answered {status}")

    async def _tcp(self, host: str, port: int) -> ProbeResult:
        try:
            with anyio.fail_after(self._limit):
                stream = await anyio.connect_tcp(host, port)
        except TimeoutError:
            return ProbeResult(ok=False, reason=f"no connection to port {port} within {self._limit:g} s")
        except OSError as error:
            return ProbeResult(ok=False, reason=f"port {port}: {type(error).__name__}")
        await stream.aclose()
        return ProbeResult(ok=True)


async def _status(host: str, port: int, path: str) -> int:
    """What is answered to a user who comes anew, without proxies; the whole answer has to come."""
    name = f"[{host}]" if ":" in host else host
    reader, writer = await asyncio.open_connection(host, port)
    with closing(writer):
        return (await get(reader, writer, f"{name}:{port}", path, close=True)).status
