"""The commands that only look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.entrypoints.cli_session import actor, ask, exit_code, operation_exit
from aither_rings_mcp.entrypoints.cli_words import MaybeRing, OperationId, Ring, Source, Target, complete_ring

if TYPE_CHECKING:
    from aither_rings_mcp.domain.answers import Answer, EvidenceAnswer, OperationAnswer
    from aither_rings_mcp.entrypoints.cli_watch import Watcher
    from aither_rings_mcp.manager.ring_manager import RingManager


def status(
    ctx: typer.Context,
    ring: MaybeRing = None,
    detailed: Annotated[bool, typer.Option("--detailed", help="With the image of every service.")] = False,
) -> None:
    """Show what every ring runs, since when, and what it could go back to."""
    ask(ctx, lambda manager, _: manager.status(ring, detailed=detailed))


def health(ctx: typer.Context, ring: Ring) -> None:
    """Probe every service of a ring, now."""
    ask(ctx, lambda manager, _: manager.health(ring))


def history(
    ctx: typer.Context,
    ring: Annotated[
        str | None,
        typer.Argument(
            metavar="RING|verify", help="One ring; `verify` proves the chain.", autocompletion=complete_ring
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="How many events.")] = 10,
    cursor: Annotated[str | None, typer.Option(metavar="C", help="Where the last page ended.")] = None,
) -> None:
    """Show what happened, newest first; `history verify` proves that nothing was changed or lost."""
    if ring == "verify":
        ask(ctx, lambda manager, _: manager.verify_history())
    ask(ctx, lambda manager, _: manager.history(ring, limit=limit, cursor=cursor))


def plan(ctx: typer.Context, source: Source, target: Target) -> None:
    """Show what a promotion would change, service by service, and do nothing."""
    ask(ctx, lambda manager, _: manager.plan(source, target, actor()))


def gates(ctx: typer.Context, source: Source, target: Target) -> None:
    """Run the gates of a path and promote nothing."""
    ask(ctx, lambda manager, watch: manager.gates(source, target, actor(), watch=watch))


def operation(
    ctx: typer.Context,
    operation_id: OperationId,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it to its end, exit by its result.")] = False,
    log: Annotated[bool, typer.Option("--log", help="With what its builds and gates wrote.")] = False,
    evidence: Annotated[bool, typer.Option("--evidence", help="What was seen of a release that failed.")] = False,
    section: Annotated[str | None, typer.Option(metavar="NAME", help="One section of the evidence, whole.")] = None,
) -> None:
    """Show how far an operation has come."""
    if section is not None and not evidence:
        raise InvalidArguments("--section is a part of the evidence", "Add --evidence.")
    if evidence and (follow or log):
        raise InvalidArguments("--evidence is looked at by itself", "Leave out --follow and --log.")
    if evidence:
        ask(ctx, lambda manager, _: _evidence(manager, operation_id, section))

    async def look(manager: RingManager, watch: Watcher) -> Answer:
        if follow:
            seen = await manager.operation(operation_id, wait_s=None, watch=watch)
        else:
            seen = await manager.operation(operation_id)
        return await _with_log(manager, seen) if log else seen

    ask(ctx, look, operation_exit if follow else exit_code)


async def _evidence(manager: RingManager, operation_id: str, section: str | None) -> EvidenceAnswer:
    first = await manager.evidence(operation_id, section)
    pages, cursor = [first.text or ""], first.next_cursor
    while cursor is not None:
        following = await manager.evidence(operation_id, section, cursor)
        pages.append(following.text or "")
        cursor = following.next_cursor
    if len(pages) == 1:
        return first
    summary = f"All of {section}, evidence of {first.operation_id}."
    whole = {"summary": summary, "text": "".join(pages), "next_cursor": None, "next_actions": ()}
    return first.model_copy(update=whole)


async def _with_log(manager: RingManager, seen: OperationAnswer) -> OperationAnswer:
    from aither_rings_mcp.domain.answers import LogSlice

    lines: list[str] = []
    cursor: int | None = 0
    while cursor is not None:
        page = (await manager.operation(seen.operation_id, include_log=True, log_cursor=cursor)).log
        lines += page.lines if page else ()
        cursor = page.next_cursor if page else None
    return seen.model_copy(update={"log": LogSlice(lines=tuple(lines))})


def url(
    ctx: typer.Context,
    ring: Ring,
    slot: Annotated[
        Literal["blue", "green"] | None, typer.Option(help="How to ask this slot, whichever one serves.")
    ] = None,
) -> None:
    """Show where people find the services of a ring."""
    from aither_rings_mcp.domain.slots import Slot

    ask(ctx, lambda manager, _: manager.url(ring, Slot(slot) if slot else None))


def tunnel(
    ctx: typer.Context,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Say whether this cloudflared config routes the same.")
    ] = None,
) -> None:
    """Print the routes of a Cloudflare tunnel to the rings, ready for its config; starts nothing."""
    from aither_rings_mcp.entrypoints.cli_tunnel import read_ingress

    found = None if check is None else read_ingress(check)
    ask(ctx, lambda manager, _: manager.tunnel(found))


COMMANDS = (status, health, history, plan, gates, operation, url, tunnel)
