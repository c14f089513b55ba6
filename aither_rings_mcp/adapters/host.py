"""The host: child processes with a limit, and the clock."""

from __future__ import annotations

import codecs
import os
import shlex
import signal
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from time import monotonic
from typing import TextIO

import anyio
import anyio.abc

from aither_rings_mcp.domain.redact import MASK, redact
from aither_rings_mcp.ports import Completed, OnLine

#: What a child gets of our own environment. Everything else is given to it by name, so that no
#: token of the server reaches a test run.
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION",
)  # fmt: skip
_NOT_FOUND, _CANNOT_RUN = 127, 126
_CHUNK = 65536
#: How long the pipe may stay open after the child ended: a grandchild may have inherited it.
_DRAIN = 0.2
#: How long the killed may take to be gone.
_DYING = 1.0
#: A "line" longer than this is passed on in pieces rather than kept.
_LONGEST_LINE = 65536
#: Lines of a private key after its first; more than that and the end was not printed.
_LONGEST_KEY = 120


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class HostCommands:
    """Runs child processes, each in a session of its own, and leaves none of its group behind.

    At the limit, on cancellation, and also when the child itself ended, what is left of its group gets
    SIGTERM and after `grace` seconds SIGKILL. Only a process that made a session of its own escapes.
    `keep` is the most bytes of output that stay in memory; the log gets all of it. `held` are open files that the
    children hold on to as well: a lock among them is not free before the last child is gone.
    """

    def __init__(self, keep: int = 64 * 1024, grace: float = 3.0, held: Sequence[int] = ()) -> None:
        self._keep = keep
        self._grace = grace
        self._held = tuple(held)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        limit: float,
        log: Path | None = None,
        on_line: OnLine | None = None,
    ) -> Completed:
        with _appending(log) as file:
            sink = _Sink(self._keep, file, on_line)
            sink.note(f"$ {shlex.join(argv)}")
            # A pipe of our own: asyncio's `wait` also waits for every grandchild that holds one of its pipes.
            ours, theirs = os.pipe()
            os.set_blocking(ours, False)
            try:
                try:
                    process = await anyio.open_process(
                        list(argv), stdin=DEVNULL, stdout=theirs, stderr=STDOUT,
                        cwd=cwd, env=_environment(env), start_new_session=True, pass_fds=self._held,
                    )  # fmt: skip
                except OSError as error:
                    return sink.refused(argv[0], cwd, error)
                finally:
                    os.close(theirs)
                return await self._attend(process, ours, limit, sink)
            finally:
                os.close(ours)

    async def _attend(self, process: anyio.abc.Process, pipe: int, limit: float, sink: _Sink) -> Completed:
        drained = anyio.Event()

        async def pump() -> None:
            while chunk := await _read(pipe):
                sink.feed(chunk)
            drained.set()

        try:
            with anyio.move_on_after(limit) as within:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(pump)
                    await process.wait()
                    with anyio.move_on_after(_DRAIN):
                        await drained.wait()
                    tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            # Only one task can fail here, and who called knows its error by type.
            raise group.exceptions[0] from group
        finally:
            with anyio.CancelScope(shield=True):
                await self._end_group(process.pid)
                await process.wait()
        sink.finish(pipe)
        return Completed(await process.wait(), sink.tail(), timed_out=within.cancelled_caught)

    async def _end_group(self, group: int) -> None:
        """The group's id is its leader's pid, and is not given out again while any member lives."""
        for last_call, patience in ((signal.SIGTERM, self._grace), (signal.SIGKILL, _DYING)):
            if not _signalled(group, last_call):
                return
            with anyio.move_on_after(patience):
                while _lives(group):  # noqa: ASYNC110 - nobody tells us of our grandchildren's end
                    await anyio.sleep(0.02)


