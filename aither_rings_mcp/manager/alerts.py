"""What the monitor tells people: once when it begins, once when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.model import Actor, Event
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

MONITOR = Actor(name="ring-monitor", kind="monitor", door="monitor")


class Alerts:
    """Alerts of one monitor: into the history, to whoever `alerts.command` calls, and to its own log."""

    def __init__(self, world: World, say: OnLine, told: Mapping[str, str]) -> None:
        self._world = world
        self._say = say
        #: `ring topic` -> what was told of it and is not over
        self.told: dict[str, str] = dict(told)

    async def tell(self, ring: str, topic: str, said: str | None) -> None:
        """Tells where something begins, changes, or (None) is over; as long as it stays the same, nothing."""
        key = f"{ring} {topic}"
        before = self.told.get(key)
        if said == before:
            return
        if said is None:
            del self.told[key]
            await self.call(ring, f"{topic}_over", f"over: {before}")
        else:
            self.told[key] = said
            await self.call(ring, topic, said)

    async def begin(self, ring: str, topic: str, said: str) -> None:
        """Tells that something begins; how it goes on, as long as it is not over, is no news."""
        if f"{ring} {topic}" not in self.told:
            await self.tell(ring, topic, said)

    async def call(self, ring: str, outcome: str, detail: str) -> None:
        """Tells this once, whatever was told before."""
        self._say(f"{ring}: {outcome}: {detail}")
        event = Event(
            at=self._world.clock.now(),
            ring=ring,
            event="alert",
            outcome=outcome,
            operation="",
            to=self._world.state.load().ring(ring).release,
            actor=str(MONITOR),
            detail=detail[:500],
        )
        with suppress(RingError):  # a full disk must not keep a person from being called
            self._world.history.append(event)
        await self._world.alarm.call(event)
