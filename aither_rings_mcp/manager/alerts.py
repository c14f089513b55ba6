"""What the monitor tells people: once when it begins, once when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.model import Actor, Event
from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.domain.watch import Told
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

MONITOR = Actor(name="ring-monitor", kind="monitor", door="monitor")


class Alerts:
    """Alerts of one monitor: into the history, to its own log, and to whoever `alerts.command` calls.

    `remember` puts `told` on disk: before the history, so that nothing is told twice, and what was not told yet when
    the power went is told by the next monitor.
    """

    def __init__(self, world: World, say: OnLine, told: Mapping[str, Told], remember: Callable[[], None]) -> None:
        self._world = world
        self._say = say
        self._remember = remember
        #: `ring topic` -> what was told of it and is not over
        self.told: dict[str, Told] = dict(told)
        self._to_call: list[Event] = []

    async def tell(self, ring: str, topic: str, said: str | None) -> None:
        """Tells where something begins, changes, or (None) is over; as long as it stays the same, nothing."""
        key = f"{ring} {topic}"
        before = self.told.get(key)
        if said is None:
            if before:
                self._write(key, before.model_copy(update={"over": True, "written": False}))
        elif before is None or before.said != said:
            self._write(key, Told(said=said, since=self._world.clock.now()))

    async def begin(self, ring: str, topic: str, said: str) -> None:
        """Tells that something begins; how it goes on, as long as it is not over, is no news."""
        if f"{ring} {topic}" not in self.told:
            await self.tell(ring, topic, said)

    def catch_up(self) -> None:
        """Tells what an earlier monitor remembered, but may have had no time to tell."""
        for key, told in list(self.told.items()):
            if not told.written:
                self._write(key, told)

    async def call(self) -> None:
        """Calls a person for all that was told since the last call. Last of all: they may take their time."""
        calls, self._to_call = self._to_call, []
        for event in calls:
            if trouble := await self._world.alarm.call(event):
                self._say(trouble)

    def _write(self, key: str, told: Told) -> None:
        ring, _, topic = key.partition(" ")
        self.told[key] = told
        self._remember()
        outcome, detail = (f"{topic}_over", f"over: {told.said}") if told.over else (topic, told.said)
        event = self._event(ring, outcome, detail, f"alert {key} {told.since.isoformat()}{' over' * told.over}")
        self._say(f"{ring}: {outcome}: {detail}")
        with suppress(RingError):  # a full disk must not keep a person from being called
            self._world.history.append(event)
        if told.over:
            del self.told[key]
        else:
            self.told[key] = told.model_copy(update={"written": True})
        self._to_call.append(event)

    def _event(self, ring: str, outcome: str, detail: str, operation: str) -> Event:
        now: datetime = self._world.clock.now()
        return Event(
            at=now,
            ring=ring,
            event="alert",
            outcome=outcome,
            operation=operation,
            actor=str(MONITOR),
            detail=redact(detail)[:500],  # first: half a secret is not known for one
        )
