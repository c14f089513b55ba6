"""`operations/<id>/journal.json`: how far each rollout came, on disk before it goes further."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import InternalError, OperationNotFound
from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.rollout import Operation

#: As `durable.json_bytes` writes it.
_OPEN = b'"ended_at": null'
_ID = re.compile(r"op-[0-9a-z-]{6,40}\Z")


class CancelNote(Value):
    """Who wants the operation to stop, and why."""

    by: str
    reason: str


class JournalFiles:
    """One folder per operation. A folder without a journal never began, and is passed over."""

    def __init__(self, state_dir: Path, disk: durable.Disk = durable.DISK) -> None:
        self._root = state_dir / "operations"
        self._disk = disk
        #: What has ended never changes again, so it is read once.
        self._ended: dict[str, Operation] = {}

    def create(self, operation: Operation) -> None:
        """Begins a journal; an id that was used before is refused, also in a race."""
        durable.folder(self._root, self._disk)
        folder = self.folder(operation.id)
        with durable.explained(folder):
            try:
                # The folder itself decides the race: of two that make it, one fails.
                folder.mkdir(mode=0o700)
            except FileExistsError:
                raise InternalError(
                    f"operation {operation.id} exists already", "Ask again: the next one gets its own id."
                ) from None
            self._disk.sync_folder(self._root)
        self._write(operation)

    def save(self, operation: Operation) -> None:
        """Replaces the journal; when this returns, it is on disk."""
        if not self.folder(operation.id).is_dir():
            raise _not_found(operation.id)
        self._write(operation)

    def load(self, operation_id: str) -> Operation:
        found = self._read(operation_id)
        if found is None:
            raise _not_found(operation_id)
        return found

    def recent(self, limit: int) -> tuple[Operation, ...]:
        """The newest `limit` operations, newest first: ids begin with the time."""
        newest: list[Operation] = []
        for name in self._names():
            if len(newest) >= limit:
                break
            if operation := self._ended.get(name) or self._read(name):
                newest.append(operation)
        self._ended = {operation.id: operation for operation in newest if operation.final}
        return tuple(newest)

    def unfinished(self) -> tuple[Operation, ...]:
        """Every operation that has not ended, newest first, however long ago it began."""
        found: list[Operation] = []
        for name in self._names():
            # Nearly all have ended, and to see that takes no parsing.
            raw = None if name in self._ended else durable.read_bytes(self._root / name / "journal.json")
            if raw is not None and _OPEN in raw and (operation := self._read(name)) and not operation.final:
                found.append(operation)
        return tuple(found)

    def ask_to_cancel(self, operation_id: str, by: str, reason: str) -> None:
        """Leaves word for the worker that the operation is to stop; the first who asks is named."""
        if not self.folder(operation_id).is_dir():
            raise _not_found(operation_id)
        note = durable.json_bytes(CancelNote(by=by, reason=reason))
        durable.create(self.folder(operation_id) / "cancel.json", note, self._disk)

    def cancel_asked(self, operation_id: str) -> str | None:
        """`who: why`, if somebody asked for it."""
        path = self.folder(operation_id) / "cancel.json"
        note = durable.read_value(path, CancelNote, f"Remove {path} and ask again.")
        return f"{note.by}: {note.reason}" if note else None

    def folder(self, operation_id: str) -> Path:
        """Where the operation keeps its journal and logs. An id of another shape is `operation_not_found`."""
        if not _ID.match(operation_id):
            raise _not_found(operation_id)
        return self._root / operation_id

    def prune(self, keep: int) -> None:
        """Removes what ended, journals and logs, but for the newest `keep` of them."""
        ended = [op.id for op in self.recent(sys.maxsize) if op.final]
        for operation_id in ended[keep:]:
            durable.remove_folder(self.folder(operation_id), self._disk)

    def _names(self) -> list[str]:
        """Every operation's folder, newest first; none before the first operation."""
        if not self._root.is_dir():
            return []
        return sorted((p.name for p in self._root.iterdir() if _ID.match(p.name)), reverse=True)

    def _read(self, operation_id: str) -> Operation | None:
        path = self.folder(operation_id) / "journal.json"
        return durable.read_value(
            path, Operation, f"Look at what runs (`ring-ctl status`), then move {path.parent} aside."
        )

    def _write(self, operation: Operation) -> None:
        durable.replace(self.folder(operation.id) / "journal.json", durable.json_bytes(operation), self._disk)


def _not_found(operation_id: str) -> OperationNotFound:
    return OperationNotFound(
        f"there is no operation {operation_id[:60]!r}",
        "`ring-ctl history` shows the operations of the past, `ring-ctl status` those that are running "
        "(tools: ring_history, ring_status).",
    )
