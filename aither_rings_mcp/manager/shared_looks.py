"""One look for all who ask the same while one is under way: fifty watchers ask the engine no more often than two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import anyio

from aither_rings_mcp.domain.errors import RingError

T = TypeVar("T")


@dataclass
class _Looks(Generic[T]):
    """The looks at one thing. `begun` counts them; `ended` is the number of the last that has an outcome."""

    one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)
    askers: int = 0
    begun: int = 0
    ended: int = 0
    outcome: T | RingError | None = None


class SharedLooks:
    """Shares looks among their askers. No answer is older than its question: only a look that begins later counts."""

    def __init__(self) -> None:
        self._at: dict[Hashable, _Looks[object]] = {}

    async def shared(self, what: Hashable, look: Callable[[], Awaitable[T]]) -> T:
        """What `look` gives, or gave to another who asked for `what` meanwhile. Raises what it raises.

        Whoever looks may be cancelled: the next one who waits then looks for all.
        """
        looks = cast("_Looks[T]", self._at.setdefault(what, _Looks()))
        too_old = looks.begun
        looks.askers += 1
        try:
            async with looks.one_at_a_time:
                if looks.ended <= too_old:
                    looks.begun += 1
                    try:
                        looks.outcome = await look()
                    except RingError as error:
                        looks.outcome = error
                    looks.ended = looks.begun
                outcome = looks.outcome
        finally:
            looks.askers -= 1
            if not looks.askers:
                del self._at[what]
        if isinstance(outcome, RingError):
            raise outcome
        return cast("T", outcome)
