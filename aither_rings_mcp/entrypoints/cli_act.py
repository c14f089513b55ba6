"""The commands that change a ring, and a person's answer to who wants to."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from aither_rings_mcp.domain.errors import Exit
from aither_rings_mcp.entrypoints.cli_session import Session, actor, ask, overriding, seconds
from aither_rings_mcp.entrypoints.cli_words import (
    DryRun,
    Note,
    OperationId,
    PlanId,
    Project,
    Reason,
    Ring,
    Source,
    Target,
    Wait,
    Yes,
)


def up(ctx: typer.Context, ring: Project, wait: Wait = None) -> None:
    """Start what is recorded of a ring."""
    ask(ctx, lambda manager, watch: manager.up(ring, actor(), wait_s=wait, watch=watch))


def down(ctx: typer.Context, ring: Project, wait: Wait = None) -> None:
    """Stop a ring; what is recorded of it stays."""
    ask(ctx, lambda manager, watch: manager.down(ring, actor(), wait_s=wait, watch=watch))


def deploy(
    ctx: typer.Context,
    ring: Ring,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Build the images, or take those there are.")
    ] = True,
    wait: Wait = None,
) -> None:
    """Build the working tree and run it in dev, as a new release."""
    ask(ctx, lambda manager, watch: manager.deploy(ring, actor(), build=build, wait_s=wait, watch=watch))


def promote(
    ctx: typer.Context,
    source: Source,
    target: Target,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Only if this plan still holds.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Bypass the gates; needs --reason.")] = False,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = None,
) -> None:
    """Take a release one ring further, through its gates; a bad one is taken back."""
    override = overriding(force, reason)
    ask(
        ctx,
        lambda manager, watch: manager.promote(
            source, target, actor(),
            plan_id=plan, dry_run=dry_run, override=override, reason=reason, wait_s=wait, watch=watch,
        ),
    )  # fmt: skip


def rollback(
    ctx: typer.Context,
    ring: Ring,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Back to the release with this tag.")] = None,
    release: Annotated[str | None, typer.Option(metavar="ID", help="Back to exactly this release.")] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = None,
) -> None:
    """Go back to the last release that proved itself, or to a named one."""
    ask(
        ctx,
        lambda manager, watch: manager.rollback(
            ring, actor(), tag=tag, release=release, reason=reason, dry_run=dry_run, wait_s=wait, watch=watch
        ),
    )


def approve(ctx: typer.Context, plan_id: PlanId, note: Note = None, yes: Yes = False) -> None:
    """Say yes to a plan that waits for a person; on a terminal, see first what that is."""
    session: Session = ctx.obj
    saw = None if yes or session.as_json or not sys.stdin.isatty() else _seen(session, plan_id)
    ask(ctx, lambda manager, _: manager.answer_plan(plan_id, True, actor(), note=note, plan_hash=saw))


def _seen(session: Session, plan_id: str) -> str:
    """Shows what a yes would let happen, and asks for it; the hash of what was shown."""
    from aither_rings_mcp.entrypoints.cli_render import show

    plan = asyncio.run(session.build(session.config).proposal(plan_id))
    show(plan.model_copy(update={"next_actions": ()}), as_json=False)
    if not typer.confirm(f"Approve {plan.plan_id}?"):
        typer.echo("Nothing was answered; `ring-ctl reject` says no for good.", err=True)
        raise typer.Exit(Exit.BLOCKED)
    return plan.plan_hash


def reject(ctx: typer.Context, plan_id: PlanId, note: Note = None) -> None:
    """Say no to a plan that waits for a person."""
    ask(ctx, lambda manager, _: manager.answer_plan(plan_id, False, actor(), note=note))


def cancel(
    ctx: typer.Context,
    operation_id: OperationId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the history.")],
) -> None:
    """Give up an operation that has not touched anything yet."""
    ask(ctx, lambda manager, _: manager.cancel(operation_id, actor(), reason))


def freeze(
    ctx: typer.Context,
    ring: Ring,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What has to be over first, for everybody who asks.")],
    lasts: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long: 90s, 2h, 3d; without: until `thaw`.")
    ] = None,
) -> None:
    """Let nothing new into a ring; going back stays open."""
    for_s = None if lasts is None else seconds(lasts)
    ask(ctx, lambda manager, _: manager.freeze(ring, actor(), reason, for_s=for_s))


def thaw(ctx: typer.Context, ring: Ring, reason: Reason = None) -> None:
    """Let new releases into a frozen ring again."""
    ask(ctx, lambda manager, _: manager.thaw(ring, actor(), reason))


COMMANDS = (up, down, deploy, promote, rollback, approve, reject, cancel, freeze, thaw)
