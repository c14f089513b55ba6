"""The server as clients start it: a process whose standard output carries the protocol and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from aither_rings_mcp import __version__

REPO = Path(__file__).parents[2]
FAKE = str(Path(__file__).parent / "mcp_fake_server.py")
LIMIT_S = 30
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPO)}


class Wire:
    """A client of a few lines: it reads what really comes."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[bytes] = []
        self._id = 0

    async def ask(self, method: str, params: dict[str, Any]) -> int:
        self._id += 1
        await self._write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        return self._id

    async def tell(self, method: str) -> None:
        await self._write({"jsonrpc": "2.0", "method": method})

    async def answer(self, to: int) -> dict[str, Any]:
        """The answer to that request; every line on the way has to be a message of the protocol."""
        while True:
            message = self._message(await self.process.stdout.readline())
            if message.get("id") == to:
                return message

    async def open(self) -> None:
        await self.answer(await self.ask("initialize", INITIALIZE))
        await self.tell("notifications/initialized")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return (await self.answer(await self.ask("tools/call", {"name": tool, "arguments": arguments})))["result"]

    async def close(self) -> tuple[int, str]:
        """Closes stdin; the exit code and what stderr said. What still comes has to be the protocol, too."""
        self.process.stdin.close()
        rest, errors = await asyncio.gather(self.process.stdout.read(), self.process.stderr.read())
        for line in rest.splitlines():
            self._message(line)
        return await self.process.wait(), errors.decode()

    def _message(self, line: bytes) -> dict[str, Any]:
        assert line, "the server closed its output"
        self.lines.append(line)
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    async def _write(self, message: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()


@asynccontextmanager
async def started(*arguments: str, fake: str = "", **environment: str) -> AsyncIterator[Wire]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE,
        env={**ENVIRONMENT, "FAKE_RINGS": fake, **environment},
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            yield Wire(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*arguments: str, fake: str = "", cwd: Path = REPO, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=cwd,
        env={**ENVIRONMENT, "FAKE_RINGS": fake, **environment},
    )  # fmt: skip
    async with asyncio.timeout(LIMIT_S):
        out, errors = await process.communicate(b"")
    return process.returncode or 0, out.decode(), errors.decode()


async def test_stdin_that_ends_ends_the_server_quietly() -> None:
    async with started(FAKE) as wire:
        await wire.open()
        assert (await wire.call("ring_health", ring="prod"))["structuredContent"]["healthy"] == 11
        assert await wire.close() == (0, "")


async def test_stdout_carries_only_the_protocol_even_when_something_prints() -> None:
    async with started(FAKE, fake="prints") as wire:
        await wire.open()
        for _ in range(3):
            assert (await wire.call("ring_status"))["structuredContent"]["ok"] is True
        code, errors = await wire.close()
    assert code == 0
    assert errors.count("a stray print") == 3
    assert not any(b"stray" in line for line in wire.lines)


async def test_a_crash_is_told_on_stderr_redacted_and_the_server_goes_on() -> None:
    async with started(FAKE, fake="crashes") as wire:
        await wire.open()
        for _ in range(2):
            result = await wire.call("ring_status")
            assert result["isError"] is True
            assert result["content"][0]["text"].startswith("ERROR internal: ring_status failed inside the server.")
        code, errors = await wire.close()
    assert code == 0
    assert "RuntimeError" in errors
    assert "hunter2" not in errors.replace("the password is hunter2", "")
    assert "password=[redacted]" in errors


async def test_a_call_that_is_waiting_when_stdin_ends_does_not_hold_the_server() -> None:
    async with started(FAKE, fake="slow") as wire:
        await wire.open()
        params = {
            "name": "ring_promote",
            "arguments": {"source": "staging", "target": "prod", "wait_s": 300},
            "_meta": {"progressToken": 0},
        }
        await wire.ask("tools/call", params)
        message = json.loads(await wire.process.stdout.readline())
        assert message["method"] == "notifications/progress"
        assert message["params"]["progressToken"] == 0
        assert await wire.close() == (0, "")


async def test_who_asks_for_no_progress_gets_none() -> None:
    async with started(FAKE) as wire:
        await wire.open()
        before = len(wire.lines)
        await wire.call("ring_promote", source="staging", target="prod")
        assert len(wire.lines) == before + 1


async def test_a_client_that_dies_leaves_no_trace_on_stderr() -> None:
    async with started(FAKE, fake="slow") as wire:
        await wire.open()
        await wire.ask("tools/call", {"name": "ring_promote", "arguments": {"source": "staging", "target": "prod"}})
        wire.process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
        await wire.ask("tools/call", {"name": "ring_status", "arguments": {}})
        wire.process.stdin.close()
        errors = await wire.process.stderr.read()
        assert (await wire.process.wait(), errors.decode()) == (0, "")


async def test_ctrl_c_ends_the_server_without_a_trace() -> None:
    async with started(FAKE) as wire:
        await wire.open()
        wire.process.send_signal(signal.SIGINT)
        errors = await wire.process.stderr.read()
        assert (await wire.process.wait(), errors.decode()) == (-signal.SIGINT, "")


async def test_a_config_that_cannot_be_used_is_one_line_on_stderr_and_exit_2() -> None:
    code, out, errors = await run(FAKE, fake="bad-config")
    assert (code, out) == (2, "")
    assert errors.splitlines() == [
        "a stray print while starting",
        "aither-rings-mcp: config_invalid: rings.yaml has 2 faults: line 3: no line 9: no. Next: Mend rings.yaml.",
    ]


async def test_a_missing_config_is_one_line_on_stderr_and_exit_2(tmp_path: Path) -> None:
    code, out, errors = await run("-m", "aither_rings_mcp", cwd=tmp_path, RINGS_CONFIG="")
    assert (code, out) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("aither-rings-mcp: config_invalid: ")
    assert ". Next: " in line


@pytest.mark.parametrize("arguments", [["--transport", "carrier-pigeon"], ["--role", "king"], ["--confg", "x"]])
async def test_a_wrong_option_is_refused_with_exit_2(arguments: list[str]) -> None:
    code, out, errors = await run("-m", "aither_rings_mcp", *arguments)
    assert (code, out) == (2, "")
    assert "usage: aither-rings-mcp" in errors


async def test_version_is_the_packages() -> None:
    assert await run("-m", "aither_rings_mcp", "--version") == (0, f"aither-rings-mcp {__version__}\n", "")


@pytest.mark.parametrize(
    ("option", "code"), [("--read-only", "read_only"), ("--role=viewer", "forbidden"), ("--role=approver", None)]
)
async def test_the_options_reach_the_tools(option: str, code: str | None) -> None:
    async with started(FAKE, option) as wire:
        await wire.open()
        result = await wire.call("ring_rollback", ring="prod")
    assert result["content"][0]["text"].startswith(f"ERROR {code}: " if code else "prod is back at")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_eras_work_over_stdio(mode: str) -> None:
    server = StdioServerParameters(command=sys.executable, args=[FAKE], env={"PYTHONPATH": str(REPO)})
    async with asyncio.timeout(LIMIT_S), Client(server, mode=mode) as client:
        assert len((await client.list_tools()).tools) == 9
        result = await client.call_tool("ring_promote", {"source": "dev", "target": "staging"})
    assert result.structured_content is not None
    assert result.structured_content["outcome"] == "candidate_tagged"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_projects_own_server_answers_from_its_config(mode: str, tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "aither_rings_mcp", "--config", str(REPO / "rings.yaml")],
        env={"PYTHONPATH": str(REPO), "RINGS_STATE_DIR": str(tmp_path)},
    )
    async with asyncio.timeout(LIMIT_S), Client(server, mode=mode) as client:
        assert len((await client.list_tools()).tools) == 9
        history = await client.call_tool("ring_history", {"ring": "prod", "limit": 5})
        way = await client.call_tool("ring_promote", {"source": "prod", "target": "dev"})
    assert history.structured_content is not None
    assert history.structured_content["events"] == []
    assert way.content[0].text.startswith("ERROR invalid_transition: ")  # type: ignore[union-attr]


async def test_the_start_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from aither_rings_mcp.entrypoints.mcp_server import build_server\n"
        "from aither_rings_mcp.wiring import build_manager\n"
        "build_server(build_manager(Path('rings.yaml')))\n"
        "print([name for name in ('rich', 'typer', 'httpx', 'docker') if name in sys.modules])"
    )
    assert await run("-c", script, RINGS_STATE_DIR=str(tmp_path)) == (0, "[]\n", "")
