"""`tools/conformance-server`: our server with the official conformance suite's fixtures, over HTTP on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
sys.path[:0] = [str(REPO), str(REPO / "tests" / "doors")]

import anyio  # noqa: E402
import fixture_rounds  # noqa: E402, F401 - puts its fixtures on the shelf
from fixture_tasks import JobRings, add_tasks  # noqa: E402
from fixture_texts import put_into  # noqa: E402
from mcp.server.mcpserver import MCPServer  # noqa: E402
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore  # noqa: E402
from mcp_types import JSONRPCMessage  # noqa: E402

from aither_rings_mcp.adapters.host import SystemClock  # noqa: E402
from aither_rings_mcp.adapters.token_file import TokenFile  # noqa: E402
from aither_rings_mcp.domain.access import Grant, Role  # noqa: E402
from aither_rings_mcp.entrypoints.http_app import http_app, running  # noqa: E402
from aither_rings_mcp.entrypoints.http_guard import Guard, Rules  # noqa: E402
from aither_rings_mcp.entrypoints.listening import Listener, bound, listen  # noqa: E402
from aither_rings_mcp.entrypoints.mcp_server import build_server  # noqa: E402

#: Where no file of tokens is: whoever is on this machine may come in, with the role `local`.
NOWHERE = Path("/nonexistent/aither-rings")


class Remembered(EventStore):
    """What was sent on each stream, for who comes back to it."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdecimal() or not 0 < int(last_event_id) <= len(self._sent):
            return None
        stream = self._sent[int(last_event_id) - 1][0]
        for number, (sent_on, message) in enumerate(list(self._sent), 1):
            if number > int(last_event_id) and sent_on == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def fixture_server() -> tuple[JobRings, MCPServer[Any]]:
    """Our server on a fake manager, with the fixtures put in."""
    rings = JobRings()
    server = build_server(rings)
    put_into(server)
    add_tasks(server, rings)
    # the suite tries to come back to a broken stream, and wants to be told when
    server.streamable_http_app = partial(server.streamable_http_app, event_store=Remembered(), retry_interval=100)
    return rings, server


async def serve(port: int) -> None:
    rings, server = fixture_server()
    app = http_app(rings, server, Grant(Role.OPERATOR), rest=False)
    guard = Guard(app, TokenFile(NOWHERE), Rules(), SystemClock())
    out = sys.stdout  # while it serves, our server has prints go to stderr
    with bound("127.0.0.1", port) as socket:
        async with running(app), anyio.create_task_group() as group:
            group.start_soon(listen, [Listener(socket, guard)])
            print(f"serving at http://127.0.0.1:{socket.getsockname()[1]}/mcp", file=out, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="conformance-server", description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True, metavar="N", help="where to listen (0: a free one)")
    port = parser.parse_args().port
    logging.basicConfig(level=logging.WARNING)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(port))


if __name__ == "__main__":
    main()
