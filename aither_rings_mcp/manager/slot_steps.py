"""The effects of a rollout with two slots: the new release comes up beside the one that serves, proves itself without
users, gets them in one step of the edge, and what served before waits. Every effect may be repeated.
"""

from __future__ import annotations

from datetime import timedelta

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import Verification
from aither_rings_mcp.domain.errors import DockerUnavailable, EngineFailure, RingError
from aither_rings_mcp.domain.health import ServiceState
from aither_rings_mcp.domain.model import Release, RingRecord, Settling
from aither_rings_mcp.domain.rollout import Kind, Operation, Signal, release_of
from aither_rings_mcp.domain.settings import Strategy
from aither_rings_mcp.domain.slots import Route, Slot, Traffic
from aither_rings_mcp.domain.traffic import Meter, Verdict, since
from aither_rings_mcp.domain.verdict import Verdict as GateVerdict
from aither_rings_mcp.domain.verdict import blocking
from aither_rings_mcp.manager import hooks, observer
from aither_rings_mcp.manager.drain import Drain
from aither_rings_mcp.manager.evidence import Collector
from aither_rings_mcp.manager.gating import examine_in
from aither_rings_mcp.manager.marks import Marks
from aither_rings_mcp.manager.planning import run_file
from aither_rings_mcp.manager.preparation import Moved
from aither_rings_mcp.manager.rolling import Rolling
from aither_rings_mcp.manager.trial import verified
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

#: Gates that ask the release itself: they are asked again of the slot that its users will get.
_ASKS_THE_RELEASE = "smoke_tests"


