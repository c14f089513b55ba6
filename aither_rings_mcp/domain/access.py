"""Who may do what: roles, what a server grants, and who a request comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from pydantic import ValidationError

from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, ReadOnly
from aither_rings_mcp.domain.model import Actor, Override
from aither_rings_mcp.domain.value import Value

_INSTEAD = "A plan shows what would happen; a person can do it with ring-ctl."


class Role(StrEnum):
    """What somebody may do: look; change rings too; answer for others too."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"

    def may(self, needed: Role) -> bool:
        """Whether this role is `needed` or more. `<` would compare the letters."""
        return _RANK[self] >= _RANK[needed]

    @property
    def unproven(self) -> Role:
        """What is left of it for who shows no token: they call themselves what they like, so they answer for nobody."""
        return Role.OPERATOR if self is Role.APPROVER else self


_RANK = {role: rank for rank, role in enumerate(Role)}


class Identity(Value):
    """Who a request comes from. `token` is the id of the token it showed; None: it showed none. `attended`: a person
    sits at its client, and may be asked there.
    """

    name: str
    kind: Literal["person", "agent"]
    role: Role
    token: str | None = None
    attended: bool = True

    def actor(self, door: Literal["mcp", "rest"], *, via: str | None = None, call: str | None = None) -> Actor:
        """The same as it stands in history and evidence: the token's name, never one that a client gave itself."""
        return Actor(name=self.name, kind=self.kind, door=door, via=via, call=call)


@dataclass(frozen=True)
class Grant:
    """What one request may do. `role` is the server's, unless who asks (`narrowed_to`) has less."""

    role: Role
    read_only: bool = False
    allow_force: bool = False
    narrowed_to: Identity | None = None

    def to(self, identity: Identity | None) -> Grant:
        """The grant for this identity: no token gives more than the server was started with."""
        if identity is None or identity.role.may(self.role):
            return self
        return replace(self, role=identity.role, narrowed_to=identity)

    def change(self) -> None:
        """Returns where changes are granted; refuses elsewhere."""
        self._writable()
        self._need(Role.OPERATOR, "change a ring", _INSTEAD)

    def approve(self) -> None:
        """Returns where plans may be answered; refuses elsewhere."""
        self._writable()
        self._need(Role.APPROVER, "answer a plan", "A person can answer it with ring-ctl approve PLAN_ID.")

    def override(self, force: bool, reason: str | None, actor: Actor) -> Override | None:
        """The bypass that `force` asks for, where it is granted and says why."""
        if not force:
            return None
        if not self.allow_force:
            raise Forbidden(
                "force is not allowed on this server: it was started without --allow-force",
                "Fix what the gates name and promote again, or ask a person to run ring-ctl promote --force --reason.",
            )
        try:
            return Override(by=str(actor), reason=(reason or "").strip())
        except ValidationError:
            raise InvalidArguments(
                "force needs a reason of at least 3 characters",
                "Say in `reason` why the gates may be passed over; it stays in the history. Nothing was done.",
            ) from None

    def _writable(self) -> None:
        if self.read_only:
            raise ReadOnly("this server only looks: it was started with --read-only", _INSTEAD)

    def _need(self, needed: Role, to_do: str, instead: str) -> None:
        if self.role.may(needed):
            return
        match self.narrowed_to:
            case None:
                said = f"this server was started with --role {self.role}, which may not {to_do}"
                giver = f"Whoever runs the server can start it with --role {needed}."
            case Identity(token=None):
                said, giver = f"nobody without a token may {to_do} here", _giver(needed)
            case Identity(name=name, token=token):
                said = f"the token {name} ({token}) has the role {self.role}, which may not {to_do}"
                giver = _giver(needed)
        raise Forbidden(f"{said}: that takes {needed}", f"{instead} {giver}", role=self.role.value, needed=needed.value)


def _giver(needed: Role) -> str:
    return f"Whoever has an account on the server can give one: ring-ctl token create NAME --role {needed}."
