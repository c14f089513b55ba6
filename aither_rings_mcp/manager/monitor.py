"""The RingMonitor: looks at every running ring, and takes back a release that went bad after it was deployed.

It decides with `domain.watch.judge` and acts through the same operations as every other door: once for each release,
then a person is called. Once a release has settled, the monitor only tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import anyio

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import MonitorAnswer, MonitorView, RingWatchView
from aither_rings_mcp.domain.errors import NoRollbackTarget, RingBusy, RingError
from aither_rings_mcp.domain.health import ContainerView, ServiceState
from aither_rings_mcp.domain.model import Actor, Event, RingRecord
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase, Request
from aither_rings_mcp.domain.settings import Unhealthy
from aither_rings_mcp.domain.watch import Call, Judgement, Memory, RingWatch, Sample
from aither_rings_mcp.domain.watch import judge as verdict
from aither_rings_mcp.manager.drift import drift
from aither_rings_mcp.manager.observer import judge
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.world import BACKBONE, MONITOR_CLAIM, World
from aither_rings_mcp.ports import OnLine

MONITOR = Actor(name="ring-monitor", kind="monitor", door="monitor")
_DEAD = frozenset({ServiceState.EXITED, ServiceState.RESTARTING})
#: So often an operation is carried on that does not come further; then a person is called.
_TRIES = 3


class Monitor:
    """Watches the rings of one installation. `run` goes on until it is cancelled; `round` is one look at everything."""

    def __init__(self, world: World, operations: Operations, say: OnLine) -> None:
        self._world = world
        self._operations = operations
        self._say = say
        self._rule = world.settings.rollback
        self._quick = min(self._rule.poll, self._rule.suspect_poll)
        self._memory = Memory()
        self._tries: dict[tuple[str, Phase], int] = {}
        self._woken = anyio.Event()

    async def run(self) -> None:
        """Rounds at the rule's pace, and at once when a container of a ring exits. One monitor per installation."""
        claim = self._world.claims.take(MONITOR_CLAIM, "monitor")
        if claim is None:
            raise RingBusy("a monitor of these rings runs already", "One is enough: leave it, or stop it first.")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen)
                while True:
                    self._woken = anyio.Event()
                    calm = False
                    try:
                        seen = await self.round()
                        calm = all(ring.call is Call.WELL for ring in seen.rings)
                    except RingError as error:  # a state that cannot be read now may be mended by the next round
                        self._say(f"{error.message}. {error.next_step}")
                    with anyio.move_on_after(self._rule.poll if calm else self._quick):
                        await self._woken.wait()
        finally:
            claim.release()

    async def _listen(self) -> None:
        """Wakes the rounds when a container of ours exits; without the engine's events, the pace alone does."""
        ours = {self._world.project(ring) for ring in self._world.settings.runtime_rings}
        if self._world.settings.backbone:
            ours.add(self._world.settings.backbone.project)

        def heard(project: str) -> None:
            if project in ours:
                self._woken.set()

        while True:
            with suppress(RingError):
                await self._world.deaths.follow(heard)
            await anyio.sleep(self._quick)

    async def round(self) -> MonitorAnswer:
        """One look at everything: what was left is carried on, every running ring is judged, people are told."""
        self._memory = self._world.memory.load()
        left = self._operations.interrupted()
        resumed = await self._carry_on(left)
        state = self._world.state.load()
        # A ring that somebody changes, or that was left half-changed, is its operation's to judge.
        halfway = {op.request.ring for op in left}
        rings = [ring for ring in self._world.settings.runtime_rings if ring not in halfway and await self._free(ring)]
        looks = await self._looks({ring: state.ring(ring) for ring in rings})
        judgements = {ring: self._judged(ring, looks) for ring in looks}
        for ring, judgement in judgements.items():
            await self._act(ring, judgement)
        if len(rings) == len(self._world.settings.runtime_rings):
            with suppress(RingError):
                await self._world.healer.resume()  # whoever suspended it may have died
        with suppress(RingError):  # a full disk must not blind the monitor: it judges by what it saw anew
            self._world.memory.save(self._memory)
        return self._answer(judgements, resumed)

    # -- what was left

    async def _carry_on(self, left: Sequence[Operation]) -> list[str]:
        """Operations whose worker died go on; one that does not come further is left for a person."""
        resumed: list[str] = []
        for op in left:
            with suppress(RingError):
                await self._world.engine.facts()
                tries = self._tries[op.id, op.phase] = self._tries.get((op.id, op.phase), 0) + 1
                if tries > _TRIES:
                    continue
                if self._operations.resume(op):
                    self._say(f"{op.id} was interrupted while {op.phase}: carrying it on")
                    resumed.append(op.id)
        hopeless = [op for op in left if self._tries.get((op.id, op.phase), 0) > _TRIES]
        for op in hopeless:
            said = f"{op.id} was carried on {_TRIES} times and does not get past {op.phase}"
            await self._tell(op.request.ring, "interrupted", said)
        for ring in {*self._world.settings.rings, BACKBONE} - {op.request.ring for op in hopeless}:
            await self._tell(ring, "interrupted", None)
        return resumed

    async def _free(self, ring: str) -> bool:
        try:
            holder = self._world.claims.holder(ring)
        except RingBusy as error:  # nobody can tell who it was: it counts as taken, and a person is told
            await self._tell(ring, "claim", error.message)
            return False
        await self._tell(ring, "claim", None)
        return holder is None

    # -- looking

    async def _looks(self, records: Mapping[str, RingRecord]) -> dict[str, Sample]:
        """One sample of each ring that runs; drift is told on the way."""
        backbone = await self._backbone()
        looks: dict[str, Sample] = {}
        for ring, record in records.items():
            try:
                containers = await self._world.engine.containers(self._world.project(ring))
            except RingError as error:
                looks[ring] = Sample(at=self._world.clock.now().timestamp(), excuse=error.message)
                continue
            drifted = drift(self._world, record, containers)
            await self._tell(ring, "drift", drifted)
            if record.running:
                looks[ring] = await self._sample(containers, backbone or drifted)
        return looks

    async def _backbone(self) -> str | None:
        """What is wrong with the backbone, told when it begins and when it ends."""
        backbone = self._world.settings.backbone
        if backbone is None:
            return None
        try:
            containers = await self._world.engine.containers(backbone.project)
        except RingError:
            return None
        unwell = sorted(c.service for c in containers if not _well(c) and c.service != backbone.healer)
        said = f"the backbone is not well: {', '.join(unwell)}" if unwell else None
        if not containers:
            said = "the backbone is down"
        needed = any(self._world.state.load().ring(ring).running for ring in self._world.settings.runtime_rings)
        await self._tell(BACKBONE, "backbone", said if needed else None)
        return said

    async def _sample(self, containers: Sequence[ContainerView], excuse: str | None) -> Sample:
        there = {container.service for container in containers}
        critical = [name for name in self._world.settings.critical if name in there]
        seen = await judge(self._world, containers, critical)
        return Sample(
            at=self._world.clock.now().timestamp(),
            critical=len(critical),
            unhealthy=tuple(sorted(service.name for service in seen if not service.healthy)),
            dead=tuple(sorted(service.name for service in seen if service.state in _DEAD)),
            restarts={service.name: service.restarts for service in seen},
            excuse=excuse,
        )

    # -- judging

    def _judged(self, ring: str, looks: dict[str, Sample]) -> Judgement:
        """The ring's verdict with its newest look; what the other rings suffer too is not its release's fault."""
        state = self._world.state.load()
        watch = self._watch(ring).seen(str(state.ring(ring).release), looks[ring], self._rule)
        since = watch.onset(self._rule)
        for other in looks:
            began = self._watch(other).seen(str(state.ring(other).release), looks[other], self._rule).onset(self._rule)
            if other != ring and since is not None and began is not None and abs(began - since) <= self._rule.together:
                excuse = watch.samples[-1].excuse or f"{other} went bad together with {ring}"
                excused = watch.samples[-1].model_copy(update={"excuse": excuse})
                watch = watch.model_copy(update={"samples": (*watch.samples[:-1], excused)})
        self._memory = self._memory.model_copy(update={"watches": {**self._memory.watches, ring: watch}})
        return verdict(watch.samples, self._rule)

    def _watch(self, ring: str) -> RingWatch:
        return self._memory.watches.get(ring, RingWatch())

    async def _act(self, ring: str, judgement: Judgement) -> None:
        record = self._world.state.load().ring(ring)
        match judgement.call:
            case Call.HELD:
                await self._tell(ring, "held", f"unhealthy, but held: {judgement.reason}")
            case Call.CONDEMNED if record.stuck:
                pass  # a person was called already
            case Call.CONDEMNED if self._to_restore(ring, record, judgement):
                await self._restore(ring, record, str(judgement.reason))
            case Call.CONDEMNED:
                await self._tell(ring, "unhealthy", str(judgement.reason))
            case Call.SUSPECT:
                self._say(f"{ring}: {judgement.reason}, for {judgement.bad_for:.0f} s")
            case Call.WELL:
                await self._tell(ring, "held", None)
                await self._tell(ring, "unhealthy", None)

    def _to_restore(self, ring: str, record: RingRecord, judgement: Judgement) -> bool:
        """Whether the trouble began while the release still had to prove itself, in a ring that takes releases back."""
        settings = self._world.settings.rings[ring]
        if record.deployed_at is None or settings.on_unhealthy is Unhealthy.KEEP:
            return False
        return judgement.since is not None and judgement.since < record.deployed_at.timestamp() + self._rule.settle

    # -- acting

    async def _restore(self, ring: str, record: RingRecord, why: str) -> None:
        """One automatic restore for each release, and none from what came by going back: then a person is called."""
        if record.returned:
            return await self._stick(ring, f"{record.release} came by going back, and is bad too: {why}")
        if record.release in record.taken_back:
            return await self._stick(ring, f"{record.release} was taken back before, and is bad again: {why}")
        try:
            choice = policy.rollback_choice(record, ring)
            policy.check_crosses_nothing(record, ring, choice.release, MONITOR)
            request = Request(kind=Kind.ROLLBACK, ring=ring, release=choice.release, reason=why)
            op = self._operations.start(request, MONITOR, f"restore {ring} {record.release} {record.deployed_at}")
        except NoRollbackTarget as error:
            return await self._stick(ring, f"{why}; {error.message}")
        except RingBusy as error:
            return self._say(f"{ring}: {error.message}; looking again")
        # It may be the one of a round before, which came to nothing: a second one is a person's to start.
        if op.final and op.phase is not Phase.DONE:
            return await self._stick(ring, f"{why}; {op.id} could not take it back")
        self._say(f"{ring}: {why}; {op.id} takes it back to {choice.release}")
        return None

    async def _stick(self, ring: str, why: str) -> None:
        """Nothing automatic happens to this ring any more."""
        with self._world.claims.state_lock():
            state = self._world.state.load()
            record = state.ring(ring).model_copy(update={"stuck": f"monitor: {why}"})
            self._world.state.save(state.with_ring(ring, record))
        await self._alert(ring, "stuck", why)

    async def _tell(self, ring: str, topic: str, said: str | None) -> None:
        """An alert where something begins or changes, and one when it is over; in between, silence."""
        key = f"{ring} {topic}"
        before = self._memory.told.get(key)
        if said == before:
            return
        told = {name: text for name, text in self._memory.told.items() if name != key}
        if said is not None:
            told[key] = said
        self._memory = self._memory.model_copy(update={"told": told})
        await self._alert(ring, topic if said else f"{topic}_over", said or f"over: {before}")

    async def _alert(self, ring: str, outcome: str, detail: str) -> None:
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
        with suppress(RingError):
            self._world.history.append(event)
        await self._world.alarm.call(event)

    # -- telling

    def _answer(self, judgements: dict[str, Judgement], resumed: Sequence[str]) -> MonitorAnswer:
        state, now = self._world.state.load(), self._world.clock.now()
        views = tuple(_view(self._world, ring, state.ring(ring), j) for ring, j in judgements.items())
        bad = [view.ring for view in views if view.call is not Call.WELL]
        parts = [f"{len(views)} rings looked at", f"not well: {', '.join(bad)}" if bad else "all well"]
        if resumed:
            parts.append(f"carrying on {', '.join(resumed)}")
        return MonitorAnswer(
            ok=not bad and not self._memory.told,
            summary="; ".join(parts) + ".",
            as_of=now,
            rings=views,
            alerts=tuple(f"{key}: {said}" for key, said in sorted(self._memory.told.items())),
            resumed=tuple(resumed),
        )


