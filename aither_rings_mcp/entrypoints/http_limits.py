"""How fast and how much a client may ask: token buckets, and a limit to what a request's body may hold."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Send

#: More clients than this at once are not told apart for long: memory has a limit too.
_MOST_REMEMBERED = 4096


@dataclass(frozen=True)
class Pace:
    """So many requests a second, after a burst that is free. Whoever is faster waits, for `patience` seconds at most;
    whoever would have to wait longer is refused.
    """

    per_s: float
    burst: int
    patience: float = 0.0


class Buckets:
    """One bucket for each key. `monotonic` is in seconds."""

    def __init__(self, pace: Pace, monotonic: Callable[[], float]) -> None:
        self._pace = pace
        self._monotonic = monotonic
        #: key -> when its bucket is full again; longest unused first
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> tuple[float, bool]:
        """Seconds to wait, and whether to go on after them; who is refused has taken nothing."""
        now, pace = self._monotonic(), self._pace
        full_at = max(self._full_at.get(key, now), now) + 1 / pace.per_s
        wait = full_at - now - pace.burst / pace.per_s
        if wait > pace.patience + 1e-9:
            return wait - pace.patience, False
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > _MOST_REMEMBERED:
            self._full_at.popitem(last=False)
        return max(0.0, wait), True


def retry_after(wait: float) -> str:
    """Whole seconds, as the header has them."""
    return str(max(1, math.ceil(wait)))


class BoundedBody:
    """The two ends of an ASGI request whose body may not be longer than `limit` bytes, however it is sent.

    Past the limit `refuse` answers, and the app sees a client that went away: whatever it makes of that goes nowhere.
    """

    def __init__(self, receive: Receive, send: Send, limit: int, refuse: Callable[[], Any]) -> None:
        self._receive, self._send = receive, send
        self._limit, self._refuse = limit, refuse
        self._seen = 0
        self._answered = False
        self.exceeded = False

    async def receive(self) -> Message:
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen <= self._limit:
            return message
        self.exceeded = True
        if not self._answered:
            await self._refuse()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.exceeded:
            return
        self._answered = True
        await self._send(message)
