"""A clock that moves when somebody sleeps; nobody really waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio.lowlevel

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class FakeClock:
    """`meanwhile` is what the others do while one sleeps: the worker works while the door waits for it."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"seconds": self.seconds, "meanwhile": None}

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.meanwhile:
            await self.meanwhile()
        await anyio.lowlevel.checkpoint()
