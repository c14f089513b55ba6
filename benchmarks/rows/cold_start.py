"""How long an agent waits for its server, against the import that no Python MCP server comes around."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measure import in_turns, run
from benchmarks.worlds import REPO

_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    },
}


def cold_start(bench: Bench) -> dict[str, Any]:
    """From the start of the process to its answer to `initialize`; of the bare import, to the end of the process."""
    works = {"ours": _hello, "import": partial(run, [sys.executable, "-c", "import mcp.server.mcpserver"])}
    times = in_turns(max(2, bench.repetitions) * 2, works, warm=1)
    return {
        "kind": "ratios",
        "title": "Cold start of the stdio server, to its answer to `initialize`",
        "against": "`python -c 'import mcp.server.mcpserver'`",
        "pairs": [{"name": "stdio server", "ours": times["ours"], "against": times["import"]}],
    }


def _hello() -> None:
    argv = [sys.executable, "-m", "aither_rings_mcp", "--config", str(REPO / "rings.yaml")]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=nowhere, text=True) as server:
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(_HELLO) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        # what comes after the answer is not waited for by anybody
        server.kill()
    assert answer["result"]["serverInfo"]["name"] == "aither-rings", answer