class _Sink:
    """Cuts the output into lines, redacts them, keeps the last of them and passes each on."""

    def __init__(self, keep: int, log: TextIO | None, on_line: OnLine | None) -> None:
        self._keep = keep
        self._log = log
        self._on_line = on_line
        self._kept: deque[str] = deque()
        self._kept_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._key_lines = 0

    def note(self, line: str) -> None:
        self._write(redact(line))

    def feed(self, chunk: bytes) -> None:
        *lines, self._pending = (self._pending + self._decoder.decode(chunk)).split("\n")
        for line in lines:
            self._take(line)
        if len(self._pending) > _LONGEST_LINE:
            self._take(self._pending)
            self._pending = ""

    def finish(self, pipe: int) -> None:
        """Takes what still lies in the pipe, without waiting, and the last line even without its newline."""
        with suppress(BlockingIOError):
            # A pipe holds 64 KiB; whoever left the group and still writes does not keep us.
            for _ in range(2):
                self.feed(os.read(pipe, _CHUNK))
        if last := self._pending + self._decoder.decode(b"", final=True):
            self._take(last)

    def tail(self) -> str:
        return "\n".join(self._kept)

    def refused(self, program: str, cwd: Path, error: OSError) -> Completed:
        """The completion of a child that never started."""
        if not cwd.is_dir():
            code, text = _NOT_FOUND, f"the working directory {cwd} does not exist"
        elif isinstance(error, FileNotFoundError):
            code, text = _NOT_FOUND, f"{program}: not found (looked for it as a path and on PATH)"
        else:
            code, text = _CANNOT_RUN, f"{program}: {error.strerror}"
        self._take(text)
        return Completed(code=code, output=self.tail())

    def _take(self, line: str) -> None:
        clean = self._redacted(line.rstrip("\r"))
        self._kept.append(clean)
        self._kept_bytes += len(clean.encode()) + 1
        while self._kept_bytes > self._keep and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft().encode()) + 1
        self._write(clean)
        if self._on_line:
            self._on_line(clean)

    def _write(self, line: str) -> None:
        """A log that cannot be written, as on a full disk, must not end what is logged."""
        if self._log:
            try:
                self._log.write(line + "\n")
            except OSError:
                self._log = None

    def _redacted(self, line: str) -> str:
        """A private key spans lines, so the lines after its first are masked until its last."""
        if self._key_lines:
            self._key_lines = 0 if "-----END" in line else self._key_lines - 1
            return MASK
        if "-----BEGIN" in line and "PRIVATE KEY-----" in line and "-----END" not in line:
            self._key_lines = _LONGEST_KEY
        return redact(line)


async def _read(pipe: int) -> bytes:
    await anyio.wait_readable(pipe)
    return os.read(pipe, _CHUNK)


def _signalled(group: int, number: int) -> bool:
    """Whether anyone in the group could be signalled (0 only asks)."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _lives(group: int) -> bool:
    """Whether anyone in the group still runs.

    Zombies count for `killpg`, and an orphan stays one for ever in a container whose init reaps nobody.
    """
    if not _signalled(group, 0):
        return False
    members = [state for state, pgrp in map(_state_and_group, Path("/proc").glob("[0-9]*/stat")) if pgrp == group]
    return not members or any(state not in "ZX" for state in members)


def _state_and_group(stat: Path) -> tuple[str, int]:
    try:
        # pid (name) state ppid pgrp ...: the name may hold anything, parentheses too.
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[2])


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"LANG": "C.UTF-8", **inherited, **given}


@contextmanager
def _appending(log: Path | None) -> Generator[TextIO | None]:
    """The log opened to append, readable by its owner only, flushed line by line for whoever follows it.

    None where it cannot be opened: what is logged matters more than its log.
    """
    file: TextIO | None = None
    if log is not None:
        with suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.fchmod(fd, 0o600)
            file = open(fd, "a", encoding="utf-8", errors="replace", buffering=1)  # noqa: PTH123, SIM115 - a Path cannot open it 0600
    try:
        yield file
    finally:
        if file:
            with suppress(OSError):
                file.close()
