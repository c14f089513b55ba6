"""The effect of each phase of a rollout. Every effect may be repeated: recovery enters at the saved phase again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.composition import image_references
from aither_rings_mcp.domain.errors import (
    EngineFailure,
    ImageMissing,
    NoRollbackTarget,
    PlanStale,
    RingError,
    to_record,
)
from aither_rings_mcp.domain.model import Candidate, Release, RingRecord
from aither_rings_mcp.domain.naming import forensic_tag, latest_tag, repository, ring_tag, rollback_tag
from aither_rings_mcp.domain.plan import plan_hash, what_changed
from aither_rings_mcp.domain.rollout import Failure, Kind, Operation, Phase, Signal
from aither_rings_mcp.domain.settings import Unhealthy
from aither_rings_mcp.domain.verdict import blocking
from aither_rings_mcp.manager.gating import APPROVAL, examine
from aither_rings_mcp.manager.observer import verify
from aither_rings_mcp.manager.planning import draft_promotion, make_release, running_config
from aither_rings_mcp.manager.world import BACKBONE, World
from aither_rings_mcp.ports import OnLine

Moved = tuple[Signal, Operation]
Effect = Callable[[Operation], Awaitable[Moved]]


class Steps:
    """One method per phase; each returns what it came to and the operation with what was decided."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._effects: Mapping[Phase, Effect] = {
            Phase.ACCEPTED: self._accepted,
            Phase.BUILDING: self._building,
            Phase.GATING: self._gating,
            Phase.PREPARING: self._preparing,
            Phase.SWITCHING: self._switching,
            Phase.VERIFYING: self._verifying,
            Phase.RECORDING: self._recording,
            Phase.RESTORING: self._restoring,
            Phase.RESTORE_VERIFYING: self._restore_verifying,
            Phase.RESTORE_RECORDING: self._restore_recording,
        }

    async def act(self, op: Operation) -> Moved:
        return await self._effects[op.phase](op)

    # -- before anything that runs is touched

    async def _accepted(self, op: Operation) -> Moved:
        """What runs now is written down first: it is what a restore goes back to."""
        op = op.model_copy(update={"previous": self._record(op).release})
        match op.request.kind:
            case Kind.DEPLOY:
                return (Signal.BUILD if op.request.build else Signal.PREPARE), op
            case Kind.PROMOTE:
                return Signal.GATE, op
            case Kind.ROLLBACK:
                return Signal.PREPARE, op
            case Kind.UP | Kind.DOWN:
                return Signal.SWITCH, self._with_recorded_release(op)

    async def _building(self, op: Operation) -> Moved:
        await self._world.compose.build(op.request.ring, self._say)
        return Signal.OK, op

    async def _gating(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        source = str(request.source)
        draft = await draft_promotion(world, source, request.ring)
        policy.check_not_quarantined(draft.replaces, request.ring, draft.release.id, request.override)
        if request.override:
            self._say(f"gates bypassed by {request.override.by}: {request.override.reason}")
            return Signal.OK, op
        plan = world.plans.load(request.plan_id) if request.plan_id else None
        path = policy.known_path(world.settings, source, request.ring)
        results = await examine(
            world,
            path,
            draft.tested,
            plan,
            world.journals.folder(op.id) / "gates",
            self._say,
            lambda result: self._say(f"gate {result.name}: {result.status} - {result.summary}"),
        )
        op = op.model_copy(update={"gates": results})
        if not (stopped := blocking(results)):
            return Signal.OK, op
        if plan and all(result.reason_code == "approval_required" for result in stopped):
            op = op.model_copy(update={"approval_plan": plan.id})
        return Signal.REFUSED, op

    async def _preparing(self, op: Operation) -> Moved:
        match op.request.kind:
            case Kind.DEPLOY:
                return await self._prepare_deploy(op)
            case Kind.ROLLBACK:
                return await self._prepare_rollback(op)
            case _:
                return await self._prepare_promotion(op)

    async def _prepare_deploy(self, op: Operation) -> Moved:
        world, ring = self._world, op.request.ring
        config = await world.compose.render(ring)
        images: dict[str, str] = {}
        for name, reference in image_references(config, world.project(ring)).items():
            view = await world.engine.image(reference)
            if view is None:
                raise ImageMissing(
                    f"the image {reference} of {name} is not here",
                    f"Run `ring-ctl deploy {ring} --build`, or pull it.",
                    service=name,
                )
            images[name] = view.id
        built = Release(
            id="", ring=ring, commit=world.source.commit(), tag="", source_digest=world.source.digest(),
            images=images, config_hash="", created_at=world.clock.now(),
        )  # fmt: skip
        release = make_release(world, ring, config, images, built)
        world.releases.save(release, config)
        await self._label(release.images, release.tag)
        await world.pins.hold(release.images, release.id)
        return Signal.OK, op.model_copy(update={"release": release})

    async def _prepare_promotion(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        draft = await draft_promotion(world, str(request.source), request.ring)
        if request.plan_id:
            self._check_plan(op, request.plan_id, draft.release, draft.replaces.release)
        op = op.model_copy(update={"release": draft.release})
        if world.is_gate(request.ring):
            await self._label(draft.release.images, ring_tag(request.ring, draft.release.commit))
            await world.pins.hold(draft.release.images, draft.release.id)
            return Signal.TAGGED, op
        await self._check_way_back(op)
        world.releases.save(draft.release, draft.config)
        await self._label(draft.release.images, draft.release.tag)
        await world.pins.hold(draft.release.images, draft.release.id)
        if request.plan_id and op.gates and any(result.name == APPROVAL for result in op.gates):
            world.plans.use(world.plans.load(request.plan_id))
        return Signal.OK, op

    async def _prepare_rollback(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        choice = policy.rollback_choice(self._record(op), request.ring, request.tag, request.release)
        release = world.releases.load(choice.release)
        for name, image in sorted(release.images.items()):
            if await world.engine.image(image) is None:
                raise ImageMissing(
                    f"the image of {name} in {release.id} is gone", "Roll back to another release (`ring-ctl status`)."
                )
        await world.pins.hold(release.images, release.id)
        return Signal.OK, await self._forensics(op.model_copy(update={"release": release}))

    # -- the switch, and what is observed after it

    async def _switching(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        if request.ring == BACKBONE:
            await (world.compose.up_backbone if request.kind is Kind.UP else world.compose.down_backbone)(self._say)
            return Signal.DOWN, op
        if request.kind is Kind.DOWN:
            await world.compose.down(world.project(request.ring), self._say)
            return Signal.DOWN, op
        if request.kind is Kind.ROLLBACK:
            await world.compose.down(world.project(request.ring), self._say)
        try:
            await self._run(_release(op))
        except EngineFailure as error:
            op = op.model_copy(update={"failure": Failure(record=to_record(error))})
            return Signal.ERROR, op
        return Signal.OK, op

    async def _verifying(self, op: Operation) -> Moved:
        seen = await verify(self._world, self._world.project(op.request.ring), _release(op), self._say)
        op = op.model_copy(update={"verification": seen.model_dump(exclude_none=True)})
        if seen.reason is None:
            return Signal.OK, op
        keeps = self._world.settings.rings[op.request.ring].on_unhealthy is Unhealthy.KEEP
        if op.request.kind is Kind.UP or (op.request.kind is Kind.DEPLOY and keeps):
            return Signal.KEPT, op.model_copy(update={"kept_unhealthy": True})
        return Signal.UNHEALTHY, op

    async def _recording(self, op: Operation) -> Moved:
        world, ring = self._world, op.request.ring
        if ring == BACKBONE:
            return Signal.OK, op
        with world.claims.state_lock():
            state = world.state.load()
            world.state.save(state.with_ring(ring, self._recorded(op, state.ring(ring))))
        await self._point_tags(ring)
        return Signal.OK, op

    def _recorded(self, op: Operation, record: RingRecord) -> RingRecord:
        """The ring's record once this rollout is done."""
        now, keep = op.updated_at, self._world.settings.keep_releases
        match op.request.kind:
            case Kind.UP:
                return record.model_copy(update={"running": True, "stuck": None})
            case Kind.DOWN:
                return record.model_copy(update={"running": False})
            case Kind.ROLLBACK:
                reason = op.request.reason or f"rolled back by {op.actor}"
                return policy.went_back(record, _release(op), now, op.previous, reason, keep)
            case Kind.PROMOTE if self._world.is_gate(op.request.ring):
                return self._with_candidate(op, record)
            case _:
                return policy.deployed(record, _release(op), now, not op.kept_unhealthy, op.request.override, keep)

    def _with_candidate(self, op: Operation, record: RingRecord) -> RingRecord:
        release, now = _release(op), op.updated_at
        tag = ring_tag(op.request.ring, release.commit)
        ttl = timedelta(seconds=self._world.settings.rings[op.request.ring].candidate_ttl)
        candidate = Candidate(
            release=release.id, source=str(op.request.source), commit=release.commit, tag=tag, images=release.images,
            passed_at=now, expires_at=now + ttl, gates={r.name: r.status for r in op.gates},
            override=op.request.override,
        )  # fmt: skip
        return record.model_copy(
            update={
                "candidate": candidate,
                "tag": tag,
                "commit": release.commit,
                "release": release.id,
                "deployed_at": now,
                "override": op.request.override,
            }
        )

    # -- going back

    async def _restoring(self, op: Operation) -> Moved:
        """Back to what ran before. A rollback has nothing to restore to: never roll back a rollback."""
        if op.request.kind is Kind.ROLLBACK:
            return Signal.REFUSED, op
        world, ring = self._world, op.request.ring
        self._say(f"restoring {ring}: {op.verification.get('reason') or 'the new release did not start'}")
        op = await self._forensics(op)
        try:
            await world.compose.down(world.project(ring), self._say)
            if op.previous is None or not self._record(op).running:
                return Signal.DOWN, op
            await self._run(world.releases.load(op.previous))
        except EngineFailure as error:
            return Signal.ERROR, op.model_copy(update={"failure": Failure(record=to_record(error))})
        return Signal.OK, op

    async def _restore_verifying(self, op: Operation) -> Moved:
        previous = self._world.releases.load(str(op.previous))
        seen = await verify(self._world, self._world.project(op.request.ring), previous, self._say)
        return (Signal.UNHEALTHY if seen.reason else Signal.OK), op

    async def _restore_recording(self, op: Operation) -> Moved:
        world, ring = self._world, op.request.ring
        with world.claims.state_lock():
            state = world.state.load()
            record = state.ring(ring)
            reason = str(op.verification.get("reason") or "it did not start")
            if op.release and op.failure is None:
                record = policy.condemn(record, op.release.id, op.updated_at, reason)
            world.state.save(state.with_ring(ring, record))
        await self._point_tags(ring)
        return Signal.OK, op

    # -- shared pieces

    def _record(self, op: Operation) -> RingRecord:
        return self._world.state.load().ring(op.request.ring)

    def _with_recorded_release(self, op: Operation) -> Operation:
        if op.request.kind is Kind.DOWN or op.request.ring == BACKBONE:
            return op
        return op.model_copy(update={"release": self._world.releases.load(str(self._record(op).release))})

    async def _run(self, release: Release) -> None:
        world = self._world
        config = running_config(world, release, world.releases.config(release.id), release.ring)
        file = world.releases.runnable(release.id, config)
        await world.compose.up(world.project(release.ring), file, self._say)

    async def _label(self, images: Mapping[str, str], tag: str) -> None:
        for service, image in sorted(images.items()):
            await self._world.engine.tag(image, f"{repository(self._world.settings.app, service)}:{tag}")

    async def _forensics(self, op: Operation) -> Operation:
        """Tags what runs now, so that it can be looked at after it is gone. Its name is fixed by the operation."""
        world, ring = self._world, op.request.ring
        tag = forensic_tag(ring, op.created_at)
        running = {c.service: c.image_id for c in await world.engine.containers(world.project(ring)) if c.service}
        await self._label(running, tag)
        # a repeated effect may find the ring torn down already: its tags are there from the first time
        return op.model_copy(update={"forensics": tag}) if running else op

    async def _point_tags(self, ring: str) -> None:
        """Moves the tags for people to where the record points, and keeps exactly the images that records need."""
        world = self._world
        state = world.state.load()
        record = state.ring(ring)
        if record.release and not world.is_gate(ring):
            await self._label(world.releases.load(record.release).images, latest_tag(ring))
        if record.rollback_release:
            await self._label(world.releases.load(record.rollback_release).images, rollback_tag(ring))
        kept: set[str] = set()
        for name in world.settings.rings:
            for release_id in policy.kept_releases(state.ring(name)):
                release = world.releases.load(release_id)
                kept.update(release.images.values())
        await world.pins.let_go(frozenset(kept))

    def _check_plan(self, op: Operation, plan_id: str, release: Release, replaces: str | None) -> None:
        plan = self._world.plans.load(plan_id)
        fresh = plan_hash(str(op.request.source), op.request.ring, release.id, release.images, replaces)
        reasons = what_changed(plan, fresh, release.id, replaces, release.images)
        if reasons:
            raise PlanStale(
                f"plan {plan.id} no longer fits: {'; '.join(reasons)}",
                f"Make a new one: `ring-ctl plan {plan.source} {plan.target}`.",
                changed=list(reasons),
            )

    async def _check_way_back(self, op: Operation) -> None:
        """A promotion that would leave no way back is refused before anything changes."""
        record = self._record(op)
        if record.release is None:
            return
        current = self._world.releases.load(record.release)
        for name, image in sorted(current.images.items()):
            if await self._world.engine.image(image) is None:
                raise NoRollbackTarget(
                    f"{op.request.ring} could not go back: the image of {name} in {current.id} is gone",
                    f"Deploy or promote {current.tag} again first, or take the ring down.",
                )


def _release(op: Operation) -> Release:
    if op.release is None:
        raise AssertionError(f"{op.id} reached {op.phase} without a release")
    return op.release


def failed(op: Operation, error: RingError) -> Operation:
    return op.model_copy(update={"failure": Failure(record=to_record(error))})
