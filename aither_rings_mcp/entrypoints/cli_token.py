"""`ring-ctl token`: who may come in over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.entrypoints.cli_session import actor, ask

app = typer.Typer(
    name="token", no_args_is_help=True, help="Give people and agents a way in over HTTP, and take it back."
)


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will show it, as the history will say.")],
    role: Annotated[
        Literal["viewer", "operator", "approver"],
        typer.Option(help="It may look; change rings too; answer plans of others too."),
    ],
    person: Annotated[bool, typer.Option("--person", help="A person will show it, not an agent.")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Nobody sits at its client: it never passes a person's answer on.")
    ] = False,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it ends, from now: 12h, 30d; without: when it is revoked.")
    ] = None,
) -> None:
    """Make a token and print it, this once."""
    from aither_rings_mcp.domain.access import Role

    ends, kind = _seconds(expires), "person" if person else "agent"
    ask(
        ctx,
        lambda manager, _: manager.create_token(
            name, Role(role), actor(), kind=kind, attended=not unattended, expires_s=ends
        ),
    )


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """Show every token ever made, and whether it lets somebody in."""
    ask(ctx, lambda manager, _: manager.tokens())


@app.command()
def revoke(ctx: typer.Context, token_id: Annotated[str, typer.Argument(metavar="ID", help="A token's id.")]) -> None:
    """End a token for good; servers that run refuse it at once."""
    ask(ctx, lambda manager, _: manager.revoke_token(token_id, actor()))


def _seconds(expires: str | None) -> float | None:
    if expires is None:
        return None
    from aither_rings_mcp.domain.settings import parse_duration

    try:
        seconds = float(cast("str | float", parse_duration(expires)))
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise InvalidArguments(f"--expires {expires!r} is no time from now", "Write for example 12h or 30d.")
    return seconds
