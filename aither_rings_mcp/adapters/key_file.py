"""`seal.key`: the secret with which this installation seals what it will be shown again."""

from __future__ import annotations

import secrets
from pathlib import Path

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import StateUnreadable

_BYTES = 32


class KeyFile:
    """A key for its owner alone (0600), made when it is first wanted; of several processes that make it, one wins."""

    def __init__(self, state_dir: Path, disk: durable.Disk = durable.DISK) -> None:
        self._path = state_dir / "seal.key"
        self._disk = disk

    def key(self) -> bytes:
        found = durable.read_bytes(self._path)
        if found is None:
            durable.folder(self._path.parent, self._disk)
            durable.create(self._path, secrets.token_bytes(_BYTES), self._disk)
            found = durable.read_bytes(self._path)
        if found is None or len(found) != _BYTES:
            raise StateUnreadable(
                f"{self._path} is not a key", f"Remove {self._path}; questions that are open then are asked again."
            )
        return found
