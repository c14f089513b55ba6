"""`rings-state.json`: what is recorded of every ring, replaced whole, with the one before kept beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import StateUnreadable
from aither_rings_mcp.domain.model import State

VERSION = 1
#: Takes the JSON of one version and gives that of the next.
Migration = Callable[[dict[str, Any]], dict[str, Any]]
#: By the version they start from; a file without `version` is version 0.
MIGRATIONS: Mapping[int, Migration] = {}


class StateFile:
    """Loads and saves the state. Read-modify-write belongs under `Claims.state_lock`."""

    def __init__(
        self,
        state_dir: Path,
        migrations: Mapping[int, Migration] = MIGRATIONS,
        disk: durable.Disk = durable.DISK,
    ) -> None:
        self._path = state_dir / "rings-state.json"
        self._backup = state_dir / "rings-state.json.bak"
        self._migrations = migrations
        self._disk = disk

    def load(self) -> State:
        """The recorded state, migrated in memory when its version is older; empty when there is no file."""
        raw = durable.read_bytes(self._path)
        return State() if raw is None else self._understood(raw)

    def save(self, state: State) -> None:
        """Replaces the state; the one before becomes `.bak`. An unreadable file is refused and left alone."""
        data = _dumped(state)
        durable.folder(self._path.parent, self._disk)
        before = durable.read_bytes(self._path)
        if before == data:
            return
        if before is not None:
            self._understood(before)
            durable.replace(self._backup, before, self._disk)
        durable.replace(self._path, data, self._disk)

    def _understood(self, raw: bytes) -> State:
        try:
            fields = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(f"is not JSON ({error})") from error
        if not isinstance(fields, dict):
            raise self._unreadable("is not a JSON object")
        try:
            return State.model_validate(self._migrated(cast("dict[str, Any]", fields)))
        except ValidationError as error:
            raise self._unreadable(f"has an unknown shape ({durable.first_fault(error)})") from error

    def _migrated(self, fields: dict[str, Any]) -> dict[str, Any]:
        version = fields.get("version", 0)
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise self._unreadable("has a version that is not a number")
        if version > VERSION:
            raise StateUnreadable(
                f"{self._path} is of version {version}, and this program knows versions up to {VERSION}",
                "Upgrade the program to the one that wrote the file.",
                version=version,
                known=VERSION,
            )
        for step in range(version, VERSION):
            if step not in self._migrations:
                raise self._unreadable("has no version that this program can migrate from")
            fields = {**self._migrations[step](fields), "version": step + 1}
        return fields

    def _unreadable(self, what: str) -> StateUnreadable:
        return StateUnreadable(
            f"{self._path} {what}",
            f"Look at {self._backup}, the version before it; if it is right, copy it over {self._path}, "
            "then compare `ring-ctl status` with what runs.",
            file=str(self._path),
        )


def _dumped(state: State) -> bytes:
    fields = {**state.model_dump(mode="json", by_alias=True, exclude_none=True), "version": VERSION}
    return (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode()
