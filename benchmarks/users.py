"""The users of a ring, as processes of their own: those at full speed, and one who looks whether all is good again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.worlds import REPO

CLIENTS = 4


@contextmanager
def at_full_speed(where: Sequence[str], urls: Sequence[str], file: Path) -> Iterator[None]:
    """They ask from when the block begins until it ends; then `file` holds every request. `where`: an argv prefix."""
    argv = [*where, sys.executable, "-m", "benchmarks.load", str(CLIENTS), str(file), *urls]
    with subprocess.Popen(argv, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as users:
        assert users.stdin
        assert users.stdout
        try:
            assert users.stdout.readline() == "ready\n", "the clients got no answer"
            yield
        finally:
            users.stdin.close()
    assert users.returncode == 0, "the clients did not write what they saw"


def until_good(where: Sequence[str], urls: Sequence[str], bad: str, limit: float, quiet: float) -> bool:
    """Whether users were served well, and not by the release `bad`, for `quiet` seconds in a row before the limit."""
    argv = [*where, sys.executable, "-m", "benchmarks.until_good", bad, str(limit), str(quiet), *urls]
    return subprocess.run(argv, cwd=REPO, check=False).returncode == 0
