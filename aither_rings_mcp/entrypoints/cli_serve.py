"""`ring-ctl serve`: the doors over HTTP, for people elsewhere and for agents that come and go."""

from __future__ import annotations

import asyncio
import sys
from contextlib import redirect_stdout
from typing import Annotated, Literal

import typer

from aither_rings_mcp.entrypoints.cli_session import Session


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(metavar="H", help="Where to listen; elsewhere than here it takes tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8900,
    role: Annotated[
        Literal["viewer", "operator"],
        typer.Option(help="What whoever is on this machine may do without a token, as long as there are no tokens."),
    ] = "viewer",
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name that clients call this server by; repeatable.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="An origin whose pages may ask it; repeatable.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look only.")] = False,
    allow_force: Annotated[bool, typer.Option("--allow-force", help="Let operators past gates, with a reason.")] = (
        False
    ),
    monitor: Annotated[bool, typer.Option("--monitor/--no-monitor", help="With the RingMonitor, or without.")] = True,
) -> None:
    """Serve REST, MCP over HTTP and SSE, the dashboard and the monitor, in one process."""
    from aither_rings_mcp.domain.access import Role
    from aither_rings_mcp.entrypoints.cli_monitor import said
    from aither_rings_mcp.entrypoints.redacted_log import log_to_stderr
    from aither_rings_mcp.entrypoints.serve import Serving
    from aither_rings_mcp.entrypoints.serve import serve as until_told
    from aither_rings_mcp.wiring import build_installation

    session: Session = ctx.obj
    serving = Serving(
        host=host,
        port=port,
        hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        local=Role(role),
        read_only=read_only,
        allow_force=allow_force,
        monitor=monitor,
    )
    log_to_stderr()
    with redirect_stdout(sys.stderr):
        asyncio.run(until_told(build_installation(session.config), serving, said))


COMMANDS = (serve,)
