"""The effect of each phase of a rollout. Every effect may be repeated: recovery enters at the saved phase again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aither_rings_mcp.domain import approval, policy
from aither_rings_mcp.domain.errors import (
    DockerUnavailable,
    EngineFailure,
    InvalidTransition,
    NoRollbackTarget,
    RingError,
)
from aither_rings_mcp.domain.log_lines import quoted
from aither_rings_mcp.domain.model import Release, RingRecord
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase, Signal, release_of
from aither_rings_mcp.domain.settings import Unhealthy
from aither_rings_mcp.domain.slots import Route, Slot
from aither_rings_mcp.domain.verdict import GateResult, blocking
from aither_rings_mcp.manager import backbone, hooks
from aither_rings_mcp.manager.approvals import spend_way_back
from aither_rings_mcp.manager.drain import Drain
from aither_rings_mcp.manager.evidence import Collector
from aither_rings_mcp.manager.gating import examine
from aither_rings_mcp.manager.marks import Marks
from aither_rings_mcp.manager.outcomes import stuck_error
from aither_rings_mcp.manager.planning import draft_promotion, run_file
from aither_rings_mcp.manager.preparation import Moved, Preparation
from aither_rings_mcp.manager.recorded import recorded, restored
from aither_rings_mcp.manager.routes import recorded_slots
from aither_rings_mcp.manager.slot_steps import SlotSteps
from aither_rings_mcp.manager.trial import verified, verify
from aither_rings_mcp.manager.user_answers import UserAnswers
from aither_rings_mcp.manager.way_back import lost_releases
from aither_rings_mcp.manager.world import BACKBONE, World
from aither_rings_mcp.ports import OnLine

_HOOK_AFTER: Mapping[Kind, hooks.Moment] = {Kind.PROMOTE: "post_promote", Kind.ROLLBACK: "post_rollback"}
Effect = Callable[[Operation], Awaitable[Moved]]


class Steps:
    """One method per phase; each returns what it came to and the operation with what was decided."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._marks = Marks(world, on_line)
        self._evidence = Collector(world, on_line)
        self._edge = Drain(world, on_line)
        preparation, slots = Preparation(world, on_line), SlotSteps(world, on_line)
        self._slots = slots
        #: The release that this worker brought up itself, on an engine that has been there since.
        self._up: str | None = None
        self._effects: Mapping[Phase, Effect] = {
            Phase.ACCEPTED: self._accepted,
            Phase.BUILDING: preparation.build,
            Phase.GATING: self._gating,
            Phase.PREPARING: preparation.prepare,
            Phase.STARTING: slots.start,
            Phase.PROVING: slots.prove,
            Phase.CANARY: slots.canary,
            Phase.ROLLING: slots.roll,
            Phase.SWITCHING: self._switching,
            Phase.VERIFYING: self._verifying,
            Phase.RECORDING: self._recording,
            Phase.RETIRING: slots.retire,
            Phase.RESTORING: self._restoring,
            Phase.RESTORE_VERIFYING: self._restore_verifying,
            Phase.RESTORE_RECORDING: self._restore_recording,
        }

    async def act(self, op: Operation) -> Moved:
        try:
            return await self._effects[op.phase](op)
        except DockerUnavailable:
            self._up = None
            self._slots.forget()
            raise

    async def clear_preview(self, op: Operation) -> None:
        """Takes down what a worker that was killed, or lost its engine, left of its preview."""
        source = self._world.settings.rings.get(str(op.request.source))
        try:
            if source and source.preview and await self._world.engine.listed(source.preview.project):
                await self._world.compose.down(source.preview.project, self._say, volumes=True)
        except RingError as error:
            self._say(f"the preview is still there: {error.message}")

    async def clear_halfway(self, op: Operation) -> None:
        """Takes down what a worker that was killed in the switch left half-made: Compose renames a container that it
        replaces, and stumbles over that name when it is asked again.
        """
        if op.request.ring != BACKBONE and op.request.kind is not Kind.DOWN:
            try:
                await self._world.compose.down(self._world.project(op.request.ring, op.slot), self._say)
            except RingError as error:
                self._say(f"{op.request.ring} is not cleared: {error.message}")

    # -- before anything that runs is touched

    async def _accepted(self, op: Operation) -> Moved:
        """What runs now is written down first: it is what a restore goes back to."""
        op = op.model_copy(update={"previous": self._record(op).release})
        leaving, runs = op.request.leaving, op.previous if self._record(op).running else None
        if leaving not in {None, runs}:
            raise InvalidTransition(
                f"{op.request.ring} runs {runs or 'nothing'} by now, and not {leaving}", "Look again, then decide."
            )
        match op.request.kind:
            case Kind.DEPLOY:
                return (Signal.BUILD if op.request.build else Signal.PREPARE), op
            case Kind.PROMOTE:
                return Signal.GATE, op
            case Kind.ROLLBACK:
                spend_way_back(self._world, op)
                at_once = await self._slots.back_at_once(op, self._record(op))
                return (Signal.SWITCH, at_once) if at_once else (Signal.PREPARE, op)
            case Kind.SETTLE:
                return Signal.RETIRE, self._settled(op)
            case Kind.UP | Kind.DOWN:
                return Signal.SWITCH, self._with_recorded_release(op)

    async def _gating(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        source = str(request.source)
        draft = await draft_promotion(world, source, request.ring)
        if draft.replaces.stuck:
            raise stuck_error(request.ring, draft.replaces.stuck)
        policy.check_not_quarantined(draft.replaces, request.ring, draft.release.id, request.override)
        path = approval.gates_due(world.settings, source, request.ring, op.actor, request.override)
        if request.override:
            self._say(f"gates bypassed by {request.override.by}: {request.override.reason}")
            if not path.gates:
                return Signal.OK, op
        plan = world.plans.load(request.plan_id) if request.plan_id else None
        if plan and not approval.covers(plan, request.override):
            plan = None
        results = await examine(
            world,
            path,
            draft.tested,
            plan,
            op.actor,
            world.journals.folder(op.id) / "gates",
            self._say,
            self._gate_said,
        )
        op = op.model_copy(update={"gates": results})
        if not (stopped := blocking(results)):
            return Signal.OK, op
        if plan and all(result.reason_code == "approval_required" for result in stopped):
            op = op.model_copy(update={"approval_plan": plan.id, "approval_hash": plan.hash})
        return Signal.REFUSED, op

    def _gate_said(self, result: GateResult) -> None:
        self._say(f"gate {result.name}: {result.status} - {result.summary}")
        for line in result.log_tail:
            self._say(quoted(result.name, line))

    # -- the switch, and what is observed after it

    async def _switching(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        if op.slotted:
            return await self._slots.switch(op)
        try:
            if request.ring == BACKBONE:
                return Signal.DOWN, await self._switched_backbone(op)
            if request.kind is not Kind.UP:
                await self._other_slots_down(request.ring)
            if request.kind in {Kind.DOWN, Kind.ROLLBACK}:
                await world.compose.down(world.project(request.ring), self._say)
            if request.kind is Kind.DOWN:
                await self._routed(request.ring, Slot.BLUE)  # where it comes up again, by whatever means
                return Signal.DOWN, op
            await self._run(release_of(op))
            await self._routed(request.ring, world.state.load().ring(request.ring).slot)
        except DockerUnavailable:
            raise
        except RingError as error:
            op = op.failed(error)
            if request.kind in {Kind.UP, Kind.DOWN}:
                # What is recorded was to be started or stopped: nothing was replaced, so there is nothing to restore.
                return Signal.KEPT, op.model_copy(update={"kept_unhealthy": True})
            return Signal.ERROR, op
        return Signal.OK, op

    async def _other_slots_down(self, ring: str) -> None:
        """What is replaced in place leaves no other slot waiting: that has nothing to go back to any more."""
        serving = self._world.project(ring)
        for project in self._world.settings.rings[ring].slots.values():
            if project != serving and await self._world.engine.listed(project):
                await self._world.compose.down(project, self._say)

    async def _routed(self, ring: str, slot: Slot) -> None:
        """Sees to it that the edge sends a ring's users where it runs; it need not be there for that to be so."""
        if self._world.settings.rings[ring].fronts:
            try:
                await self._world.edge.route(ring, Route(slot=slot))
            except EngineFailure as error:
                self._say(error.message)

    async def _switched_backbone(self, op: Operation) -> Operation:
        if op.request.kind is Kind.DOWN:
            await self._world.compose.down_backbone(self._say)
            return op
        for ring in self._world.settings.runtime_rings:
            self._world.project(ring)  # raises where the edge would lose a slot that serves
        await self._world.edge.prepare(recorded_slots(self._world), self._say)
        await self._world.compose.up_backbone(self._say)
        if why := await backbone.waited_for(self._world, self._say):
            self._say(why)
            return op.model_copy(update={"kept_unhealthy": True})
        return op

    async def _verifying(self, op: Operation) -> Moved:
        keeps = self._world.settings.rings[op.request.ring].on_unhealthy is Unhealthy.KEEP
        stays = op.request.kind is Kind.UP or (op.request.kind is Kind.DEPLOY and keeps)
        try:
            await self._still_up(release_of(op))
        except EngineFailure as error:
            op = op.failed(error)
        else:
            if stays:
                project, fresh = self._world.project(op.request.ring), op.request.kind is not Kind.UP
                seen = await verify(self._world, project, release_of(op), self._say, fresh=fresh)
            else:
                seen = await verified(self._world, self._world.project(op.request.ring), release_of(op), self._say)
            op = op.model_copy(update={"verification": seen.model_dump(exclude_none=True)})
            if seen.reason is None:
                counted = None if stays else await self._edge.counted_if_reached(op.request.ring)
                return Signal.OK, op.model_copy(update={"before_users": counted})
        if stays:
            good = policy.last_good(self._record(op), release_of(op).id)
            await self._evidence.collect(op, release_of(op).id, good.release if good else None)
            return Signal.KEPT, op.model_copy(update={"kept_unhealthy": True})
        return Signal.UNHEALTHY, op

    async def _recording(self, op: Operation) -> Moved:
        world, ring = self._world, op.request.ring
        if ring == BACKBONE:
            return Signal.OK, op
        with world.claims.state_lock():
            state = world.state.load()
            record = recorded(world, op, state.ring(ring))
            if op.slotted:
                record = self._slots.recorded(op, record)
            if op.request.kind not in {Kind.UP, Kind.SETTLE}:
                op = op.model_copy(update={"settling_until": record.settling and record.settling.until})
            world.state.save(state.with_ring(ring, record))
        if op.slotted and op.request.kind is Kind.ROLLBACK:
            op = await self._slots.left_behind(op)
        await self._marks.point(ring)
        if op.request.kind in _HOOK_AFTER and not op.kept_unhealthy:
            await self._hook_after(op, record)
        return Signal.OK, op

    async def _hook_after(self, op: Operation, record: RingRecord) -> None:
        """Nobody else can take a release back before this has ended: so it ends where users get bad answers."""
        world, ring, moment, to = self._world, op.request.ring, _HOOK_AFTER[op.request.kind], release_of(op).id
        settling = record.settling
        if settling is None or settling.until <= world.clock.now():
            return await hooks.run_or_say(world, op, moment, self._say, to=to)
        bad = partial(UserAnswers(world, self._say).first_bad, ring, record, settling)
        return await hooks.run_unless(world, op, moment, self._say, to=to, stop=bad)

    # -- going back

    async def _restoring(self, op: Operation) -> Moved:
        """Back to the last release that proved itself, as a rule what ran before; down, if the ring was down.

        A rollback has nothing to restore to: never roll back a rollback.
        """
        if op.request.kind is Kind.ROLLBACK:
            return Signal.REFUSED, op
        if op.slotted:
            return await self._slots.restore(op)
        world, ring, record = self._world, op.request.ring, self._record(op)
        self._say(f"restoring {ring}: {op.verification.get('reason') or 'the new release did not start'}")
        lost = await lost_releases(world, record)
        good = policy.last_good(record, release_of(op).id, lost) if record.running else None
        op = op.model_copy(update={"previous": good.release if good else None})
        crossed = policy.contracts_crossed(record, good.release, release_of(op)) if good else ()
        as_it_was = await self._evidence.containers(op)
        if not crossed:
            await self._quieten(ring)
        op = await self._marks.forensics(op, op.previous)
        await self._evidence.collect(op, release_of(op).id, op.previous, as_it_was)
        if good and crossed:
            why = policy.contract_reason(ring, good.release, crossed)
            op = op.failed(NoRollbackTarget(why, policy.contract_next_step(ring)))
            return Signal.REFUSED, op.model_copy(update={"stays": True})
        await hooks.run_or_say(world, op, "pre_rollback", self._say, to=op.previous)
        try:
            await world.compose.down(world.project(ring), self._say)
            if op.previous is None:
                return Signal.DOWN, op
            await self._run(world.releases.load(op.previous))
        except DockerUnavailable:
            raise
        except RingError as error:
            return Signal.ERROR, op.failed(error)
        return Signal.OK, op

    async def _quieten(self, ring: str) -> None:
        """Stops what goes: an engine that restarts a crash-looping ring all the time answers for none of it, and looks
        at the evidence would take seconds each.
        """
        try:
            await self._world.compose.stop(self._world.project(ring), self._say)
        except DockerUnavailable:
            raise
        except RingError as error:
            self._say(f"{ring} is not stopped yet: {error.message}")

    async def _restore_verifying(self, op: Operation) -> Moved:
        previous = self._world.releases.load(str(op.previous))
        try:
            await self._still_up(previous)
        except EngineFailure as error:
            return Signal.UNHEALTHY, op.failed(error)
        seen = await verified(self._world, self._world.project(op.request.ring), previous, self._say)
        if seen.reason is None:
            return Signal.OK, op
        why = EngineFailure(f"going back to {previous.id} failed: {seen.reason}", "A person has to look.")
        return Signal.UNHEALTHY, op.failed(why)

    async def _restore_recording(self, op: Operation) -> Moved:
        world, ring = self._world, op.request.ring
        with world.claims.state_lock():
            state = world.state.load()
            record = restored(world, op, state.ring(ring))
            world.state.save(state.with_ring(ring, record))
        await self._marks.point(ring)
        await hooks.run_or_say(world, op, "post_rollback", self._say, to=op.previous)
        return Signal.OK, op

    # -- shared pieces

    def _record(self, op: Operation) -> RingRecord:
        return self._world.state.load().ring(op.request.ring)

    def _settled(self, op: Operation) -> Operation:
        record = self._record(op)
        if record.settling is None or record.release != op.request.release:
            raise InvalidTransition(f"{op.request.ring} has nothing that settles", "Nothing needs to be done.")
        return self._with_recorded_release(op)

    def _with_recorded_release(self, op: Operation) -> Operation:
        if op.request.kind is Kind.DOWN or op.request.ring == BACKBONE:
            return op
        return op.model_copy(update={"release": self._world.releases.load(str(self._record(op).release))})

    async def _run(self, release: Release) -> None:
        await self._world.compose.up(self._world.project(release.ring), run_file(self._world, release), self._say)
        self._up = release.id

    async def _still_up(self, release: Release) -> None:
        """Starts `release` unless this worker did: a reboot, or a restart of the engine, may have stopped it."""
        if self._up != release.id:
            await self._run(release)
