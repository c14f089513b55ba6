"""A worker kept ready by a door that lives long: everything imported, waiting for its one operation.

The hand-over is one message: the operation's id, with the ring's lock and the operation's error log as descriptors.
The spare answers and waits for the end of the connection, which is its word to begin: the door that closes it, or that
died, starts no other worker. A door that got no answer in time kills the spare first, and only then lets go.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aither_rings_mcp.adapters.workers import WorkerProcesses
from aither_rings_mcp.ports import Claim

#: How long a spare may take to say that it has its operation: about what a fresh worker needs to be there.
_LIMIT_S = 0.3
#: How long a spare may take to become ready.
_START_LIMIT_S = 60.0
#: After one was used, the next waits this long: the operation is to have the machine for its own start.
_PAUSE_S = 5.0
_READY, _TAKEN = b"+", b"!"
_LONGEST_ID = 256
#: As long as an operation's id, and in its place in a spare's command line until it has one.
_NONE_YET = "?" * 25


@dataclass(frozen=True)
class _Spare:
    process: subprocess.Popen[bytes]
    line: socket.socket
    #: rings.yaml as it was when the spare read it.
    config: bytes

    def takes(self, operation_id: str, claim: Claim, log_path: Path) -> bool:
        """Hands over; False when it is not certain that the spare has it. It begins when `line` is closed."""
        try:
            with log_path.open("ab") as log:
                socket.send_fds(self.line, [operation_id.encode()], [claim.fd, log.fileno()])
            self.line.settimeout(_LIMIT_S)
            return self.line.recv(1) == _TAKEN
        except OSError:
            return False


class SpareWorker:
    """`ports.Workers` with one process kept ready. Whatever is wrong with it, a fresh worker is started instead."""

    def __init__(self, config_path: Path, operations: Path) -> None:
        self._fresh = WorkerProcesses(config_path, operations)
        self._config_path = config_path
        self._operations = operations
        self._lock = threading.Lock()
        self._making = False
        self._spare: _Spare | None = None

    def expect(self) -> None:
        """Makes a spare where there is none, in the background."""
        with self._lock:
            if self._making or (self._spare and self._spare.process.poll() is None):
                return
            self._making = True
        threading.Thread(target=self._make, daemon=True, name="make-spare").start()

    @property
    def ready(self) -> int | None:
        """The process that waits for an operation, if one does."""
        with self._lock:
            return self._spare.process.pid if self._spare else None

    def start(self, operation_id: str, claim: Claim) -> int:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is None:
            return self._fresh.start(operation_id, claim)
        taken = spare.config == self._config() and spare.takes(
            operation_id, claim, self._operations / operation_id / "worker.err"
        )
        if not taken:
            spare.process.kill()  # before its line is closed: it must not begin what another was given
        spare.line.close()
        threading.Thread(target=self._attend, args=(spare.process,), daemon=True, name=f"reap-{operation_id}").start()
        return spare.process.pid if taken else self._fresh.start(operation_id, claim)

    def _make(self) -> None:
        try:
            spare = self._made()
        except OSError:  # no room for a process: whoever wants a worker is told by a fresh one
            spare = None
        with self._lock:
            self._making, self._spare = False, spare

    def _made(self) -> _Spare | None:
        config = self._config()
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [
                sys.executable, "-m", "aither_rings_mcp.entrypoints.worker",
                "--config", str(self._config_path), "--operation", _NONE_YET, "--spare-fd", str(theirs.fileno()),
            ]  # fmt: skip
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        ours.settimeout(_START_LIMIT_S)
        with suppress(OSError):
            if config is not None and ours.recv(1) == _READY:
                return _Spare(process, ours, config)
        ours.close()
        process.kill()
        process.wait()
        return None

    def _attend(self, process: subprocess.Popen[bytes]) -> None:
        """Sees to the next spare, and that an ended worker does not stay as a zombie."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PAUSE_S)
        self.expect()
        process.wait()

    def _config(self) -> bytes | None:
        try:
            return self._config_path.read_bytes()
        except OSError:
            return None


def ordered(line_fd: int, claim_fd: int) -> str | None:
    """The spare's side: waits for its operation and gives its id; None when the door went without one.

    From then on the ring's lock is `claim_fd`, and what is printed goes to the operation's error log.
    """
    with socket.socket(fileno=line_fd) as line:
        line.set_inheritable(False)
        line.send(_READY)
        said, received, _, _ = socket.recv_fds(line, _LONGEST_ID, 2, socket.MSG_CMSG_CLOEXEC)
        if not said:
            return None
        lock, log = received
        os.dup2(lock, claim_fd, inheritable=False)
        os.close(lock)
        for standard in (1, 2):
            os.dup2(log, standard)
        os.close(log)
        operation_id = said.decode()
        _show(operation_id)
        with suppress(OSError):  # the door may be gone: then, too, nobody else has the operation
            line.send(_TAKEN)
            line.recv(1)
    return operation_id


def _show(operation_id: str) -> None:
    """Puts the operation into this process's command line, as a fresh worker has it, for whoever looks for it."""
    with suppress(OSError, ValueError), Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        at = Path("/proc/self/cmdline").read_bytes().index(_NONE_YET.encode())
        first = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45])
        memory.seek(first + at)
        memory.write(operation_id.encode()[: len(_NONE_YET)])
