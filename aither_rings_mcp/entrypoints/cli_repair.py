"""The commands that keep the rings well."""

from __future__ import annotations

import asyncio
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from aither_rings_mcp.entrypoints.cli_session import Session, actor, answered, ask
from aither_rings_mcp.entrypoints.cli_words import Ring, Wait


def recover(ctx: typer.Context, wait: Wait = None) -> None:
    """Finish or take back what an interrupted worker left half-done."""
    ask(ctx, lambda manager, watch: manager.recover(wait_s=wait, watch=watch))


def unlock(
    ctx: typer.Context,
    ring: Ring,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What was looked at and mended, for the history.")],
) -> None:
    """Take a stuck ring back into service, once a person has looked at it."""
    ask(ctx, lambda manager, _: manager.unlock(ring, actor(), reason))


def monitor(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One look at everything, then leave.")] = False,
) -> None:
    """Watch the rings, take back what goes bad after its promotion, and call a person when that is needed."""
    from aither_rings_mcp.entrypoints.cli_monitor import said, watch_rings

    if once:
        ask(ctx, lambda manager, _: manager.monitor(said).once())
    session: Session = ctx.obj
    with redirect_stdout(sys.stderr):
        asyncio.run(watch_rings(session.build(session.config).monitor(said)))


def doctor(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Without the looks from inside the containers.")] = False,
) -> None:
    """Check the engine, the files and, from inside the containers, that the rings are apart."""
    ask(ctx, lambda manager, _: manager.doctor("quick" if quick else "full"))


def drill(ctx: typer.Context) -> None:
    """Prove it on scratch rings: ship bad releases, kill what controls them, and see every promise hold."""
    from aither_rings_mcp.entrypoints.cli_drill import ended_like_ctrl_c
    from aither_rings_mcp.entrypoints.cli_monitor import said

    session: Session = ctx.obj
    with ended_like_ctrl_c():
        answered(session, lambda _: session.build_drill().run(said))


COMMANDS = (monitor, doctor, drill, recover, unlock)