def _well(container: ContainerView) -> bool:
    return container.status == "running" and container.health in {None, "healthy"}


def watched(world: World, ring: str) -> MonitorView:
    """What the monitor makes of a ring, for whoever asks meanwhile; from what it last wrote down."""
    record, rule = world.state.load().ring(ring), world.settings.rollback
    restores = world.settings.rings[ring].on_unhealthy is Unhealthy.RESTORE
    if world.claims.holder(MONITOR_CLAIM) is None or not record.running or not restores or record.stuck:
        return MonitorView(armed=False)
    watch = world.memory.load().watches.get(ring, RingWatch())
    samples = watch.samples if watch.release == record.release else ()
    view = _view(world, ring, record, verdict(samples, rule))
    return MonitorView(armed=True, **view.model_dump(exclude={"ring", "call"}))


def settling_until(world: World, record: RingRecord) -> datetime | None:
    """Until when the ring's release has to prove itself; None when it has."""
    if record.deployed_at is None or not record.running:
        return None
    until = record.deployed_at + timedelta(seconds=world.settings.rollback.settle)
    return until if until > world.clock.now() else None


def _view(world: World, ring: str, record: RingRecord, judgement: Judgement) -> RingWatchView:
    until = settling_until(world, record)
    counts = judgement.call is Call.SUSPECT and judgement.left is not None and until
    return RingWatchView(
        ring=ring,
        call=judgement.call,
        reason=judgement.reason,
        unhealthy_for_s=round(judgement.bad_for, 1) if judgement.since else None,
        rollback_in_s=round(judgement.left or 0.0, 1) if counts else None,
        settling_until=until,
    )
