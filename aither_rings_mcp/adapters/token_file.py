"""`tokens.json`: the bearer tokens of this installation, replaced whole."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.tokens import Token, hashed, read
from aither_rings_mcp.domain.value import Value

#: Compared with where no token has the id, so that the answer takes as long.
_NOBODY = hashed("")
#: Tells one version of the file from another; None: there is no file.
_Version = tuple[int, int, int] | None


class _Shelf(Value):
    """The whole file."""

    version: int = 1
    tokens: tuple[Token, ...] = ()


class TokenFile:
    """The tokens, as they are in the file at each call: it is read again whenever it changed."""

    def __init__(self, state_dir: Path, disk: durable.Disk = durable.DISK) -> None:
        self._path = state_dir / "tokens.json"
        self._lock = state_dir / "tokens.lock"
        self._disk = disk
        self._read: tuple[_Version, tuple[Token, ...]] = (None, ())

    def all(self) -> tuple[Token, ...]:
        """Every token ever made, oldest first; `state_unreadable` when the file cannot be understood."""
        version = self._version()
        # Read after its version was taken: what changes in between is read again at the next call.
        if version != self._read[0]:
            self._read = (version, self._load())
        return self._read[1]

    def match(self, text: str) -> Token | None:
        """The token of this text, whether it still counts or not."""
        token_id, secret = read(text) or ("", "")
        found = next((token for token in self.all() if token.id == token_id), None)
        same = hmac.compare_digest(hashed(secret), found.hash if found else _NOBODY)
        return found if same else None

    def add(self, token: Token) -> None:
        """Keeps a new token. Of those that still count, no two have one name: the history knows them by it."""
        durable.folder(self._path.parent, self._disk)
        with durable.locked(self._lock):
            tokens = self._load()
            if any(old.id == token.id for old in tokens):
                raise InvalidArguments(f"there is a token {token.id} already", "Repeat: the next id is another one.")
            if any(old.name == token.name and old.state(token.created_at) == "valid" for old in tokens):
                raise InvalidArguments(
                    f"a token named {token.name!r} is in use",
                    "Take another name, or revoke that one first: `ring-ctl token list` shows its id.",
                )
            self._save((*tokens, token))

    def revoke(self, token_id: str, at: datetime) -> Token:
        """Ends a token for good. One that was revoked before stays as it was."""
        durable.folder(self._path.parent, self._disk)
        with durable.locked(self._lock):
            tokens = self._load()
            found = next((token for token in tokens if token.id == token_id), None)
            if found is None:
                raise InvalidArguments(
                    f"there is no token with the id {token_id[:60]!r}", "`ring-ctl token list` shows every token's id."
                )
            if found.revoked_at is None:
                found = found.model_copy(update={"revoked_at": at})
                self._save(tuple(found if token.id == token_id else token for token in tokens))
        return found

    def _version(self) -> _Version:
        try:
            seen = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error.strerror or "cannot be looked at") from error
        return seen.st_ino, seen.st_mtime_ns, seen.st_size

    def _load(self) -> tuple[Token, ...]:
        shelf = durable.read_value(self._path, _Shelf, self._next_step())
        return shelf.tokens if shelf else ()

    def _save(self, tokens: Sequence[Token]) -> None:
        shelf = _Shelf(tokens=tuple(tokens))
        data = shelf.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"
        durable.replace(self._path, data, self._disk)

    def _unreadable(self, why: str) -> StateUnreadable:
        return StateUnreadable(f"{self._path} cannot be read: {why}", self._next_step())

    def _next_step(self) -> str:
        return (
            f"Nobody is let in meanwhile. Restore {self._path} from a backup, or remove it and make every token anew "
            "with `ring-ctl token create`."
        )
