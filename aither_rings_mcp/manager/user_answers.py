"""What the users of a ring get from a release that has to prove itself with them, judged look by look."""

from __future__ import annotations

import math
from contextlib import suppress

from aither_rings_mcp.domain.errors import EngineFailure, RingError
from aither_rings_mcp.domain.model import RingRecord, Settling
from aither_rings_mcp.domain.slots import Traffic
from aither_rings_mcp.domain.traffic import Meter, Verdict
from aither_rings_mcp.manager import backbone
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


class UserAnswers:
    """The edge's counters of one ring; what was counted is kept from look to look."""

    def __init__(self, world: World, say: OnLine) -> None:
        self._world = world
        self._say = say
        self._meter: Meter | None = None
        self._of: tuple[str | None, object] = (None, None)
        self._held_until = -math.inf

    @property
    def requests(self) -> int | None:
        """How many came while it looked; None before the first look."""
        return self._meter.requests if self._meter else None

    async def bad(self, ring: str, record: RingRecord, settling: Settling) -> str | None:
        """What condemns the recorded release by now; None when nothing does."""
        clock, rule = self._world.clock, self._world.settings.rollback.traffic
        if (record.release, record.deployed_at) != self._of:
            self._of, self._meter = (record.release, record.deployed_at), None
        now = clock.monotonic()
        try:
            unknown = self._meter is None and settling.before_users is None
            if unknown and await self._world.edge.unreached(ring, record.slot):
                return None
            counted = (await self._world.edge.traffic(ring)).get(record.slot, Traffic())
        except EngineFailure:  # it is the backbone's trouble, and told as that
            self._hold(now)
            return None
        if self._meter and counted.requests < self._meter.raw.requests:
            self._hold(now)  # the edge starts anew, and maybe not alone
        if now < self._held_until:
            self._meter = Meter.started(now, counted)
            return None
        before = counted if settling.before_users is None else settling.before_users
        self._meter = (self._meter or Meter.started(now, before)).seen(now, counted, rule)
        judged = self._meter.judged(rule, settling.baseline)
        if judged.verdict is not Verdict.BAD:
            return None
        if excuse := await backbone.trouble(self._world):
            self._say(f"{ring}: {judged.reason}, but held: {excuse}")
            self._hold(now)
            return None
        return judged.reason

    async def first_bad(self, ring: str, record: RingRecord, settling: Settling) -> str:
        """Looks until something condemns it."""
        while True:
            with suppress(RingError):  # it may pass, and nothing but this look depends on it
                if why := await self.bad(ring, record, settling):
                    return why
            await self._world.clock.sleep(self._world.settings.rollback.traffic.poll)

    def _hold(self, now: float) -> None:
        """Nobody can tell whose fault it is, and once that is over services need their whole time."""
        self._held_until = now + self._world.settings.limits.healthy
