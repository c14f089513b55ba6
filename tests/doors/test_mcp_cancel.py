"""Who cancels a call wants the operation stopped; who goes away, breaks off or loses patience stops nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

REPO = Path(__file__).parents[2]
FAKE = str(Path(__file__).parent / "mcp_fake_server.py")
LIMIT_S = 30
Connect = Callable[[], Client]
PROMOTE = {"source": "staging", "target": "prod", "wait_s": 300}


@pytest.fixture
def cancelled(tmp_path: Path) -> Path:
    return tmp_path / "cancelled"


@pytest.fixture(params=["auto", "legacy"])
def connect(request: pytest.FixtureRequest, cancelled: Path) -> Connect:
    environment = {"PYTHONPATH": str(REPO), "FAKE_RINGS": "slow", "FAKE_CANCELLED": str(cancelled)}
    server = StdioServerParameters(command=sys.executable, args=[FAKE], env=environment)
    return lambda: Client(server, mode=request.param)


async def waiting(client: Client, tool: str, arguments: dict[str, Any]) -> asyncio.Task[Any]:
    """A call that is known to have begun its operation."""
    begun = asyncio.Event()

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        if progress >= 95:
            begun.set()

    call = asyncio.create_task(client.call_tool(tool, arguments, progress_callback=heard))
    await begun.wait()
    return call


async def written(path: Path) -> str:
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.02)
    return path.read_text()


@pytest.mark.parametrize(
    ("tool", "arguments", "operation"),
    [("ring_promote", PROMOTE, "op-1"), ("ring_rollback", {"ring": "prod", "wait_s": 300}, "op-2")],
)
async def test_a_call_that_its_client_cancels_asks_the_operation_to_stop(
    connect: Connect, cancelled: Path, tool: str, arguments: dict[str, Any], operation: str
) -> None:
    async with asyncio.timeout(LIMIT_S), connect() as client:
        call = await waiting(client, tool, arguments)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        said = await written(cancelled)
        assert said.startswith(f"{operation} ")
        assert said.endswith(": the client cancelled its call")
        assert not (await client.call_tool("ring_status", {})).is_error


@pytest.mark.promise(4)
async def test_a_client_whose_patience_ends_stops_nothing(connect: Connect, cancelled: Path) -> None:
    async with asyncio.timeout(LIMIT_S), connect() as client:
        with pytest.raises(MCPError, match="timed out"):
            await client.call_tool("ring_promote", PROMOTE, read_timeout_seconds=1)
        for _ in range(10):
            await client.call_tool("ring_status", {})
        await asyncio.sleep(0.5)
        assert not cancelled.exists()


async def test_who_only_follows_an_operation_stops_nothing(connect: Connect, cancelled: Path) -> None:
    async with asyncio.timeout(LIMIT_S), connect() as client:
        call = await waiting(client, "ring_operation", {"operation_id": "op-1", "wait_s": 300})
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for _ in range(10):
            await client.call_tool("ring_status", {})
        await asyncio.sleep(0.3)
        assert not cancelled.exists()


@pytest.mark.promise(4)
@pytest.mark.parametrize("end", ["eof", "kill"])
async def test_a_client_that_goes_away_stops_nothing(cancelled: Path, end: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, FAKE, stdin=PIPE, stdout=PIPE,
        env={**os.environ, "PYTHONPATH": str(REPO), "FAKE_RINGS": "slow", "FAKE_CANCELLED": str(cancelled)},
    )  # fmt: skip
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    call = {"name": "ring_promote", "arguments": PROMOTE, "_meta": {"progressToken": 7}}
    async with asyncio.timeout(LIMIT_S):
        for message in (
            {"id": 1, "method": "initialize", "params": initialize},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": call},
        ):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        while json.loads(await process.stdout.readline()).get("params", {}).get("progress", 0) < 95:
            pass
        if end == "kill":
            process.kill()
        process.stdin.close()
        await process.wait()
    assert not cancelled.exists()
