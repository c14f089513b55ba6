"""Bearer tokens: what is kept of one, and how it is written. The secret itself is kept nowhere."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime

from aither_rings_mcp.domain.access import Identity, Role
from aither_rings_mcp.domain.value import Value

_TEXT = re.compile(r"rings_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")


class Token(Value):
    """What is kept of a token: who shows it, what it may, and the hash of its secret."""

    id: str
    name: str
    role: Role
    kind: Literal["person", "agent"]
    hash: str
    created_at: AwareDatetime
    created_by: str
    attended: bool = True
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "valid"

    def identity(self) -> Identity:
        return Identity(name=self.name, kind=self.kind, role=self.role, token=self.id, attended=self.attended)


def written(token_id: str, secret: str) -> str:
    """The text that whoever holds the token shows."""
    return f"rings_{token_id}_{secret}"


def read(text: str) -> tuple[str, str] | None:
    """Id and secret of a token's text; None for what cannot be one."""
    match = _TEXT.fullmatch(text)
    return (match["id"], match["secret"]) if match else None


def hashed(secret: str) -> str:
    """What is kept of the secret.

    One round of SHA-256: slow hashes are for passwords that can be guessed, and nobody guesses 256 random bits. Every
    request pays for this one.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
