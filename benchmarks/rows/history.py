"""`ring_history(ring, limit=5)` as the file grows, against `tail -n 5`."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from aither_rings_mcp.adapters.history_file import ORIGIN
from aither_rings_mcp.wiring import build_manager
from benchmarks.bench import Bench
from benchmarks.measure import in_turns, run
from benchmarks.worlds import REPO

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def history(bench: Bench) -> dict[str, Any]:
    """In one process; the file grows from size to size, and its chain holds."""
    pairs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="rings-bench-") as name:
        config = Path(name) / "rings.yaml"
        config.write_text((REPO / "rings.yaml").read_text().replace("compose/", f"{REPO}/compose/"))
        file = Path(name) / ".rings/history.jsonl"
        file.parent.mkdir()
        manager = build_manager(config)
        written, head = 0, ORIGIN
        with anyio.from_thread.start_blocking_portal() as portal:
            read = functools.partial(manager.history, "prod", limit=5)
            for size in SIZES:
                bench.say(f"history of {size} events")
                head = _append(file, written, size, head)
                written = size
                newest = portal.call(read).events[0]
                assert newest.seq > size - 3, newest
                times = in_turns(
                    max(2, bench.repetitions) * 3,
                    {
                        "ours": functools.partial(portal.call, read),
                        "tail": functools.partial(run, ["tail", "-n", "5", str(file)]),
                    },
                    warm=1,
                )
                pairs.append({"name": f"{size:,} events", "ours": times["ours"], "against": times["tail"]})
    return {
        "kind": "ratios",
        "title": "`ring_history(ring, limit=5)`",
        "against": "`tail -n 5` of the file",
        "pairs": pairs,
        "growth": list(SIZES),
    }


def _append(file: Path, first: int, last: int, head: str) -> str:
    """Events `first + 1` to `last` as the history file chains them, by hand: a million within seconds."""
    with file.open("a") as out:
        for number in range(first + 1, last + 1):
            event = {
                "at": (_BEGAN + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
                "ring": ("dev", "staging", "prod")[number % 3],
                "event": "promote",
                "outcome": "promoted",
                "operation": f"op-{number:08}",
                "actor": "somebody (person via cli)",
                "reason": "a benchmark",
                "duration_s": 12.5,
                "seq": number,
                "prev": head,
            }
            head = hashlib.sha256(_canonical(event)).hexdigest()
            out.write(_canonical({**event, "hash": head}).decode() + "\n")
    return head


def _canonical(event: dict[str, Any]) -> bytes:
    return json.dumps(event, sort_keys=True, separators=(",", ":")).encode()
