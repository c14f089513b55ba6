"""`claims/`: the right to change a ring, as a kernel lock that dies with the processes that hold it."""

from __future__ import annotations

import fcntl
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import InternalError, RingBusy, StateUnreadable
from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.ports import Clock


class ClaimRecord(Value):
    """Who took the claim last. `pid` is the door that took it, which may have handed it to a worker since."""

    epoch: int
    operation: str
    since: AwareDatetime
    pid: int


@dataclass
class FileClaim:
    """A held claim. A worker started with `pass_fds=(fd,)` shares it."""

    epoch: int
    fd: int

    def release(self) -> None:
        """Lets go of this process's copy; the ring is free when the last copy is gone. Again does nothing."""
        if self.fd >= 0:
            # Closed, never unlocked: LOCK_UN would take the lock from the worker that inherited it.
            os.close(self.fd)
            self.fd = -1


class ClaimFiles:
    """One lock per ring. Epochs only grow, so whoever acts on an older one can be told apart."""

    def __init__(self, state_dir: Path, clock: Clock, disk: durable.Disk = durable.DISK) -> None:
        self._state_dir = state_dir
        self._root = state_dir / "claims"
        self._clock = clock
        self._disk = disk

    def take(self, ring: str, operation_id: str) -> FileClaim | None:
        """The claim, with its epoch already on disk; None when somebody holds it.

        Raises `ring_busy` when the last claim's record cannot be read: that counts as taken.
        """
        durable.folder(self._root, self._disk)
        with self._guard(ring):
            with durable.explained(self._lock(ring)):
                fd = os.open(self._lock(ring), os.O_RDWR | os.O_CREAT, 0o600)
            claim = FileClaim(epoch=0, fd=fd)
            try:
                if not _locks(fd, fcntl.LOCK_EX):
                    claim.release()
                    return None
                last = self._record(ring)
                claim.epoch = last.epoch + 1 if last else 1
                record = ClaimRecord(
                    epoch=claim.epoch, operation=operation_id, since=self._clock.now(), pid=os.getpid()
                )
                durable.replace(self._root / f"{ring}.json", durable.json_bytes(record), self._disk)
            except BaseException:
                claim.release()
                raise
            return claim

    def adopt(self, ring: str, fd: int) -> FileClaim:
        """The claim that this process inherited as `fd`; kept from its own children from here on."""
        try:
            same = os.path.samestat(os.fstat(fd), self._lock(ring).stat())
        except OSError:
            same = False
        if not same:
            raise InternalError(
                f"file descriptor {fd} is not the lock of {ring}", "Run `ring-ctl recover`: it claims anew."
            )
        # On the inherited description this changes nothing; on any other it tells that the claim is not ours.
        if not _locks(fd, fcntl.LOCK_EX):
            raise RingBusy(f"{ring} is claimed by somebody else", f"`ring-ctl status {ring}` says by whom.", ring=ring)
        os.set_inheritable(fd, False)
        record = self._record(ring)
        if record is None:
            raise self._busy(ring, f"the claim on {ring} has no record")
        return FileClaim(epoch=record.epoch, fd=fd)

    def holder(self, ring: str) -> str | None:
        """The operation that holds the ring now, if any. A record alone claims nothing: the lock does."""
        if not self._lock(ring).exists():
            return None
        with self._guard(ring):
            with durable.explained(self._lock(ring)):
                fd = os.open(self._lock(ring), os.O_RDONLY)
            try:
                free = _locks(fd, fcntl.LOCK_SH)
            finally:
                os.close(fd)
            if free:
                return None
            record = self._record(ring)
        if record is None:
            raise self._busy(ring, f"the claim on {ring} has no record")
        return record.operation

    def epoch(self, ring: str) -> int:
        """The newest epoch that was given out; 0 before the first."""
        record = self._record(ring)
        return record.epoch if record else 0

    def clear_unreadable(self, ring: str) -> bool:
        """Moves a claim's unreadable record aside, keeping its epoch's place; False when there is nothing to clear.

        Raises `ring_busy` while a process holds the lock.
        """
        path = self._root / f"{ring}.json"
        try:
            if self._record(ring) is not None or not path.exists():
                return False
        except RingBusy:
            pass
        with self._guard(ring):
            fd = os.open(self._lock(ring), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not _locks(fd, fcntl.LOCK_EX):
                    raise self._busy(ring, f"somebody holds the claim on {ring} right now")
                with durable.explained(path):
                    # Any time later than every epoch so far: whoever acted on an older one stays told apart.
                    epoch = int(self._clock.now().timestamp())
                    path.with_suffix(".unreadable").write_bytes(path.read_bytes())
                    record = ClaimRecord(epoch=epoch, operation="", since=self._clock.now(), pid=os.getpid())
                    durable.replace(path, durable.json_bytes(record), self._disk)
            finally:
                os.close(fd)
        return True

    def state_lock(self) -> AbstractContextManager[None]:
        """Held for one read-modify-write of the state file, never longer. Not reentrant."""
        durable.folder(self._state_dir, self._disk)
        return durable.locked(self._state_dir / "rings-state.lock")

    def _guard(self, ring: str) -> AbstractContextManager[None]:
        # Asking who holds a ring locks it for an instant; a claim in that instant would see it busy.
        return durable.locked(self._root / f".{ring}.guard")

    def _lock(self, ring: str) -> Path:
        return self._root / f"{ring}.lock"

    def _record(self, ring: str) -> ClaimRecord | None:
        try:
            return durable.read_value(self._root / f"{ring}.json", ClaimRecord, "")
        except StateUnreadable as error:
            raise self._busy(ring, error.message) from error

    def _busy(self, ring: str, why: str) -> RingBusy:
        path = self._root / f"{ring}.json"
        return RingBusy(
            f"{why}; a claim that cannot be read counts as taken",
            f"Make sure that no rollout of {ring} runs (`ring-ctl status {ring}`), then `ring-ctl unlock {ring} "
            f"--reason TEXT` moves {path} aside.",
            ring=ring,
            file=str(path),
        )


def _locks(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
