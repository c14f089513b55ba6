"""Side by side, in turns: what slows the machine for a while slows all of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence


def in_turns(repetitions: int, works: Mapping[str, Callable[[], object]], warm: int = 0) -> dict[str, list[float]]:
    """Seconds that each of `works` took, each time around in the same order; the first `warm` rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm + repetitions):
        for name, work in works.items():
            took = timed(work)
            if turn >= warm:
                times[name].append(took)
    return times


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(argv: Sequence[str], limit: float = 900) -> str:
    """Runs a program to its good end; its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
