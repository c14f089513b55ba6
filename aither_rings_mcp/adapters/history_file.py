"""`history.jsonl`: one event a line, numbered, chained by hash, read from its end."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.model import Event, RecordedEvent
from aither_rings_mcp.ports import Clock

#: What the first event has for the hash of the one before.
ORIGIN = "0" * 64
_BLOCK = 8192
#: How far back a recovering worker's repetition is recognized.
_LOOK_BACK = 256
#: A page looks at no more lines than this; what it did not get to is behind its cursor.
_SCAN = 5000
_CURSOR = re.compile(r"([0-9]{1,18}):([0-9]{1,18})\Z")


class HistoryFile:
    """The append-only history. Appends are serialized across processes; reading takes no lock.

    A last line that is not whole is what a power cut left of an append that never returned: readers pass over
    it, and the next append moves it to `history.torn-<UTC>`.
    """

    def __init__(self, state_dir: Path, clock: Clock, disk: durable.Disk = durable.DISK) -> None:
        self._path = state_dir / "history.jsonl"
        self._lock = state_dir / "history.lock"
        self._clock = clock
        self._disk = disk

    def append(self, event: Event) -> RecordedEvent:
        """Adds the event and returns it as recorded, on disk, its free text redacted.

        The same event of the same operation and ring again is the one already there: a recovering worker
        repeats itself. An event without an operation is never a repetition.
        """
        event = event.redacted()  # before the hash: nothing that is chained can be taken out again
        durable.folder(self._path.parent, self._disk)
        with (
            durable.locked(self._lock),
            durable.explained(self._path),
            _closed_after(self._disk.open_to_append(self._path)) as fd,
        ):
            end, size = self._sound_end(fd)
            if end < size:
                self._put_torn_aside(fd, end, size)
            latest = [recorded for _, recorded in islice(self._backwards(fd, end), _LOOK_BACK)]
            recorded = next((old for old in latest if _repeats(event, old)), None)
            if recorded is None:
                recorded, line = chained(event, latest[0] if latest else None)
                self._write(fd, end, line)
            # Also for a repetition: whoever wrote it may have died before it was synced.
            self._disk.sync(fd)
            if recorded.seq == 1:
                self._disk.sync_folder(self._path.parent)
        return recorded

    def read(
        self, limit: int, before: str | None = None, where: Callable[[RecordedEvent], bool] | None = None
    ) -> tuple[tuple[RecordedEvent, ...], str | None]:
        """Up to `limit` events, newest first, and the cursor of the page after them; None when that is all.

        Costs what it returns, whatever the length of the file. With `where`, a page may come back short, even
        empty, with a cursor: it stops after 5,000 lines.
        """
        if not self._path.exists():
            if before is not None:
                raise _foreign(before)
            return (), None
        found: list[RecordedEvent] = []
        with _closed_after(self._disk.open_to_read(self._path)) as fd:
            end = self._sound_end(fd)[0]
            if before is not None:
                end = self._position(fd, before, end)
            for seen, (start, recorded) in enumerate(self._backwards(fd, end), start=1):
                if where is None or where(recorded):
                    found.append(recorded)
                if len(found) >= limit or seen == _SCAN:
                    return tuple(found), f"{recorded.seq - 1}:{start}" if start else None
        return tuple(found), None

    def verify(self) -> tuple[int, str | None, int | None, bool]:
        """(events that hold, hash of the last one, number of the first that does not, is the tail torn).

        Reads the whole file. What was cut off the end in whole lines leaves a chain that holds: compare the
        count and the hash with an earlier answer.
        """
        if not self._path.exists():
            return 0, None, None, False
        with durable.locked(self._lock), _closed_after(self._disk.open_to_read(self._path)) as fd:
            # Below its sound end the file never changes, so the rest needs no lock.
            end, size = self._sound_end(fd)
        events, head, at = 0, ORIGIN, 0
        with self._path.open("rb") as lines:
            while at < end:
                line = lines.readline()
                at += len(line)
                try:
                    recorded = parsed(line)
                except ValueError:
                    recorded = None
                if recorded is None or (recorded.seq, recorded.prev) != (events + 1, head):
                    return events, head if events else None, events + 1, end < size
                events, head = recorded.seq, recorded.hash
        return events, head if events else None, None, end < size

    def _sound_end(self, fd: int) -> tuple[int, int]:
        """Where the last whole line ends, and the size of the file."""
        size = os.fstat(fd).st_size
        for start, line in self._lines(fd, size):
            return (size if _whole(line) else start), size
        return 0, 0

    def _put_torn_aside(self, fd: int, end: int, size: int) -> None:
        torn = self._disk.read(fd, size - end, end)
        aside = self._path.with_name(f"history.torn-{self._clock.now():%Y%m%dT%H%M%S.%fZ}")
        durable.replace(aside, torn, self._disk)
        self._disk.truncate(fd, end)
        self._disk.sync(fd)

    def _write(self, fd: int, end: int, line: bytes) -> None:
        try:
            durable.write_all(fd, line, self._disk)
        except OSError:
            # Part of it may be there: nothing changed has to mean nothing changed.
            with suppress(OSError):
                self._disk.truncate(fd, end)
            raise

    def _position(self, fd: int, cursor: str, end: int) -> int:
        """The byte a cursor points behind, if the event it names does end there."""
        match = _CURSOR.match(cursor)
        offset = int(match[2]) if match else 0
        if not match or not 0 < offset <= end:
            raise _foreign(cursor)
        _, line = next(self._lines(fd, offset))
        try:
            if parsed(line).seq == int(match[1]):
                return offset
        except ValueError:
            pass
        raise _foreign(cursor)

    def _backwards(self, fd: int, end: int) -> Iterator[tuple[int, RecordedEvent]]:
        """Each event before byte `end` with the byte it starts at, last first."""
        newer: RecordedEvent | None = None
        for start, line in self._lines(fd, end):
            try:
                recorded = parsed(line)
            except ValueError as error:
                raise self._broken(newer, str(error)) from error
            if newer and (recorded.seq + 1, recorded.hash) != (newer.seq, newer.prev):
                raise self._broken(newer, "it does not lead to the event after it")
            yield start, recorded
            newer = recorded

    def _broken(self, newer: RecordedEvent | None, why: str) -> StateUnreadable:
        line = f"line {newer.seq - 1}" if newer else "the last line"
        return StateUnreadable(
            f"{line} of {self._path} is not as it was written: {why}",
            "Run `ring-ctl history verify` to see what still holds. To go on, restore the file, "
            "or move it aside and keep it as evidence: a new one starts by itself.",
            file=str(self._path),
        )

    def _lines(self, fd: int, end: int) -> Iterator[tuple[int, bytes]]:
        """The lines before byte `end`, last first, each with its newline and the byte it starts at."""
        held, start = b"", end
        while held or start:
            cut = held.rfind(b"\n", 0, -1) + 1
            if cut or not start:
                yield start + cut, held[cut:]
                held = held[:cut]
            else:
                size = min(_BLOCK, start)
                start -= size
                held = self._disk.read(fd, size, start) + held


def chained(event: Event, last: RecordedEvent | None) -> tuple[RecordedEvent, bytes]:
    """The event as it follows `last`, and its line in the file."""
    fields = event.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    fields |= {"seq": last.seq + 1 if last else 1, "prev": last.hash if last else ORIGIN}
    fields["hash"] = _hash(fields)
    return RecordedEvent.model_validate(fields), _canonical(fields) + b"\n"


def parsed(line: bytes) -> RecordedEvent:
    """The event of one line. ValueError unless every byte is as `chained` wrote it."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - one error for all that a line can be
    fields = cast("dict[str, Any]", fields)
    if _hash({key: value for key, value in fields.items() if key != "hash"}) != fields.get("hash"):
        raise ValueError("its hash does not fit its content")
    if _canonical(fields) + b"\n" != line:
        raise ValueError("its bytes are not the ones that were hashed")
    return RecordedEvent.model_validate(fields)


@contextmanager
def _closed_after(fd: int) -> Generator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields)).hexdigest()


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _repeats(event: Event, old: RecordedEvent) -> bool:
    same = (event.operation, event.event, event.ring) == (old.operation, old.event, old.ring)
    return same and bool(event.operation)


def _whole(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _foreign(cursor: str) -> InvalidArguments:
    return InvalidArguments(
        f"{cursor[:60]!r} is not a cursor of this history",
        "Leave the cursor out to begin with the newest event, then pass `next_cursor` as it was given.",
    )
