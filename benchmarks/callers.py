"""MCP clients in a process of their own, each with a token of its own; the public client, as agents have it.

    python -m benchmarks.callers URL SECONDS PACE CALLS < TOKENS

Each calls the tools of CALLS (JSON: [[tool, arguments], ...]) in turn, one in PACE seconds, or one after the other
where that is 0; they begin once all are connected. At the end it says, in JSON, how long each call took, by tool, how
many were refused, and what went wrong. Every call gets its one answer, or is among what went wrong.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

#: So long an agent waits for one answer, in seconds.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Load:
    url: str
    seconds: float
    pace: float
    calls: Sequence[Any]


@dataclass
class Seen:
    """What the clients got: seconds of every call, by tool; how many were refused; what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    refused: dict[str, int] = field(default_factory=dict[str, int])
    wrong: list[str] = field(default_factory=list[str])


async def caller(load: Load, token: str, number: int, start: asyncio.Barrier, seen: Seen) -> None:
    """One client, from its connection to the end."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S) as http,
        Client(streamable_http_client(load.url, http_client=http)) as client,
    ):
        await client.list_tools()
        await start.wait()
        end = time.monotonic() + load.seconds
        at = time.monotonic() + load.pace * number / start.parties  # not all in the same instant
        for tool, arguments in itertools.islice(itertools.cycle(load.calls), number, None):
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            if time.monotonic() >= end:
                return
            await one(client, tool, arguments, seen)
            at = max(at + load.pace, time.monotonic())


async def one(client: Client, tool: str, arguments: dict[str, Any], seen: Seen) -> None:
    began = time.monotonic()
    try:
        answer = await client.call_tool(tool, arguments)
    except Exception as error:  # whatever it is, it is what is counted here
        seen.wrong.append(f"{tool}: {type(error).__name__}: {error}"[:300])
        return
    seen.seconds.setdefault(tool, []).append(time.monotonic() - began)
    if not isinstance(answer, CallToolResult):
        seen.wrong.append(f"{tool}: {answer!r:.300}")
    elif answer.is_error:
        seen.refused[tool] = seen.refused.get(tool, 0) + 1


async def main(arguments: Sequence[str]) -> None:
    url, seconds, pace, calls = arguments
    load = Load(url, float(seconds), float(pace), json.loads(calls))
    tokens: list[str] = json.load(sys.stdin)
    seen, start = Seen(), asyncio.Barrier(len(tokens))
    async with asyncio.TaskGroup() as group:
        for number, token in enumerate(tokens):
            group.create_task(caller(load, token, number, start, seen))
    print(json.dumps(asdict(seen)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
