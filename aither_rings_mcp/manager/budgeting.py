"""Whether an agent may promote now, counted from the history: it is complete, on disk, and the same for every server.

Journals would be quicker to read, but only the newest few hundred are kept: busy work in dev would wash the failures in
prod out of them. They tell what has not ended yet.
"""

from __future__ import annotations

import math
from datetime import datetime

from aither_rings_mcp.domain.budget import Change, Refusal, changes_told, guarded, left, refusal, told_enough
from aither_rings_mcp.domain.errors import Forbidden
from aither_rings_mcp.domain.model import Actor, RecordedEvent
from aither_rings_mcp.domain.rollout import Kind
from aither_rings_mcp.manager.world import World

#: So many events are read first, and twice as many each time, from the newest back, until older ones make no
#: difference.
_PAGE = 100
#: So few changes left are worth a word.
_FEW = 2


class Budget:
    """What agents have left in one installation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def check(self, actor: Actor, source: str, ring: str) -> None:
        """Refuses an agent's promotion into a ring that users meet: `forbidden`, with when it may ask again."""
        if actor.kind != "agent" or ring not in guarded(self._world.settings):
            return
        now, rule = self._world.clock.now(), self._world.settings.agents
        if found := refusal(actor, ring, self._changes(actor, ring, now), rule, now):
            raise _forbidden(found, actor, source, ring, now)

    def warning(self, actor: Actor, ring: str) -> str | None:
        """What a plan says to an agent whose changes of this hour are nearly spent."""
        settings = self._world.settings
        if actor.kind != "agent" or ring not in guarded(settings):
            return None
        now, limit = self._world.clock.now(), settings.agents.changes_per_hour
        still = left(self._changes(actor, ring, now), settings.agents, now)
        if still > min(_FEW, limit - 1):
            return None
        return f"{still} of the {limit} changes that agents may make within an hour are left; going back is not refused"

    def _changes(self, actor: Actor, ring: str, now: datetime) -> tuple[Change, ...]:
        """Oldest first. What has not ended is read before what has: so that nothing ends unseen in between."""
        settings, rings = self._world.settings, guarded(self._world.settings)
        under_way = [
            Change(operation=op.id, ring=op.request.ring, mine=actor.told_as(str(op.actor)), began=op.created_at)
            for op in self._world.journals.unfinished()
            if op.request.ring in rings and op.request.kind in {Kind.PROMOTE, Kind.ROLLBACK}
        ]
        events: list[RecordedEvent] = []
        cursor, limit = None, _PAGE
        while True:
            page, cursor = self._world.history.read(limit, cursor)
            limit *= 2
            events += page
            changes = changes_told(events[::-1], rings, actor, settings.rollback.settle)
            if cursor is None or told_enough(ring, changes, events[-1].at, settings.agents, now):
                break
        ended = {change.operation for change in changes}
        return (*changes, *(change for change in under_way if change.operation not in ended))


def _forbidden(found: Refusal, actor: Actor, source: str, ring: str, now: datetime) -> Forbidden:
    details: dict[str, object] = {"reason_code": found.reason_code, "limit": found.limit, "used": found.used}
    then = ""
    if found.retry_at:
        details["retry_at"] = found.retry_at.isoformat()
        seconds = math.ceil((found.retry_at - now).total_seconds())
        then = f"Ask again at {found.retry_at:%Y-%m-%d %H:%M:%SZ}, in {seconds} s. "
    match found.reason_code:
        case "budget":
            made = f"{found.used} change{'s' if found.used != 1 else ''}"
            said = f"{actor} has made {made} within an hour, and agents may make {found.limit}"
            next_step = f"{then}Rollbacks are not refused; a person can promote: `ring-ctl promote {source} {ring}`."
        case "cooldown":
            row = "the last promotion" if found.used == 1 else f"the last {found.used} promotions"
            said = f"{row} of {actor} went back, so it waits for {found.limit} s"
            next_step = f"{then}Meanwhile read why: `ring-ctl history {ring}` (tools: ring_history, ring_evidence)."
        case "breaker":
            said = (
                f"the last {found.used} promotions into {ring} went back: only people promote into it until one stays"
            )
            next_step = f"Ask a person to look and to run `ring-ctl promote {source} {ring}`."
    return Forbidden(said, next_step, ring=ring, **details)
