"""The log of each operation: one redacted, time-stamped line at a time, read back by byte cursor."""

from __future__ import annotations

import os
from pathlib import Path

from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.ports import Clock

_LINE_MOST = 2000
_READ_MOST = 64 * 1024


class OperationLogFiles:
    """`operations/<id>/log.txt`."""

    def __init__(self, operations: Path, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock

    def append(self, operation_id: str, line: str) -> None:
        text = redact(line.rstrip()[:_LINE_MOST])
        stamped = f"{self._clock.now():%H:%M:%S} {text}\n".encode(errors="replace")
        # one write call on O_APPEND: lines of two writers never mix
        fd = os.open(self._path(operation_id), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, stamped)
        finally:
            os.close(fd)

    def read(self, operation_id: str, cursor: int, limit: int) -> tuple[tuple[str, ...], int]:
        """At most `limit` whole lines from byte `cursor`, and the cursor to go on from; behind the end is the end."""
        path = self._path(operation_id)
        if not path.exists():
            return (), 0
        with path.open("rb") as file:
            # whoever asks chooses the number, and none beyond the end is a place in the file
            begin = min(max(0, cursor), os.fstat(file.fileno()).st_size)
            file.seek(begin)
            raw = file.read(_READ_MOST)
        whole = raw[: raw.rfind(b"\n") + 1].splitlines(keepends=True)[:limit]
        lines = tuple(line.decode(errors="replace").rstrip("\n") for line in whole)
        return lines, begin + sum(len(line) for line in whole)

    def _path(self, operation_id: str) -> Path:
        return self._operations / operation_id / "log.txt"
