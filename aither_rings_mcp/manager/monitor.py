"""The RingMonitor: looks at every running ring, and takes back a release that went bad after it was deployed.

It decides with `domain.watch.judge` and acts through the same operations as every other door: once for each release,
then a person is called. Once a release has settled, the monitor only tells.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress

import anyio

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import MonitorAnswer
from aither_rings_mcp.domain.errors import DockerUnavailable, RingBusy, RingError
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase, Request
from aither_rings_mcp.domain.settings import Unhealthy
from aither_rings_mcp.domain.watch import Call, Judgement, Memory, RingWatch, Sample
from aither_rings_mcp.domain.watch import judge as verdict
from aither_rings_mcp.manager import routes
from aither_rings_mcp.manager.alerts import MONITOR, Alerts
from aither_rings_mcp.manager.drift import moved_tags
from aither_rings_mcp.manager.looks import Looks
from aither_rings_mcp.manager.marks import Marks
from aither_rings_mcp.manager.monitor_views import ring_watch
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.restorer import Restorer
from aither_rings_mcp.manager.settling import Settle, watched
from aither_rings_mcp.manager.way_back import lost_among
from aither_rings_mcp.manager.world import BACKBONE, MONITOR_CLAIM, World
from aither_rings_mcp.ports import Death, OnLine

#: So often an operation is carried on that does not come further; then a person is called.
_TRIES = 3
_SAY_S = 15.0
#: A ring that crash-loops wakes the monitor all the time.
_BREATH_S = 0.1


class Monitor:
    """Watches the rings of one installation. `run` goes on until it is cancelled; `round` is one look at everything."""

    def __init__(self, world: World, operations: Operations, say: OnLine) -> None:
        self._world = world
        self._operations = operations
        self._say = say
        self._rule = world.settings.rollback
        self._quick = min(self._rule.poll, self._rule.suspect_poll)
        remembered = world.memory.load()
        self._watches = dict(remembered.watches)
        self._alerts = Alerts(world, say, remembered.told, self._remember)
        self._alerts.catch_up()
        self._looks = Looks(world, self._alerts)
        self._restorer = Restorer(world, operations, self._alerts, say)
        self._settling: dict[str, Settle] = {}
        self._tries: dict[tuple[str, Phase], int] = {}
        self._woken = anyio.Event()
        #: Until then it looks at the quicker pace: a container has just exited.
        self._closely_until = 0.0
        #: Whether the engine was away since the last round: it may be back already.
        self._engine_left = False
        self._said_at = 0.0

    async def run(self) -> None:
        """Rounds at the rule's pace, and at once when a container of a ring exits. One monitor per installation."""
        with self._only_one():
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen)
                while True:
                    self._woken = anyio.Event()
                    calm = False
                    try:
                        seen = await self.round()
                        # A container that exits is often seen running for a moment more.
                        heard_lately = self._world.clock.monotonic() < self._closely_until
                        calm = not heard_lately and all(ring.call is Call.WELL for ring in seen.rings)
                    except RingError as error:  # a state that cannot be read now may be mended by the next round
                        self._say(f"{error.message}. {error.next_step}")
                        await self._alerts.begin(BACKBONE, "monitor", f"cannot look: {error.message}")
                        await self._alerts.call()
                    else:
                        await self._alerts.tell(BACKBONE, "monitor", None)
                    pace = self._rule.poll if calm else self._quick
                    with anyio.move_on_after(min(pace, self._rule.traffic.poll) if self._settling else pace):
                        await self._woken.wait()
                    await anyio.sleep(_BREATH_S)

    async def once(self) -> MonitorAnswer:
        """A single round, for a timer or a person."""
        with self._only_one():
            return await self.round()

    @contextmanager
    def _only_one(self) -> Generator[None]:
        claim = self._world.claims.take(MONITOR_CLAIM, "monitor")
        if claim is None:
            raise RingBusy("a monitor of these rings runs already", "One is enough: leave it, or stop it first.")
        try:
            yield
        finally:
            claim.release()

    async def _listen(self) -> None:
        """Wakes the rounds when a container of ours exits; without the engine's events, the pace alone does."""
        world = self._world
        ours = {
            world.project(ring, slot)
            for ring in world.settings.runtime_rings
            for slot in world.settings.rings[ring].slots
        }
        if self._world.settings.backbone:
            ours.add(self._world.settings.backbone.project)

        def heard(death: Death) -> None:
            if death.project in ours:
                self._closely_until = self._world.clock.monotonic() + self._rule.dead_for
                self._woken.set()

        while True:
            with suppress(RingError):
                await self._world.deaths.follow(heard)
            try:
                await self._world.engine.facts()
            except RingError:
                self._engine_left = True
                self._woken.set()
            await anyio.sleep(self._quick)

    async def round(self) -> MonitorAnswer:
        """One look at everything: what was left is carried on, every running ring is judged, people are told."""
        left = self._operations.interrupted()
        resumed = await self._carry_on(left)
        state = self._world.state.load()
        # A ring that somebody changes, or that was left half-changed, is its operation's to judge.
        halfway = {op.request.ring for op in left}
        rings = [ring for ring in self._world.settings.runtime_rings if ring not in halfway and await self._free(ring)]
        records = {ring: state.ring(ring) for ring in rings}
        engine_left, self._engine_left = self._engine_left, False
        looks = await self._looks.at(records, engine_left=engine_left)
        self._watches = {ring: watch for ring, watch in self._watches.items() if state.ring(ring).running}
        judgements = self._judged(looks, records)
        for ring, judgement in judgements.items():
            try:
                await self._act(ring, records[ring], judgement)
            except RingError as error:  # one ring's trouble must not keep the others from being looked after
                await self._alerts.begin(ring, "monitor", f"cannot act: {error.message}")
        await self._settle(records)
        with suppress(RingError):
            trouble = await routes.kept(self._world, records, self._say)
            await self._alerts.tell(BACKBONE, "edge", trouble)
        await self._keep_ways_open(records)
        await self._let_heal()
        self._remember()
        await self._alerts.call()
        return self._answer(judgements, resumed)

    async def _settle(self, records: Mapping[str, RingRecord]) -> None:
        """Looks after rings that settle, where whoever brought their release does not any more."""
        settling = [ring for ring, record in records.items() if record.settling and not watched(self._world, ring)]
        self._settling = {
            ring: self._settling.get(ring)
            or Settle(self._world, self._operations, self._restorer, self._looks, self._say)
            for ring in settling
        }
        for ring, settle in self._settling.items():
            await settle.look(ring, probing=False)

    def _remember(self) -> None:
        with suppress(RingError):  # a full disk does not blind the monitor: it goes by what it knows
            self._world.memory.save(Memory(watches=self._watches, told=self._alerts.told))

    async def _let_heal(self) -> None:
        """A healer that somebody suspended and left so goes on, unless a ring is changing over right now."""
        with suppress(RingError):
            if not any(self._world.claims.holder(ring) for ring in self._world.settings.runtime_rings):
                await self._world.healer.resume()

    # -- what was left

    async def _carry_on(self, left: Sequence[Operation]) -> list[str]:
        """Operations whose worker died go on; one that does not come further is left for a person."""
        resumed: list[str] = []
        for op in left:
            with suppress(RingError):
                await self._world.engine.facts()
                tries = self._tries.get((op.id, op.phase), 0)
                if tries < _TRIES and self._operations.resume(op):
                    self._tries[op.id, op.phase] = tries + 1
                    self._say(f"{op.id} was interrupted while {op.phase}: carrying it on")
                    resumed.append(op.id)
        hopeless = [op for op in left if op.id not in resumed and self._tries.get((op.id, op.phase), 0) >= _TRIES]
        for op in hopeless:
            said = f"{op.id} was carried on {_TRIES} times and does not get past {op.phase}"
            await self._alerts.tell(op.request.ring, "interrupted", said)
        for ring in {*self._world.settings.rings, BACKBONE} - {op.request.ring for op in hopeless}:
            await self._alerts.tell(ring, "interrupted", None)
        return resumed

    async def _free(self, ring: str) -> bool:
        try:
            holder = self._world.claims.holder(ring)
        except RingBusy as error:  # nobody can tell who it was: it counts as taken, and a person is told
            await self._alerts.tell(ring, "claim", error.message)
            return False
        await self._alerts.tell(ring, "claim", None)
        return holder is None

    async def _keep_ways_open(self, records: Mapping[str, RingRecord]) -> None:
        """Pins that somebody removed come back; what can no longer be gone back to is told, as is a moved tag."""
        marks = Marks(self._world, self._say)
        try:
            images = await self._world.engine.images()
            await marks.repair(images.ids)
            await marks.stand(images.ids)
        except DockerUnavailable:  # without an engine there is nothing to keep
            return None
        except RingError as error:
            return await self._alerts.begin(BACKBONE, "pins", f"the ways back cannot be pinned: {error.message}")
        await self._alerts.tell(BACKBONE, "pins", None)
        for ring, record in records.items():
            lost = lost_among(self._world, images.ids, record)
            gone = [way for way in policy.ways_back(record) if way.release in lost]
            said = f"no way back any more to {', '.join(f'{way.tag} ({way.release})' for way in gone)}: images are gone"
            if gone and not policy.open_ways(record, lost):
                said += "; none is left"
            await self._alerts.tell(ring, "way_back", said if gone else None)
            await self._alerts.tell(ring, "tags", moved_tags(self._world, ring, record, images.names))
        return None

    # -- judging

    def _judged(self, looks: Mapping[str, Sample], records: Mapping[str, RingRecord]) -> dict[str, Judgement]:
        """Each ring's verdict with its newest look; what another ring suffers too is not its release's fault."""
        watches = {
            ring: self._watches.get(ring, RingWatch()).seen(str(records[ring].release), look, self._rule)
            for ring, look in looks.items()
        }
        # A ring that has another excuse than this is no control group.
        onsets = {
            ring: watch.onset(self._rule) if looks[ring].excuse is None else None for ring, watch in watches.items()
        }
        for ring, watch in watches.items():
            also = [other for other in onsets if other != ring and self._together(onsets[ring], onsets[other])]
            if also:
                watch = watch.excused(f"{' and '.join(also)} went bad together with {ring}")
            self._watches[ring] = watch
        return {ring: verdict(self._watches[ring].samples, self._rule) for ring in looks}

    def _together(self, one: float | None, other: float | None) -> bool:
        return one is not None and other is not None and abs(one - other) <= self._rule.together

    async def _act(self, ring: str, judged: RingRecord, judgement: Judgement) -> None:
        record = self._world.state.load().ring(ring)
        if (record.release, record.deployed_at) != (judged.release, judged.deployed_at):
            return  # another release came since the look
        await self._alerts.tell(ring, "stuck", record.stuck)
        match judgement.call:
            case Call.HELD if self._engine_stopped_it(ring):
                await self._alerts.begin(ring, "held", str(judgement.reason))
                self._bring_up(ring, record, judgement)
            case Call.HELD if judgement.since is not None:
                await self._alerts.begin(ring, "held", f"unhealthy, but held: {judgement.reason}")
            case Call.CONDEMNED if record.stuck:
                pass  # a person was called already
            case Call.CONDEMNED if self._to_restore(ring, record, judgement):
                await self._restorer.restore(ring, record, str(judgement.reason))
            case Call.CONDEMNED:
                await self._alerts.begin(ring, "unhealthy", str(judgement.reason))
            case Call.SUSPECT:
                self._say_now_and_then(f"{ring}: {judgement.reason}", judgement.bad_for)
            case Call.WELL:
                for topic in ("held", "unhealthy", "monitor"):
                    await self._alerts.tell(ring, topic, None)
            case _:
                pass

    def _say_now_and_then(self, what: str, bad_for: float) -> None:
        """When it begins, and each quarter of a minute as long as it lasts."""
        if bad_for == 0 or self._world.clock.monotonic() - self._said_at >= _SAY_S:
            self._say(f"{what}, for {bad_for:.0f} s")
            self._said_at = self._world.clock.monotonic()

    def _engine_stopped_it(self, ring: str) -> bool:
        latest = self._watches[ring].samples[-1]
        return latest.engine_left and bool(latest.dead)

    def _bring_up(self, ring: str, record: RingRecord, judgement: Judgement) -> None:
        """What ran until the engine went runs again: once, as it may be the engine that is not well."""
        request = Request(kind=Kind.UP, ring=ring, reason=judgement.reason)
        try:
            op = self._operations.start(request, MONITOR, f"up {ring} {record.release} {judgement.since}")
        except RingBusy as error:
            return self._say(f"{ring}: {error.message}; looking again")
        return self._say(f"{ring}: {judgement.reason}; {op.id} starts it again")

    def _to_restore(self, ring: str, record: RingRecord, judgement: Judgement) -> bool:
        """Whether the trouble began while the release still had to prove itself, in a ring that takes releases back."""
        settings = self._world.settings.rings[ring]
        if record.deployed_at is None or settings.on_unhealthy is Unhealthy.KEEP:
            return False
        return judgement.since is not None and judgement.since < record.deployed_at.timestamp() + self._rule.settle

    # -- telling

    def _answer(self, judgements: dict[str, Judgement], resumed: Sequence[str]) -> MonitorAnswer:
        state, now = self._world.state.load(), self._world.clock.now()
        views = tuple(ring_watch(self._world, ring, state.ring(ring), j) for ring, j in judgements.items())
        bad = [view.ring for view in views if view.call is not Call.WELL]
        parts = [f"{len(views)} rings looked at", f"not well: {', '.join(bad)}" if bad else "all well"]
        if resumed:
            parts.append(f"carrying on {', '.join(resumed)}")
        return MonitorAnswer(
            ok=not bad and not self._alerts.told,
            summary="; ".join(parts) + ".",
            as_of=now,
            rings=views,
            alerts=tuple(f"{key}: {told.said}" for key, told in sorted(self._alerts.told.items())),
            resumed=tuple(resumed),
        )
