"""Fifty MCP clients at once over HTTP: at one call a second each, then as fast as they can."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import anyio
import httpx

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.model import Actor
from benchmarks.bench import Bench
from benchmarks.worlds import REPO, free_port, wait_for

CLIENTS = 50
PACED_S, FAST_S = 60, 15
#: What agents ask, and a change that a viewer's token is refused.
OURS = [
    ["ring_status", {}],
    ["ring_history", {"ring": "prod", "limit": 5}],
    ["ring_health", {"ring": "prod"}],
    ["ring_rollback", {"ring": "prod"}],
]
BARE = [["status", {}]]


def clients(bench: Bench) -> dict[str, Any]:
    """Ours beside a server of the SDK alone, in turns; reads and refused changes, on the shipped ring."""
    world = bench.world
    tokens = [_token(world.manager, number) for number in range(CLIENTS)]
    paced: dict[str, list[float]] = {"ours": [], "against": []}
    fast: dict[str, list[float]] = {"ours": [], "against": []}
    told: list[dict[str, Any]] = []
    ours = [str(Path(sys.executable).with_name("ring-ctl")), "--config", str(world.config), "serve", "--no-monitor"]
    for turn in range(bench.repetitions):
        bench.say(f"clients, {turn + 1} of {bench.repetitions}")
        port = free_port()
        before = world.recorded()
        with _served([*ours, "--port", str(port)], f"http://127.0.0.1:{port}/healthz") as process:
            at = f"http://127.0.0.1:{port}/mcp"
            _called(at, 3, 1, OURS, tokens)
            memory = [_resident(process)]
            slow = _called(at, PACED_S, 1, OURS, tokens)
            memory.append(_resident(process))
            full = _called(at, FAST_S, 0, OURS, tokens)
            memory.append(_resident(process))
        assert world.recorded() == before, "a refused call changed something"
        paced["ours"].append(_p95(slow["seconds"]["ring_status"]))
        fast["ours"].append(_a_call(full))
        told.append({"memory": memory, "paced": _summary(slow), "fast": _summary(full)})
        port = free_port()
        bare = [sys.executable, "-m", "benchmarks.bare_server", str(port)]
        with _served(bare, f"http://127.0.0.1:{port}/mcp"):
            at = f"http://127.0.0.1:{port}/mcp"
            _called(at, 3, 1, BARE, tokens)
            paced["against"].append(_p95(_called(at, FAST_S, 1, BARE, tokens)["seconds"]["status"]))
            fast["against"].append(_a_call(_called(at, FAST_S, 0, BARE, tokens)))
    return {
        "kind": "ratios",
        "title": f"{CLIENTS} MCP clients over HTTP",
        "against": "a server of the SDK alone, with a tool that answers at once",
        "pairs": [
            {"name": "`ring_status` at one call a second each, 95th percentile", **paced},
            {"name": "as fast as they can, time for each answer", **fast},
        ],
        "notes": _notes(told),
        "told": told,
    }


def _token(manager: Any, number: int) -> str:
    made = anyio.run(manager.create_token, f"bench-{number}", Role.VIEWER, Actor(name="bench"))
    return str(made.token)


@contextmanager
def _served(argv: Sequence[str], url: str) -> Iterator[int]:
    """A server as a process of its own, until the block ends; its id."""
    with tempfile.TemporaryFile() as log, subprocess.Popen(argv, cwd=REPO, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: _answers(url), 60, f"{url} answers")
            yield process.pid
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return bool(httpx.get(url, timeout=2, trust_env=False).status_code)
    except httpx.TransportError:
        return False


def _called(url: str, seconds: float, pace: float, calls: Sequence[Any], tokens: Sequence[str]) -> dict[str, Any]:
    argv = [sys.executable, "-m", "benchmarks.callers", url, str(seconds), str(pace), json.dumps(calls)]
    done = subprocess.run(
        argv, cwd=REPO, input=json.dumps(tokens), capture_output=True, text=True, timeout=seconds + 120, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the clients failed: {done.stderr[-2000:]}")
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _summary(seen: dict[str, Any]) -> dict[str, Any]:
    return {
        "calls": {tool: len(seconds) for tool, seconds in seen["seconds"].items()},
        "p95_s": {tool: _p95(seconds) for tool, seconds in seen["seconds"].items()},
        "refused": seen["refused"],
        "wrong": seen["wrong"],
    }


def _notes(told: Sequence[dict[str, Any]]) -> list[str]:
    wrong = sum(len(one[how]["wrong"]) for one in told for how in ("paced", "fast"))
    answers = sum(sum(one[how]["calls"].values()) for one in told for how in ("paced", "fast"))
    grown = [f"{one['memory'][0]:.0f}, {one['memory'][1]:.0f}, {one['memory'][2]:.0f}" for one in told]
    p95 = {tool: [one["paced"]["p95_s"][tool] for one in told] for tool, _ in OURS}
    slowest = ", ".join(f"{tool} {max(times) * 1000:.0f} ms" for tool, times in p95.items())
    return [
        f"{answers:,} answers, {wrong} that were wrong or missing. All `ring_rollback` were refused (viewers), and the "
        "record is byte for byte the same afterwards.",
        f"The largest 95th percentile of all turns at one call a second each: {slowest}.",
        f"Resident memory of the server in MB, before, after {PACED_S} s, and after {FAST_S} s at full speed, of each "
        f"turn: {'; '.join(grown)}.",
    ]


def _a_call(seen: dict[str, Any]) -> float:
    """Seconds of the server's time for each answer, at full speed."""
    return FAST_S / sum(len(seconds) for seconds in seen["seconds"].values())


def _p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def _resident(process: int) -> float:
    """The process's memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024
