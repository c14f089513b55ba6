"""Disks with behaviour: one whose power goes at a chosen step, one that is full, one that counts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from aither_rings_mcp.adapters.durable import Disk


class PowerCut(BaseException):
    """Not an Exception: nobody tidies up after death."""


class CuttingDisk(Disk):
    """Loses power before step `cut_at` (1 is the first); a write that is cut has reached the disk by half.

    What was never synced then suffers: bytes of a file survive by half only, and changes of names survive or
    not, as `names_survive` says. Both happen on real file systems.
    """

    def __init__(self, cut_at: int = 10**9, names_survive: bool = True) -> None:
        self._cut_at = cut_at
        self._names_survive = names_survive
        self._step = 0
        #: inode -> (a descriptor of it, bytes known to be on disk)
        self._unsynced: dict[int, tuple[int, int]] = {}
        self._undo: list[tuple[Path, Callable[[], None]]] = []

    def create(self, path: Path) -> int:
        self._tick()
        fd = super().create(path)
        self._undo.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return fd

    def open_to_append(self, path: Path) -> int:
        self._tick()
        fresh = not path.exists()
        fd = super().open_to_append(path)
        if fresh:
            self._undo.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return fd

    def write(self, fd: int, data: bytes) -> int:
        inode, size = os.fstat(fd).st_ino, os.fstat(fd).st_size
        if inode not in self._unsynced:
            self._unsynced[inode] = (os.dup(fd), size)
        self._tick(dying=lambda: super(CuttingDisk, self).write(fd, data[: len(data) // 2]))
        return super().write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        self._tick()
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._tick()
        super().sync(fd)
        kept = self._unsynced.pop(os.fstat(fd).st_ino, None)
        if kept:
            os.close(kept[0])

    def rename(self, source: Path, target: Path) -> None:
        self._tick()
        before = target.read_bytes() if target.exists() else None
        super().rename(source, target)

        def undo() -> None:
            target.rename(source)
            if before is not None:
                target.write_bytes(before)

        self._undo.append((target.parent, undo))

    def link(self, source: Path, target: Path) -> None:
        self._tick()
        super().link(source, target)
        self._undo.append((target.parent, target.unlink))

    def remove(self, path: Path) -> None:
        self._tick()
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self._tick()
        super().sync_folder(folder)
        self._undo = [(where, undo) for where, undo in self._undo if where != folder]

    def lose_power(self) -> None:
        """The power goes now, whatever was being done."""
        for fd, safe in self._unsynced.values():
            size = os.fstat(fd).st_size
            os.truncate(fd, min(size, safe + (size - safe) // 2))
            os.close(fd)
        self._unsynced = {}
        if not self._names_survive:
            for _, undo in reversed(self._undo):
                undo()
        self._undo = []

    def _tick(self, dying: Callable[[], object] | None = None) -> None:
        self._step += 1
        if self._step == self._cut_at:
            if dying:
                dying()
            self.lose_power()
            raise PowerCut


class RefusingDisk(Disk):
    """Refuses step `refuse_at` with an error of the operating system; a refused write leaves half behind."""

    def __init__(self, refuse_at: int, code: int = errno.ENOSPC) -> None:
        self._refuse_at = refuse_at
        self._code = code
        self._step = 0
        self.refused: str | None = None

    def create(self, path: Path) -> int:
        self._tick("create")
        return super().create(path)

    def open_to_append(self, path: Path) -> int:
        self._tick("open_to_append")
        return super().open_to_append(path)

    def write(self, fd: int, data: bytes) -> int:
        self._tick("write", lambda: super(RefusingDisk, self).write(fd, data[: len(data) // 2]))
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._tick("sync")
        super().sync(fd)

    def rename(self, source: Path, target: Path) -> None:
        self._tick("rename")
        super().rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._tick("link")
        super().link(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._tick("sync_folder")
        super().sync_folder(folder)

    def _tick(self, what: str, first: Callable[[], object] | None = None) -> None:
        self._step += 1
        if self._step == self._refuse_at:
            self.refused = what
            if first:
                first()
            raise OSError(self._code, os.strerror(self._code))


class CountingDisk(Disk):
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        self.bytes_read = 0

    def read(self, fd: int, size: int, offset: int) -> bytes:
        data = super().read(fd, size, offset)
        self.bytes_read += len(data)
        return data


def fill(folder: Path) -> None:
    """Takes every free byte of a file system."""
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            pass
