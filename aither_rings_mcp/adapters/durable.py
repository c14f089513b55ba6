"""Files that survive a power cut: whole or not at all, private to their owner, with full disks explained."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from aither_rings_mcp.domain.errors import EngineFailure, StateUnreadable
from aither_rings_mcp.domain.model import Value

V = TypeVar("V", bound=Value)


class Disk:
    """The steps by which bytes reach a disk, one effect each; a test's disk loses power between any two."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def open_to_read(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY)

    def open_to_append(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Raises FileExistsError when `target` is there: of two that try, one wins."""
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


DISK = Disk()
_GONE = ".gone"


def replace(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Puts `data` in the place of `path`: cut off at any instant, the file is the old or the new one, whole.

    Raises `EngineFailure` when the disk refuses; the old file is then still there.
    """
    with explained(path), _written_aside(path, data, disk) as aside:
        disk.rename(aside, path)
        disk.sync_folder(path.parent)


def create(path: Path, data: bytes, disk: Disk = DISK) -> bool:
    """Makes `path` with all of `data`, once and for all; False when it is there already, also in a race."""
    with explained(path), _written_aside(path, data, disk) as aside:
        try:
            disk.link(aside, path)
        except FileExistsError:
            return False
        disk.sync_folder(path.parent)
    return True


@contextmanager
def _written_aside(path: Path, data: bytes, disk: Disk) -> Generator[Path]:
    # In the same folder: a rename is only atomic inside one file system.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        fd = disk.create(aside)
        try:
            write_all(fd, data, disk)
            disk.sync(fd)
        finally:
            os.close(fd)
        yield aside
    except OSError:
        _discard(aside, disk)
        raise
    _discard(aside, disk)


def _discard(aside: Path, disk: Disk) -> None:
    if aside.exists():
        with suppress(OSError):
            disk.remove(aside)


def write_all(fd: int, data: bytes, disk: Disk = DISK) -> None:
    """Writes all of `data`; a write may stop short, and on a full disk it does so before it says why."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(fd, bytes(rest)) :]


def folder(path: Path, disk: Disk = DISK) -> Path:
    """`path` as a folder, made for its owner alone (0700) with its parents where it was missing."""
    with explained(path):
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            disk.sync_folder(one.parent)
    return path


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Holds `path` as a lock between processes, waiting for it. Not reentrant: nesting it waits forever."""
    with explained(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def json_bytes(value: Value) -> bytes:
    """The value as indented JSON that `read_value` gives back unchanged."""
    return value.model_dump_json(indent=2, by_alias=True).encode() + b"\n"


def remove_folder(path: Path, disk: Disk = DISK) -> None:
    """Removes a folder and all in it: cut off at any instant, it is there whole or not there at all.

    What a cut leaves is a folder of another name; the next call for a folder beside it takes that along.
    """
    with explained(path):
        for left in path.parent.glob(f".*{_GONE}"):
            shutil.rmtree(left)
        aside = path.with_name(f".{path.name}{_GONE}")
        disk.rename(path, aside)
        disk.sync_folder(path.parent)
        shutil.rmtree(aside)


def read_value(path: Path, kind: type[V], next_step: str) -> V | None:
    """The value stored at `path`; None when nothing is, `state_unreadable` when it is something else."""
    raw = read_bytes(path)
    if raw is None:
        return None
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise StateUnreadable(f"{path} cannot be understood: {first_fault(error)}", next_step) from error


def read_bytes(path: Path) -> bytes | None:
    """What is in the file; None when there is none, `state_unreadable` when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnreadable(
            f"{path} cannot be read: {error.strerror}", f"Make {path} readable for this user, then repeat."
        ) from error


def first_fault(error: ValidationError) -> str:
    """Where and what, never the value itself: it may be a secret."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else fault["msg"]


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turns what the operating system refuses about `path` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise EngineFailure(
                f"disk full: {path} could not be written",
                f"Free space on the disk that holds {path.parent}, then repeat.",
            ) from error
        raise EngineFailure(
            f"{path} could not be written: {error.strerror or error}",
            f"Make {path.parent} a writable folder for this user, then repeat.",
        ) from error
