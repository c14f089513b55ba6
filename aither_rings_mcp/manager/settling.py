"""The time in which a release that came by way of the other slot has to prove itself with its users.

Whoever brought it watches it, in the worker's process; a monitor does where that died. What users get answers of is
judged by the edge's counters, within seconds; the slot before waits, and takes over again in one step.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from datetime import timedelta

from aither_rings_mcp.domain.errors import EngineFailure, RingBusy, RingError, StateUnreadable
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.rollout import BEFORE_EFFECT, Kind, Operation, Phase, Request
from aither_rings_mcp.domain.watch import Call, RingWatch, judge
from aither_rings_mcp.manager.alerts import MONITOR, Alerts
from aither_rings_mcp.manager.looks import Looks
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.restorer import Restorer
from aither_rings_mcp.manager.user_answers import UserAnswers
from aither_rings_mcp.manager.world import MONITOR_CLAIM, World
from aither_rings_mcp.ports import OnLine

#: So often an operation is carried on that does not come further.
_TRIES = 3


class Settle:
    """Watches one ring settle. `look` is one look; what it counted is kept from look to look."""

    def __init__(self, world: World, operations: Operations, restorer: Restorer, looks: Looks, say: OnLine) -> None:
        self._world = world
        self._operations = operations
        self._restorer = restorer
        self._looks = looks
        self._say = say
        self._answers = UserAnswers(world, say)
        self._watch = RingWatch()
        self._looked_at = -math.inf

    async def look(self, ring: str, *, probing: bool) -> bool:
        """Judges the release by its answers; False once there is nothing to watch any more. `probing`: and by its
        probes, as nobody else looks at them.
        """
        world = self._world
        record = world.state.load().ring(ring)
        settling = record.settling
        if settling is None or record.stuck or not record.running:
            return False
        over, holder = world.clock.now() >= settling.until, world.claims.holder(ring)
        if over:
            return True if holder else await self._retire(ring, record)
        why = await self._answers.bad(ring, record, settling)
        if holder:
            if why:
                self._make_way(holder, why)
            return True
        if why is None and probing:
            why = await self._bad_health(ring, record)
        if why:
            await self._restorer.restore(ring, record, why)
        return True

    def _make_way(self, operation_id: str, why: str) -> None:
        """Users do not wait for what is still at its gates. Once something that runs is touched, what comes of that is
        to be seen.
        """
        with suppress(RingError):  # what holds the ring may be no operation
            op = self._world.journals.load(operation_id)
            if op.request.kind in {Kind.PROMOTE, Kind.DEPLOY} and op.phase in BEFORE_EFFECT:
                reason = f"what runs in {op.request.ring} has to be taken back first: {why}"
                self._world.journals.ask_to_cancel(op.id, str(MONITOR), reason)

    async def _bad_health(self, ring: str, record: RingRecord) -> str | None:
        rule, now = self._world.settings.rollback, self._world.clock.monotonic()
        if now - self._looked_at < rule.suspect_poll:
            return None
        self._looked_at = now
        sample = (await self._looks.at({ring: record}, engine_left=False)).get(ring)
        if sample is None:
            return None
        self._watch = self._watch.seen(str(record.release), sample, rule)
        judgement = judge(self._watch.samples, rule)
        return judgement.reason if judgement.call is Call.CONDEMNED else None

    async def _retire(self, ring: str, record: RingRecord) -> bool:
        """It has settled: an operation of its own stops what waited, once nobody is connected to it any more."""
        if await _still_open(self._world, ring, record):
            return True
        rule, came = self._world.settings.rollback.traffic, self._answers.requests
        if came is not None and came < rule.requests and record.settling and record.settling.release:
            self._say(f"{ring}: {came} requests came while it settled: probes alone decided")
        try:
            op = _settled(self._operations, ring, record)
        except RingBusy:
            return True
        self._say(f"{ring} has settled; {op.id} stops what waited in the other slot")
        return False


async def watch(world: World, operations: Operations, ring: str, say: OnLine) -> None:
    """Watches a ring until it has settled, unless somebody does already."""
    claim = world.claims.take(_claim(ring), "settling")
    if claim is None:
        return
    # a release with bad answers is not to stay for as long as an interpreter needs to start on a busy machine
    world.workers.expect()
    alerts = Alerts(world, say, {}, lambda: None)
    settle = Settle(world, operations, Restorer(world, operations, alerts, say), Looks(world, alerts), say)
    tried = Counter[tuple[str, str]]()
    try:
        while True:
            try:
                if world.claims.holder(MONITOR_CLAIM) is None:
                    _carry_on(operations, ring, tried)
                if not await settle.look(ring, probing=world.claims.holder(MONITOR_CLAIM) is None):
                    return
            except RingError as error:  # a full disk, an engine that is away: it may pass
                say(f"{error.message}; looking again")
            await alerts.call()
            await world.clock.sleep(world.settings.rollback.traffic.poll)
    finally:
        claim.release()


def _carry_on(operations: Operations, ring: str, tried: Counter[tuple[str, str]]) -> None:
    """What takes this release back is carried on where its worker died, and nobody else is there to see it."""
    for op in operations.interrupted():
        if op.request.ring == ring and tried[op.id, op.phase] < _TRIES:
            tried[op.id, op.phase] += 1
            operations.resume(op)


async def _still_open(world: World, ring: str, record: RingRecord) -> bool:
    """Whether connections to the slot that waits are open, and have time left."""
    drain = world.settings.edge.drain if world.settings.edge else 0.0
    if record.settling is None or world.clock.now() >= record.settling.until + timedelta(seconds=drain):
        return False
    try:
        return await world.edge.open(ring, record.slot.other) > 0
    except EngineFailure:  # nobody is connected by way of an edge that is away
        return False


async def overdue(world: World, operations: Operations) -> tuple[Operation, ...]:
    """Starts what is left to do of rings that have settled while nobody watched them."""
    try:
        state = world.state.load()
    except StateUnreadable:  # told by whoever needs it
        return ()
    records = {ring: state.ring(ring) for ring in world.settings.runtime_rings}
    started: list[Operation] = []
    for ring, record in records.items():
        over = record.settling and record.settling.until <= world.clock.now() and not record.stuck
        if over and not watched(world, ring) and not await _still_open(world, ring, record):
            with suppress(RingBusy):
                started.append(_settled(operations, ring, record))
    return tuple(started)


def _settled(operations: Operations, ring: str, record: RingRecord) -> Operation:
    """The one operation that stops what waited in the other slot."""
    request = Request(kind=Kind.SETTLE, ring=ring, release=record.release)
    key = f"settle {ring} {record.release} {record.deployed_at}"
    while True:
        op = operations.start(request, MONITOR, key)
        if not op.final or op.phase is Phase.DONE:
            return op
        key += " again"


def watched(world: World, ring: str) -> bool:
    """Whether somebody watches this ring settle."""
    return world.claims.holder(_claim(ring)) is not None


def _claim(ring: str) -> str:
    # no ring can have this name
    return f"_settle-{ring}"
