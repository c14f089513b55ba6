"""While a call waits, the client hears of it; and when the client goes, the call goes quietly."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from mcp.client import Client
from mcp_fake_rings import FakeRings

from aither_rings_mcp.domain.answers import Progress
from aither_rings_mcp.domain.rollout import PERCENT, Phase
from aither_rings_mcp.entrypoints.mcp_following import QUIET_S, Reporter
from aither_rings_mcp.entrypoints.mcp_server import HEARTBEAT_S, build_server

LIMIT_S = 10


class Heard:
    """A client's progress callback that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.messages: list[str | None] = []
        self._more = asyncio.Condition()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        assert total == 100
        async with self._more:
            self.values.append(progress)
            self.messages.append(message)
            self._more.notify_all()

    async def at_least(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S), self._more:
            await self._more.wait_for(lambda: len(self.values) >= count)


async def test_every_phase_is_told_and_the_value_only_grows(era: str) -> None:
    heard = Heard()
    arguments = {"source": "staging", "target": "prod"}
    async with Client(build_server(FakeRings()), mode=era) as client:
        await client.call_tool("ring_promote", arguments, progress_callback=heard)
        await heard.at_least(4)
    # going back is a step back in percent, and still a step on in time
    assert heard.messages == ["gating", "verifying", "restoring", "recording"]
    assert all(before < after <= 100 for before, after in pairwise(heard.values))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("ring_promote", {"source": "staging", "target": "prod"}),
        ("ring_rollback", {"ring": "prod"}),
        ("ring_operation", {"operation_id": "op-1", "wait_s": 30}),
    ],
)
async def test_a_long_wait_is_never_silent(era: str, tool: str, arguments: dict[str, object]) -> None:
    rings, heard = FakeRings(), Heard()
    rings.slow = True
    async with Client(build_server(rings, heartbeat_s=0.02), mode=era) as client:
        waiting = asyncio.create_task(client.call_tool(tool, arguments, progress_callback=heard))
        await heard.at_least(12)
        rings.finish.set()
        result = await waiting
        after = len(heard.values)
        assert not result.is_error
        await client.call_tool("ring_status", {})
    assert len(heard.values) == after, "a heartbeat outlived its call"
    assert all(before < later <= 100 for before, later in pairwise(heard.values))


def test_the_heartbeat_keeps_the_promise_of_ten_seconds() -> None:
    assert HEARTBEAT_S < 10


async def test_a_client_that_cancels_ends_the_wait_and_the_server_goes_on(era: str) -> None:
    rings, heard = FakeRings(), Heard()
    rings.slow = True
    arguments = {"source": "staging", "target": "prod", "wait_s": 300}
    async with Client(build_server(rings, heartbeat_s=0.02), mode=era) as client:
        waiting = asyncio.create_task(client.call_tool("ring_promote", arguments, progress_callback=heard))
        await heard.at_least(6)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(LIMIT_S):
            while rings.cancelled_waits == 0:
                await client.call_tool("ring_status", {})
        assert not (await client.call_tool("ring_health", {"ring": "prod"})).is_error
    # the operation itself is the worker's: it was started, and nothing took it back
    assert rings.changes == [("staging", "prod")]


async def test_what_comes_faster_than_anybody_reads_is_gathered_and_phases_are_told_at_once() -> None:
    told: list[str | None] = []

    class Ctx:
        async def report_progress(self, progress: float, total: float, message: str | None) -> None:
            told.append(message)

    def step(phase: Phase, message: str) -> Progress:
        return Progress(operation_id="op-1", phase=phase, percent=PERCENT[phase], message=message)

    reporter = Reporter(Ctx(), every=60)  # type: ignore[arg-type]
    beating = asyncio.create_task(reporter.beat())
    began = asyncio.get_running_loop().time()
    await reporter.watch(step(Phase.GATING, "-> gating"))
    for number in range(1000):
        await reporter.watch(step(Phase.GATING, f"line {number}"))
    assert told == ["-> gating"]
    async with asyncio.timeout(LIMIT_S):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - began >= QUIET_S
    await reporter.watch(step(Phase.GATING, "the last line"))
    await reporter.watch(step(Phase.SWITCHING, "-> switching"))
    beating.cancel()
    assert told == ["-> gating", "line 999", "-> switching"]
