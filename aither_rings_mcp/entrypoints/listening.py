"""Bound sockets, and a server at each, all in one process."""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp

from aither_rings_mcp.domain.errors import ConfigInvalid, RingBusy

#: Streams that clients keep open do not hold up the end for longer.
_LEAVE_S = 3
_BACKLOG = 128


@dataclass(frozen=True)
class Listener:
    """A bound socket, and the app that answers there."""

    socket: socket.socket
    app: ASGIApp


async def listen(listeners: Sequence[Listener]) -> None:
    """Answers until it is cancelled; what is being answered then gets a moment to end."""
    servers = [_Server(uvicorn.Config(each.app, **_OPTIONS)) for each in listeners]
    async with anyio.create_task_group() as group:
        for server, listener in zip(servers, listeners, strict=True):
            group.start_soon(server.until_told, listener.socket)
        try:
            await anyio.sleep_forever()
        finally:
            for server in servers:
                server.should_exit = True
            with anyio.CancelScope(shield=True), anyio.move_on_after(_LEAVE_S + 1):
                for server in servers:
                    await server.left.wait()


#: The lifespan is ours: several servers share one app. Access logs would repeat what the history says better.
_OPTIONS: dict[str, Any] = {
    "lifespan": "off",
    "access_log": False,
    "log_config": None,
    "timeout_graceful_shutdown": _LEAVE_S,
    "server_header": False,
    "proxy_headers": False,
    "ws": "none",
}


class _Server(uvicorn.Server):
    """One that leaves signals to the process, as there are several of them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.left = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def until_told(self, bound: socket.socket) -> None:
        with anyio.CancelScope(shield=True):
            await self.serve(sockets=[bound])
        self.left.set()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, or asyncio leaves Nagle's algorithm on, and an answer on a kept connection waits 40 ms for an ACK.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise ConfigInvalid(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            "Choose another one with --port (0 takes a free one), or stop what listens there.",
        ) from error
    opened.listen(_BACKLOG)
    return opened


@contextmanager
def at_the_edge(path: Path) -> Generator[socket.socket]:
    """The socket where the edge looks for the controller. One that nobody answers at is from a server that is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if _answers(path):
                raise RingBusy(f"another server listens on {path}", "One is enough: leave it, or stop it first.")
            path.unlink(missing_ok=True)
            opened.bind(str(path))
            path.chmod(0o660)
            opened.listen(_BACKLOG)
        except OSError as error:
            raise ConfigInvalid(f"cannot listen on {path}: {error.strerror or error}", "See who owns it.") from error
        try:
            yield opened
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
