"""The words that several commands of `ring-ctl` take, and what Tab makes of them."""

from __future__ import annotations

from typing import Annotated

import typer


def complete_ring(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ring names from the config, for Tab."""
    root = ctx.find_root()
    try:
        rings = list(root.obj.manager(root.params.get("config")).settings.rings)
    except Exception:  # Tab offers nothing rather than a trace
        return []
    return [ring for ring in rings if ring.startswith(incomplete)]


def complete_up(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ring names and the backbone, for Tab."""
    return [*complete_ring(ctx, incomplete), *(["shared"] if "shared".startswith(incomplete) else [])]


_RING = typer.Argument(metavar="RING", help="A ring of rings.yaml.", autocompletion=complete_ring)
Ring = Annotated[str, _RING]
MaybeRing = Annotated[str | None, _RING]
Project = Annotated[
    str, typer.Argument(metavar="RING", help="A ring, or `shared`: the backbone.", autocompletion=complete_up)
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="The ring it leaves.", autocompletion=complete_ring)]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="The ring it enters.", autocompletion=complete_ring)]
OperationId = Annotated[str, typer.Argument(metavar="ID", help="An operation's id.")]
PlanId = Annotated[str, typer.Argument(metavar="PLAN_ID", help="The plan that waits for an answer.")]
Wait = Annotated[
    float | None,
    typer.Option(metavar="S", min=0, help="Seconds to wait, then leave it running; without: until it ends."),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the history.")]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="A word to whoever asked.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
Yes = Annotated[bool, typer.Option("--yes", help="Without a look first; so it is in a pipe and with --json.")]
