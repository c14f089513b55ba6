"""A call that follows an operation: it tells its client how far that came, and what becomes of the operation when the
call ends before it does.

A client that goes away, or whose patience ends, stops nothing: an operation outlives its door. A client that cancels
its call asks for the operation to stop, where nothing was touched yet. Over HTTP at 2026-07-28 a client cancels by
closing the stream, which nobody can tell from a connection that broke: there it takes ring_cancel or `tasks/cancel`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from aither_rings_mcp.domain.answers import Progress
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.entrypoints.mcp_protocol import Ctx

log = logging.getLogger(__name__)

#: Lines of a log come faster than anybody reads: of those within this time the client hears the last.
QUIET_S = 0.5
#: How long a call that is over holds its server to pass the wish on.
_PASS_ON_S = 2.0
#: The notification's own words are heard a moment after the call was cancelled.
_REASON_S = 0.5
_MOST_REASONS = 256
_PATIENCE = re.compile(r"time[sd]?[ -]?out", re.IGNORECASE)


class Cancellations:
    """What clients say when they cancel a call. A middleware of the server hears it.

    SDKs send the same notification when their time limit runs out, and only its reason tells.
    """

    def __init__(self) -> None:
        self._said: dict[tuple[str | None, str], str] = {}
        self._more = asyncio.Event()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "notifications/cancelled" and ctx.params:
            while len(self._said) >= _MOST_REASONS:
                del self._said[next(iter(self._said))]
            self._said[_session(ctx), str(ctx.params.get("requestId"))] = str(ctx.params.get("reason") or "")
            more, self._more = self._more, asyncio.Event()
            more.set()
        return await call_next(ctx)

    async def meant(self, ctx: ServerRequestContext[Any, Any]) -> bool:
        """Whether the client itself ended this call and wants what it began to stop."""
        # The SDK sets this for `notifications/cancelled` alone: not for a closed pipe, nor a connection that broke.
        if not ctx.session._request_outbound.cancel_requested.is_set():  # pyright: ignore[reportPrivateUsage]
            return False
        call = _session(ctx), str(ctx.request_id)
        with anyio.move_on_after(_REASON_S):
            while call not in self._said:
                await self._more.wait()
        return not _PATIENCE.search(self._said.pop(call, ""))


def _session(ctx: ServerRequestContext[Any, Any]) -> str | None:
    return ctx.session._connection.session_id  # pyright: ignore[reportPrivateUsage]


class Reporter:
    """Progress notifications of one call: phases at once, what is said in between gathered, and the next no later than
    `every` seconds after the last.

    The protocol wants growing values, so a step back or a heartbeat adds a thousandth of what is left.
    """

    def __init__(self, ctx: Ctx, every: float) -> None:
        self._ctx = ctx
        self._every = every
        self._value = -1.0
        self._phase: str | None = None
        self._message = "waiting"
        self._percent = 0.0
        self._gathered = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._last = asyncio.get_running_loop().time()
        self.operation_id: str | None = None

    def started(self, operation_id: str) -> None:
        self.operation_id = operation_id

    async def watch(self, progress: Progress) -> None:
        self._message, self._percent = progress.message, float(progress.percent)
        if progress.phase == self._phase:
            self._gathered.set()
            return
        self._phase = progress.phase
        await self._send(self._percent)

    async def beat(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            with anyio.move_on_after(max(0.0, self._last + self._every - now())):
                await self._gathered.wait()
            if self._gathered.is_set():
                await asyncio.sleep(max(0.0, self._last + QUIET_S - now()))
            if self._gathered.is_set() or now() >= self._last + self._every:
                await self._send(self._percent)

    async def _send(self, percent: float) -> None:
        async with self._one_at_a_time:
            self._gathered.clear()
            self._last = asyncio.get_running_loop().time()
            value = percent if percent > self._value else self._value + (100 - self._value) / 1000
            if value > self._value:
                self._value = value
                await self._ctx.report_progress(value, 100, self._message)


@asynccontextmanager
async def following(
    ctx: Ctx, heartbeat_s: float, cancellations: Cancellations, stop: Callable[[str], Awaitable[object]] | None = None
) -> AsyncGenerator[Reporter]:
    """A reporter for the call, silent where the client asked for no progress.

    `stop` is called with the operation's id when the client cancels the call.
    """
    reporter = Reporter(ctx, heartbeat_s)
    heartbeat = asyncio.create_task(reporter.beat())
    try:
        yield reporter
    except asyncio.CancelledError:
        if stop and reporter.operation_id:
            with anyio.move_on_after(_PASS_ON_S, shield=True):
                if await cancellations.meant(ctx.request_context):
                    with suppress(RingError):  # past its last safe point it goes on
                        await stop(reporter.operation_id)
        raise
    finally:
        heartbeat.cancel()
