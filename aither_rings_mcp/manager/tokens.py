"""Bearer tokens are made, listed and revoked by a person; the history tells of each, and never knows the secret."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Literal

from aither_rings_mcp.domain import tokens
from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.answers import TokenCreatedAnswer, TokenRevokedAnswer, TokensAnswer, TokenView
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, RingError
from aither_rings_mcp.domain.model import NO_RING, Actor, Event
from aither_rings_mcp.domain.tokens import Token
from aither_rings_mcp.manager.world import World

_LONGEST_NAME = 64


def create(
    world: World,
    name: str,
    role: Role,
    actor: Actor,
    *,
    kind: Literal["person", "agent"] = "agent",
    attended: bool = True,
    expires_s: float | None = None,
) -> TokenCreatedAnswer:
    """A new token; its text is in this answer and nowhere else, ever. Not `attended`: no person sits at the client."""
    _only_people(actor, "give out tokens", "create NAME --role ROLE")
    now = world.clock.now()
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    token = Token(
        id=token_id,
        name=_usable(name),
        role=role,
        kind=kind,
        attended=attended,
        hash=tokens.hashed(secret),
        created_at=now,
        created_by=str(actor),
        expires_at=_end(world, expires_s),
    )
    world.tokens.add(token)
    try:
        _tell(world, token, "created", actor)
    except RingError:
        # nobody was shown it, and none counts without a trace
        world.tokens.revoke(token.id, now)
        raise
    until = f", until {token.expires_at:%Y-%m-%d %H:%M}Z" if token.expires_at else ""
    return TokenCreatedAnswer(
        ok=True,
        summary=f"{token.name} is {_article(role)} {role} with this token{until}. It is shown this once: keep it now.",
        as_of=now,
        created=_view(world, token),
        token=tokens.written(token_id, secret),
    )


def listed(world: World) -> TokensAnswer:
    """Every token ever made, oldest first, without anything that lets somebody in."""
    views = tuple(_view(world, token) for token in world.tokens.all())
    valid = sum(view.state == "valid" for view in views)
    return TokensAnswer(
        ok=True,
        summary=f"{valid} of {len(views)} tokens let somebody in." if views else "No token was ever made here.",
        as_of=world.clock.now(),
        tokens=views,
    )


def revoke(world: World, token_id: str, actor: Actor) -> TokenRevokedAnswer:
    """Ends a token for good, at once, also for servers that run."""
    _only_people(actor, "revoke tokens", f"revoke {token_id}")
    before = next((token for token in world.tokens.all() if token.id == token_id), None)
    # First what matters, then its trace: an event of a token that still counts would be a lie.
    token = world.tokens.revoke(token_id, world.clock.now())
    lasting = before is None or before.revoked_at is None
    if lasting:
        _tell(world, token, "revoked", actor)
    return TokenRevokedAnswer(
        ok=True,
        summary=f"The token of {token.name} ({token.id}) "
        + ("lets nobody in any more." if lasting else "was revoked before."),
        as_of=world.clock.now(),
        revoked=_view(world, token),
    )


def _tell(world: World, token: Token, outcome: Literal["created", "revoked"], actor: Actor) -> None:
    alone = "" if token.attended else ", unattended"
    until = f", until {token.expires_at:%Y-%m-%dT%H:%M:%SZ}" if token.expires_at else ""
    world.history.append(
        Event(
            at=world.clock.now(),
            ring=NO_RING,
            event="token",
            outcome=outcome,
            operation="",
            actor=str(actor),
            detail=f"{token.name} ({token.id}): {token.kind}, {token.role}{alone}{until}",
        )
    )


def _view(world: World, token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.name,
        kind=token.kind,
        attended=token.attended,
        role=token.role.value,
        state=token.state(world.clock.now()),
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
    )


def _end(world: World, expires_s: float | None) -> datetime | None:
    if expires_s is None:
        return None
    try:
        return world.clock.now() + timedelta(seconds=expires_s)
    except OverflowError:
        raise InvalidArguments("a token cannot live that long", "Leave --expires out for one without an end.") from None


def _usable(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidArguments(
            f"a token's name has 1 to {_LONGEST_NAME} characters that can be read, and no blanks around them",
            "Name whoever will show it: the history knows them by this name.",
        )
    return name


def _only_people(actor: Actor, to_do: str, words: str) -> None:
    if actor.automatic:
        raise Forbidden(f"{actor} may not {to_do}", f"A person does, on the server: `ring-ctl token {words}`.")


def _article(role: Role) -> str:
    return "a" if role is Role.VIEWER else "an"
