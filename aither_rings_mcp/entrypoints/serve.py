"""`ring-ctl serve`: REST, MCP over HTTP and SSE, the dashboard and the monitor in one process.

It listens on a port, and on a socket that the edge hands `/rings/*` of the rings' own ports to.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from aither_rings_mcp.domain.access import Grant, Role
from aither_rings_mcp.domain.errors import RingBusy, RingError
from aither_rings_mcp.entrypoints.http_app import OPEN_PATHS, http_app, running
from aither_rings_mcp.entrypoints.http_guard import Guard, Rules
from aither_rings_mcp.entrypoints.http_hosts import check_bind, is_public
from aither_rings_mcp.entrypoints.listening import Listener, at_the_edge, bound, listen
from aither_rings_mcp.entrypoints.mcp_server import build_server
from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.wiring import Installation

Say = Callable[[str], None]
#: By these names, and any port, whoever is on this machine reaches a ring's Genesis, and the edge hands it on.
_EDGE_HOSTS = ("localhost", "127.0.0.1", "[::1]")
#: Said where a server for approvers starts.
_AT_MOST = (
    "who shows no token is an operator here at most: to answer plans takes one, of "
    "`ring-ctl token create NAME --role approver --person`"
)


@dataclass(frozen=True)
class Serving:
    """How one server is reached, and what it lets its clients do.

    Nobody gets more than `role`; `local` is for who shows no token, on loopback: at most an operator's part.
    """

    host: str = "127.0.0.1"
    port: int = 8900
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    role: Role = Role.APPROVER
    local: Role = Role.VIEWER
    read_only: bool = False
    allow_force: bool = False
    rest: bool = True
    monitor: bool = True


async def serve(installation: Installation, serving: Serving, say: Say) -> None:
    """Serves until SIGTERM or Ctrl-C. Operations go on by themselves: their workers are processes of their own."""
    tokens, clock, manager = installation.tokens, installation.clock, installation.manager
    check_bind(serving.host, bool(tokens.all()))
    grant = Grant(serving.role, serving.read_only, serving.allow_force)
    server = build_server(
        manager, allow_force=serving.allow_force, read_only=serving.read_only, role=serving.role.value
    )
    app = http_app(manager, server, grant, rest=serving.rest)
    rules = Rules(
        public=is_public(serving.host),
        hosts=serving.hosts,
        origins=serving.origins,
        local=serving.local,
        open_paths=OPEN_PATHS,
    )
    if serving.local.unproven is not serving.local:
        say(_AT_MOST)
    with bound(serving.host, serving.port) as port:
        listeners = [Listener(port, Guard(app, tokens, rules, clock))]
        async with AsyncExitStack() as stack:
            if serving.rest and installation.controller is not None:
                edge = stack.enter_context(at_the_edge(installation.controller))
                from_edge = Rules(public=True, hosts=_EDGE_HOSTS, open_paths=frozenset())
                listeners.append(Listener(edge, Guard(app, tokens, from_edge, clock)))
            await stack.enter_async_context(running(app))
            group = await stack.enter_async_context(anyio.create_task_group())
            group.start_soon(_told_to_stop, group.cancel_scope, say)
            if serving.monitor:
                group.start_soon(_watched, manager, say)
            host, bound_port = port.getsockname()[:2]
            # What is there by now stays: a collector that goes through it again and again holds everybody up.
            gc.collect()
            gc.freeze()
            say(f"serving at http://{f'[{host}]' if ':' in host else host}:{bound_port}")
            await listen(listeners)


async def _told_to_stop(scope: anyio.CancelScope, say: Say) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            say("asked to stop; operations that are under way go on by themselves")
            scope.cancel()
            return


async def _watched(manager: RingManager, say: Say) -> None:
    """The monitor, where none runs already; whatever it meets, the doors stay open."""
    try:
        await manager.monitor(say).run()
    except RingBusy:
        say("a monitor of these rings runs already; this server leaves it to that one")
    except RingError as error:
        say(f"no monitor: {error.message}. {error.next_step}")