class SlotSteps:
    """One method per phase, as in `Steps`."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._marks = Marks(world, on_line)
        self._evidence = Collector(world, on_line)
        self._edge = Drain(world, on_line)
        self._rolling = Rolling(world, on_line)
        #: The releases that this worker brought up, and saw prove itself, on an engine that has been there since.
        self._up: str | None = None
        self._proved: str | None = None

    def forget(self) -> None:
        """The engine was away: what ran before may not run any more."""
        self._up = self._proved = None

    async def back_at_once(self, op: Operation, record: RingRecord) -> Operation | None:
        """The rollback as it goes when what is gone back to runs in the other slot, and is well; else None."""
        ring, other = op.request.ring, record.slot.other
        settings = self._world.settings.rings[ring]
        if settings.green is None or not record.running or record.stuck:
            return None
        choice = policy.rollback_choice(record, ring, op.request.tag, op.request.release)
        policy.check_crosses_nothing(record, ring, choice.release, op.actor)
        release = self._world.releases.load(choice.release)
        containers = await self._world.engine.containers(self._world.project(ring, other))
        if not observer.made_for(containers, release):
            return None
        health = await observer.judge(self._world, containers, self._world.services_of(release))
        if not all(service.healthy for service in health):
            return None
        self._proved = release.id
        seen = Verification(images_match=True, healthy=len(health), total=len(health))
        await hooks.run_or_say(self._world, op, "pre_rollback", self._say, to=release.id)
        return op.model_copy(
            update={
                "release": release,
                "beside": True,
                "strategy": Strategy.BLUE_GREEN,
                "slot": other,
                "verification": seen.model_dump(exclude_none=True),
            }
        )

    async def start(self, op: Operation) -> Moved:
        """Brings the release up in its slot; what was left there of an earlier one goes first."""
        world, ring, release, slot = self._world, op.request.ring, release_of(op), _slot(op)
        project = world.project(ring, slot)
        try:
            # Whatever the edge does now: nobody shall meet what has not proved itself yet.
            await world.edge.route(ring, Route(slot=slot.other))
            there = await world.engine.listed(project)
            if there and not observer.made_for(there, release):
                # The release before may not have settled yet: what is open to this slot has its time all the same.
                await self._edge.wait(ring, slot)
                await world.compose.down(project, self._say)
            await self._run(op)
        except DockerUnavailable:
            raise
        except RingError as error:
            return await self._came_to_nothing(op, Signal.ERROR, error)
        return Signal.OK, op.model_copy(update={"baseline": (await self._edge.traffic(ring)).get(slot.other)})

    async def prove(self, op: Operation) -> Moved:
        """Whether the release proves itself where its users will meet it, before they do."""
        world, ring, release = self._world, op.request.ring, release_of(op)
        project = world.project(ring, _slot(op))
        came_back = op.request.kind is Kind.ROLLBACK
        try:
            if self._up != release.id:
                await self._run(op)
        except DockerUnavailable:
            raise
        except EngineFailure as error:
            return await self._came_to_nothing(op, Signal.UNHEALTHY, error)
        seen = await verified(world, project, release, self._say, fresh=not came_back)
        # What cannot be measured is not the release's fault: it does not come, and is not condemned.
        unmeasured = await self._edge.unreached(ring, _slot(op)) if seen.reason is None else None
        if seen.reason is None and unmeasured is None and not came_back:
            op, why, unmeasured = await self._smoke_tested(op, project)
            seen = seen.model_copy(update={"reason": why})
        op = op.model_copy(update={"verification": seen.model_dump(exclude_none=True)})
        if unmeasured:
            next_step = "Look at the operation's log, mend what it names, then ask again."
            return await self._came_to_nothing(op, Signal.UNHEALTHY, EngineFailure(unmeasured, next_step))
        if seen.reason:
            stays = f"going back to {release.id} failed: {seen.reason}; {ring} stays on {op.previous}"
            return await self._came_to_nothing(op, Signal.UNHEALTHY, EngineFailure(stays, "Choose another release."))
        self._proved = release.id
        shares = world.settings.rings[ring].canary and self._record(op).running and not came_back
        return (Signal.SHARE if shares else Signal.OK), op

    async def canary(self, op: Operation) -> Moved:
        """Gives the release a growing share of the requests, each judged by its answers before the next."""
        world, ring, slot = self._world, op.request.ring, _slot(op)
        canary = world.settings.rings[ring].canary
        await self._nobody_there(op)
        if failure := await self._no_longer(op):
            return Signal.UNHEALTHY, op.failed(failure)
        for share in [step for step in canary.steps if step < 100] if canary else []:
            self._say(f"{share:g} % of the requests go to {slot}")
            await world.edge.route(ring, Route(slot=slot.other, canary=share))
            if why := await self._judged_for(canary.hold if canary else 0, op):
                reason = f"with {share:g} % of the requests: {why}"
                return Signal.UNHEALTHY, op.model_copy(update={"verification": {**op.verification, "reason": reason}})
        return Signal.OK, op

    async def _judged_for(self, hold: float, op: Operation) -> str | None:
        """What is wrong with the answers of the new slot within so many seconds; None when nothing is."""
        world, ring, slot, rule = self._world, op.request.ring, _slot(op), self._world.settings.rollback.traffic
        clock = world.clock
        start = await self._edge.traffic(ring)
        began = clock.monotonic()
        meter = Meter.started(began, start.get(slot, Traffic()))
        while (now := clock.monotonic()) < began + hold:
            await clock.sleep(min(rule.poll, began + hold - now))
            counted = await self._edge.traffic(ring)
            if not counted:
                continue
            meter = meter.seen(clock.monotonic(), counted[slot], rule)
            # at the same time, by the same users: no better measure than the slot beside it
            baseline = since(start.get(slot.other, Traffic()), counted[slot.other])
            judged = meter.judged(rule, baseline)
            if judged.verdict is Verdict.BAD:
                return judged.reason
        if meter.requests < rule.requests:
            self._say(f"{meter.requests} requests came, too few to judge by: probes decide")
        project, release = world.project(ring, slot), release_of(op)
        health = await observer.look(world, project, world.services_of(release))
        if all(service.healthy for service in health):
            return None
        # one bad look is no verdict, and it may be the backbone's trouble
        return (await verified(world, project, release, self._say, fresh=False)).reason

    async def roll(self, op: Operation) -> Moved:
        """Service after service goes over; the whole release has proved itself then."""
        signal, op = await self._rolling.roll(op, release_of(op), _slot(op))
        self._proved = release_of(op).id if signal is Signal.OK else None
        return signal, op

    async def switch(self, op: Operation) -> Moved:
        """Everybody gets the new slot, in one step of the edge."""
        ring, slot = op.request.ring, _slot(op)
        if op.request.kind is not Kind.ROLLBACK:
            await self._nobody_there(op)
        if failure := await self._no_longer(op):
            if op.request.kind is Kind.ROLLBACK and op.strategy is Strategy.ROLLING:
                return await self._rolling.refused(op, slot, failure.message)
            if op.request.kind is Kind.ROLLBACK:
                await self._world.edge.route(ring, Route(slot=self._record(op).slot))
            return await self._came_to_nothing(op, Signal.ERROR, failure)
        now = await self._edge.traffic(ring)
        op = op.model_copy(update={"before_users": now.get(slot)})
        if op.request.kind is not Kind.ROLLBACK:
            op = op.model_copy(update={"baseline": self._measure(op, now.get(slot.other, Traffic()))})
        await self._world.edge.route(ring, Route(slot=slot))
        self._say(f"{ring} is on {slot}")
        return Signal.ROUTED, op

    def _measure(self, op: Operation, served: Traffic) -> Traffic:
        """What the release before gave while this one came, or in all its time where that tells too little: what others
        gave in its slot before is no measure.
        """
        lately, ever = since(op.baseline, served), since(self._record(op).before_users, served)
        enough = lately.requests >= self._world.settings.rollback.traffic.requests
        return (lately if enough else ever).model_copy(update={"paces": {**ever.paces, **lately.paces}})

    def recorded(self, op: Operation, record: RingRecord) -> RingRecord:
        """The record of a ring that changed its slot. What waits in the other one after a rollback is bad."""
        settle = self._world.settings.rollback.settle if op.request.kind is not Kind.ROLLBACK else 0
        settling = Settling(
            until=op.updated_at + timedelta(seconds=settle),
            release=op.previous if settle else None,
            baseline=op.baseline or Traffic(),
            before_users=op.before_users or Traffic(),
        )
        # Where nothing ran before, nothing waits.
        update = {"slot": _slot(op), "settling": settling if op.beside else None, "before_users": op.before_users}
        return record.model_copy(update=update)

    async def left_behind(self, op: Operation) -> Operation:
        """Keeps what there is to see of a release that was gone back from; it still runs, without users."""
        project = self._world.project(op.request.ring, _slot(op).other)
        op = await self._marks.forensics(op, release_of(op).id, project)
        await self._evidence.collect(op, op.previous, release_of(op).id, project=project)
        return op

    async def restore(self, op: Operation) -> Moved:
        """The slot that served all the time gets everybody back, and the new one is stopped."""
        world, ring, slot = self._world, op.request.ring, _slot(op)
        record = self._record(op)
        project = world.project(ring, slot)
        if op.strategy is Strategy.ROLLING:
            return await self._rolled_back(op, record)
        if record.running:
            await self._serving(ring, record)
            await world.edge.route(ring, Route(slot=slot.other))
        self._say(f"{release_of(op).tag} is taken back: {op.verification.get('reason') or 'it did not start'}")
        op = op.model_copy(update={"previous": record.release if record.running else None})
        op = await self._before_it_goes(op, project)
        try:
            await self._edge.wait(ring, slot)
            await (world.compose.stop if record.running else world.compose.down)(project, self._say)
        except DockerUnavailable:
            raise
        except RingError as error:  # nobody gets an answer from it any more: that is what counts
            self._say(f"{project} is not stopped yet: {error.message}")
        return (Signal.UNTOUCHED if record.running else Signal.DOWN), op

    async def _rolled_back(self, op: Operation, record: RingRecord) -> Moved:
        """What has moved already returns, service by service."""
        good = self._world.releases.load(str(record.release)) if record.running else None
        op = op.model_copy(update={"previous": good.id if good else None})
        project = self._world.project(op.request.ring, _slot(op))
        op = await self._before_it_goes(op, project)
        try:
            await self._rolling.back(op, record.slot, good)
        except DockerUnavailable:
            raise
        except RingError as error:
            return Signal.ERROR, op.failed(error)
        return (Signal.UNTOUCHED if good else Signal.DOWN), op

    async def retire(self, op: Operation) -> Moved:
        """Stops what waited in the other slot. Its containers stay: a way back that takes as long as starting them."""
        world, ring = self._world, op.request.ring
        waits = world.settings.rings[ring].slots.get(self._record(op).slot.other)
        if waits and await world.engine.listed(waits):
            await world.compose.stop(waits, self._say)
        return Signal.OK, op

    # -- shared pieces

    async def _before_it_goes(self, op: Operation, project: str) -> Operation:
        """Keeps what there is to see of a release that is taken back, and tells whoever wants to know before."""
        op = await self._marks.forensics(op, op.previous, project)
        await self._evidence.collect(op, release_of(op).id, op.previous, project=project)
        await hooks.run_or_say(self._world, op, "pre_rollback", self._say, to=op.previous)
        return op

    async def _no_longer(self, op: Operation) -> RingError | None:
        """Why a release that proved itself to a worker that died does so no more: the machine may have gone down."""
        if self._proved == release_of(op).id:
            return None
        try:
            await self._run(op)
        except DockerUnavailable:
            raise
        except EngineFailure as error:
            return error
        project = self._world.project(op.request.ring, _slot(op))
        seen = await verified(self._world, project, release_of(op), self._say, fresh=False)
        self._proved = None if seen.reason else release_of(op).id
        return EngineFailure(seen.reason, "Look at its log, then ask again.") if seen.reason else None

    async def _ended(self, project: str, release: Release) -> bool:
        """Whether something of it does not run that should; what ran to its end is well."""
        seen = await observer.look(self._world, project, self._world.services_of(release))
        return any(service.state in {ServiceState.EXITED, ServiceState.MISSING} for service in seen)

    async def _nobody_there(self, op: Operation) -> None:
        """Users stay with what served while a worker that carries this on proves anew what they were sent to."""
        if self._proved != release_of(op).id and op.beside and op.strategy is Strategy.BLUE_GREEN:
            await self._world.edge.route(op.request.ring, Route(slot=_slot(op).other))

    async def _run(self, op: Operation) -> None:
        world, release, slot = self._world, release_of(op), _slot(op)
        await world.compose.up(world.project(op.request.ring, slot), run_file(world, release, slot), self._say)
        self._up = release.id

    async def _serving(self, ring: str, record: RingRecord) -> None:
        """Starts what serves by the record where it does not run any more, as after a power cut."""
        world, release = self._world, self._world.releases.load(str(record.release))
        project = world.project(ring, record.slot)
        if self._proved is None and await self._ended(project, release):
            try:
                await world.compose.up(project, run_file(world, release, record.slot), self._say)
            except DockerUnavailable:
                raise
            except EngineFailure as error:  # the monitor, and people, are told that it is not well
                self._say(error.message)

    async def _came_to_nothing(self, op: Operation, signal: Signal, error: RingError) -> Moved:
        """A release that did not come up. One that was to be gone back to leaves everything as it is: its slot is
        stopped, and what served goes on.
        """
        if op.request.kind is not Kind.ROLLBACK:
            return signal, op if op.verification.get("reason") else op.failed(error)
        await self._world.compose.stop(self._world.project(op.request.ring, _slot(op)), self._say)
        return Signal.REFUSED, op.failed(error)

    async def _smoke_tested(self, op: Operation, project: str) -> tuple[Operation, str | None, str | None]:
        """The smoke tests of the path, asked of the very containers that users will meet: what did not pass, and what
        could not be measured.
        """
        world, request = self._world, op.request
        path = next((p for p in world.settings.paths if (p.source, p.target) == (request.source, request.ring)), None)
        alone = {"after": (), "cache": False}
        specs = tuple(s.model_copy(update=alone) for s in path.gates if s.gate == _ASKS_THE_RELEASE) if path else ()
        if path is None or not specs or request.override:
            return op, None, None
        logs = world.journals.folder(op.id) / f"gates-{_slot(op)}"
        asked = path.model_copy(update={"gates": specs})
        results = await examine_in(world, asked, release_of(op), project, logs, self._say)
        results = tuple(result.model_copy(update={"name": f"{result.name} in {_slot(op)}"}) for result in results)
        known = {result.name for result in results}
        op = op.model_copy(update={"gates": (*(g for g in op.gates if g.name not in known), *results)})
        failed = [result.name for result in blocking(results) if result.status is GateVerdict.FAILED]
        others = [f"{result.name}: {result.status}" for result in blocking(results)]
        if failed:
            return op, f"{', '.join(failed)} did not pass", None
        return op, None, f"nobody can tell whether it passes: {', '.join(others)}" if others else None

    def _record(self, op: Operation) -> RingRecord:
        return self._world.state.load().ring(op.request.ring)


def _slot(op: Operation) -> Slot:
    if op.slot is None:
        raise AssertionError(f"{op.id} reached {op.phase} without a slot")
    return op.slot
