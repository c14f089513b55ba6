"""The use cases of the pipeline, as every door asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Literal, cast

import anyio.to_thread

from aither_rings_mcp.domain import approval, policy
from aither_rings_mcp.domain.access import Grant, Role
from aither_rings_mcp.domain.answers import (
    ApprovalAnswer,
    AskedPlanAnswer,
    CancelAnswer,
    DeployAnswer,
    DoctorAnswer,
    EvidenceAnswer,
    FreezeAnswer,
    GatesAnswer,
    HealthAnswer,
    HistoryAnswer,
    LifecycleAnswer,
    LogSlice,
    OperationAnswer,
    PlanAnswer,
    PromoteAnswer,
    RecoverAnswer,
    RollbackAnswer,
    RolloutAnswer,
    StatusAnswer,
    TokenCreatedAnswer,
    TokenRevokedAnswer,
    TokensAnswer,
    TunnelAnswer,
    UnlockAnswer,
    UrlAnswer,
    VerifyAnswer,
    WaitingPlansAnswer,
)
from aither_rings_mcp.domain.errors import InvalidArguments, InvalidTransition
from aither_rings_mcp.domain.freeze import Freeze
from aither_rings_mcp.domain.model import Actor, Override
from aither_rings_mcp.domain.rollout import Kind, Request
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Slot
from aither_rings_mcp.domain.standing import Standing
from aither_rings_mcp.domain.tunnel import TunnelRule
from aither_rings_mcp.domain.verdict import blocking
from aither_rings_mcp.manager import (
    doctor,
    outcomes,
    standings,
    tokens,
    unfinished,
    views,
    waiting_plans,
    ways_in,
    working,
)
from aither_rings_mcp.manager.approvals import Approvals
from aither_rings_mcp.manager.budgeting import Budget
from aither_rings_mcp.manager.evidence_answers import handed_out
from aither_rings_mcp.manager.freezing import Freezing
from aither_rings_mcp.manager.gating import watched
from aither_rings_mcp.manager.image_looks import SeenImages
from aither_rings_mcp.manager.monitor import Monitor
from aither_rings_mcp.manager.operations import Operations, Started, Watch
from aither_rings_mcp.manager.plan_book import PlanBook
from aither_rings_mcp.manager.planning import draft_promotion
from aither_rings_mcp.manager.shared_looks import SharedLooks
from aither_rings_mcp.manager.unlock import unlock
from aither_rings_mcp.manager.way_back import lost_releases
from aither_rings_mcp.manager.world import BACKBONE, World
from aither_rings_mcp.ports import OnLine


class RingManager:
    """One installation's rings. Every method answers with a value of `domain.answers` or raises a `RingError`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._operations = Operations(world)
        self._plans = PlanBook(world)
        self._freezing = Freezing(world)
        self._budget = Budget(world)
        self._approvals = Approvals(world, self._plans)
        self._looks = SharedLooks()
        self._images = SeenImages()

    @property
    def settings(self) -> Settings:
        return self._world.settings

    def expect_work(self) -> None:
        """Whoever asks now may start an operation soon."""
        self._world.workers.expect()

    def seal_key(self) -> bytes:
        """The secret with which a door seals what it will be shown again."""
        return self._world.keys.key()

    # -- looking

    async def status(self, ring: str | None = None, detailed: bool = False) -> StatusAnswer:
        look = partial(views.status, self._world, self._operations, self._images, ring, detailed)
        return await self._looks.shared(("status", ring, detailed), look)

    async def health(self, ring: str, services: Sequence[str] | None = None) -> HealthAnswer:
        look = partial(views.health, self._world, self._operations, self._images, ring, services)
        return await self._looks.shared(("health", ring, tuple(services or ())), look)

    async def history(
        self,
        ring: str | None = None,
        *,
        limit: int = 10,
        cursor: str | None = None,
        since: datetime | None = None,
        event: str | None = None,
    ) -> HistoryAnswer:
        # what seldom happened may take thousands of lines to find: others are answered meanwhile
        return await anyio.to_thread.run_sync(views.history, self._world, ring, limit, cursor, since, event)

    async def verify_history(self) -> VerifyAnswer:
        return views.verified(self._world)

    async def doctor(self, depth: doctor.Depth = "full") -> DoctorAnswer:
        return await doctor.examine(self._world, depth)

    async def operation(
        self,
        operation_id: str,
        *,
        wait_s: float | None = 0.0,
        include_log: bool = False,
        log_cursor: int | None = None,
        log_lines: int = views.LOG_LINES,
        watch: Watch | None = None,
    ) -> OperationAnswer:
        """One operation; waits up to `wait_s` seconds (None: to its end) for it to end first."""
        op, interrupted = await self._operations.watch(operation_id, wait_s, watch)
        answer = views.operation(self._world, op, interrupted, include_log, log_cursor, log_lines)
        if op.approval_plan and answer.result:
            view = await waiting_plans.in_words(self._approvals, outcomes.approval_of(op))
            asked = view.model_dump(mode="json", exclude_none=True)
            return answer.model_copy(update={"result": {**answer.result, "approval": asked}})
        return answer

    def recent_operations(self) -> tuple[str, ...]:
        """The ids of the newest operations, newest first."""
        return standings.recent_ids(self._world)

    def standing(self, before: Standing | None = None) -> Standing:
        """Where rings and operations stand, to be compared with `before`. Cheap: no engine is asked."""
        return standings.standing(self._world, before)

    async def log_tail(self, operation_id: str, lines: int) -> LogSlice:
        """The end of an operation's log: data, never orders."""
        return standings.log_tail(self._world, operation_id, lines)

    async def evidence(
        self, operation_id: str, section: str | None = None, cursor: int | None = None
    ) -> EvidenceAnswer:
        """What is kept of a release that failed or was rolled back; a section's text from byte `cursor` on."""
        return handed_out(self._world, operation_id, section, cursor)

    async def tunnel(self, found: Sequence[TunnelRule] | None = None) -> TunnelAnswer:
        """The tunnel's routes; with `found`, also whether that config routes the same."""
        return ways_in.tunnel(self._world, found)

    async def url(self, ring: str, slot: Slot | None = None) -> UrlAnswer:
        """Where people find the services of `ring`, and how to ask one of its slots."""
        return ways_in.url(self._world, ring, slot)

    # -- planning

    async def plan(self, source: str, target: str, actor: Actor) -> PlanAnswer:
        """What promoting would change, bound to a plan that can be applied until it expires."""
        policy.known_path(self.settings, source, target)
        draft = await draft_promotion(self._world, source, target)
        policy.check_not_quarantined(draft.replaces, target, draft.release.id, None)
        shown = await self._plans.shown(draft, self._plans.looked_at(draft, source, target, actor))
        spent = self._budget.warning(actor, target)
        return shown.model_copy(update={"warnings": (*shown.warnings, spent)}) if spent else shown

    async def gates(self, source: str, target: str, actor: Actor, watch: Watch | None = None) -> GatesAnswer:
        """Only the gates of a path, against what would be promoted now. Changes nothing."""
        path = approval.gates_due(self.settings, source, target, actor)
        # A promotion's gates may be using the preview right now.
        await self._operations.free(target)
        draft = await draft_promotion(self._world, source, target)
        plan = self._plans.looked_at(draft, source, target, actor)
        results = await watched(self._world, path, draft.tested, plan, watch)
        stopped = blocking(results)
        return GatesAnswer(
            ok=not stopped,
            summary=f"{source} -> {target} is blocked by {', '.join(result.name for result in stopped)}."
            if stopped
            else f"All blocking gates of {source} -> {target} pass.",
            as_of=self._world.clock.now(),
            source=source,
            target=target,
            release=draft.tested.id,
            gates=results,
        )

    async def proposal(self, plan_id: str) -> PlanAnswer:
        """What a person's yes to this plan would let happen, as things stand now."""
        return await self._approvals.proposal(plan_id)

    async def asked_plan(self, plan_id: str) -> AskedPlanAnswer:
        """The same, with who asked and what was said to it."""
        return await waiting_plans.asked(self._world, self._approvals, plan_id)

    async def waiting_plans(self) -> WaitingPlansAnswer:
        """The plans that wait for a person now."""
        return await waiting_plans.waiting(self._world, self._approvals)

    def waiting_plan_ids(self) -> tuple[str, ...]:
        """The ids of what a person was asked and has not answered, newest first."""
        return waiting_plans.waiting_ids(self._world)

    async def answer_plan(
        self,
        plan_id: str,
        approved: bool,
        actor: Actor,
        note: str | None = None,
        plan_hash: str | None = None,
        grant: Grant | None = None,
    ) -> ApprovalAnswer:
        """A person's yes or no to exactly one plan, that of `plan_hash` where it is given; told to the history, and so
        is, once, an attempt that is refused, as for a `grant` that lets nobody answer.
        """
        return self._approvals.answered(plan_id, approved, actor, note, plan_hash, grant)

    # -- acting

    async def promote(
        self,
        source: str,
        target: str,
        actor: Actor,
        *,
        plan_id: str | None = None,
        dry_run: bool = False,
        override: Override | None = None,
        reason: str | None = None,
        wait_s: float | None = None,
        idempotency_key: str | None = None,
        watch: Watch | None = None,
        started: Started | None = None,
    ) -> PromoteAnswer:
        """Moves what `source` holds to `target` through the gates of the path; see `PromoteAnswer.outcome`."""
        world = self._world
        policy.known_path(self.settings, source, target)
        asked = Request(
            kind=Kind.PROMOTE, ring=target, source=source, plan_id=plan_id, reason=reason, override=override
        )
        if before := self._operations.started(idempotency_key, asked):
            return cast("PromoteAnswer", await self._result(before, wait_s, watch, started))
        await self._operations.free(target)

        def check_allowed() -> Freeze | None:
            self._budget.check(actor, source, target)
            return self._freezing.check(target, actor, override, source)

        passed = None if dry_run else check_allowed()
        draft = await draft_promotion(world, source, target)
        if draft.replaces.stuck:
            raise outcomes.stuck_error(target, draft.replaces.stuck)
        policy.check_not_quarantined(draft.replaces, target, draft.release.id, override)
        unchanged = draft.replaces.release == draft.release.id and draft.replaces.running
        if plan_id:
            plan = self._approvals.applied(plan_id, draft, source, target, actor, override)
        else:
            planned = self._plans.looked_at if dry_run or unchanged else self._plans.mint
            plan = planned(draft, source, target, actor, override)
        if dry_run or unchanged:
            return PromoteAnswer(
                ok=True,
                summary=f"{target} already runs {draft.release.tag} ({draft.release.id}); nothing to do."
                if unchanged
                else f"Promoting {source} would bring {draft.release.tag} ({draft.release.id}) to {target}; "
                "nothing was done.",
                as_of=world.clock.now(),
                outcome="noop" if unchanged else "dry_run",
                release=draft.release.id,
                plan=await self._plans.shown(draft, plan) if dry_run else None,
            )
        request = asked.model_copy(update={"plan_id": plan.id, "freeze_passed": str(passed) if passed else None})
        op = self._operations.start(request, actor, idempotency_key, check_allowed)
        return cast("PromoteAnswer", await self._result(op.id, wait_s, watch, started))

    async def rollback(
        self,
        ring: str,
        actor: Actor,
        *,
        tag: str | None = None,
        release: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
        wait_s: float | None = None,
        idempotency_key: str | None = None,
        watch: Watch | None = None,
        started: Started | None = None,
    ) -> RollbackAnswer:
        """Goes back to the last release that proved itself, or to the one named."""
        policy.runtime_ring(self.settings, ring)
        if tag is not None and release is not None:
            raise InvalidArguments("both a tag and a release are named", "Name one of them, or none for the last good.")
        wished = tag or release or "the last good"
        request = Request(kind=Kind.ROLLBACK, ring=ring, tag=tag, release=release, wished=wished, reason=reason)
        if before := self._operations.started(idempotency_key, request):
            return cast("RollbackAnswer", await self._result(before, wait_s, watch, started))
        await self._operations.free(ring)
        record = self._world.state.load().ring(ring)
        if record.stuck and actor.automatic:
            raise outcomes.stuck_error(ring, record.stuck)
        if (record.release is not None and record.release == release) or (tag is not None and record.tag == tag):
            return RollbackAnswer(
                ok=True,
                summary=f"{ring} already runs {record.tag} ({record.release}).",
                as_of=self._world.clock.now(),
                outcome="noop",
                release=record.release,
                to=record.release,
            )
        choice = policy.rollback_choice(record, ring, tag, release, await lost_releases(self._world, record))
        policy.check_crosses_nothing(record, ring, choice.release, actor)
        if dry_run:
            return RollbackAnswer(
                ok=True,
                summary=f"{ring} would go back from {record.tag} to {choice.tag} ({choice.release}); nothing was done.",
                as_of=self._world.clock.now(),
                outcome="dry_run",
                release=choice.release,
                from_=record.release,
                to=choice.release,
            )
        asked = None
        if approval.needed_to_go_back(self.settings, ring, actor):
            asked = self._approvals.to_go_back(ring, record, choice, actor)
            if unanswered := self._approvals.unanswered(asked):
                return cast("RollbackAnswer", await waiting_plans.worded(self._approvals, unanswered))
        # what was chosen here is what happens, whatever is recorded meanwhile
        pinned = request.model_copy(
            update={"tag": None, "release": choice.release, "plan_id": asked.id if asked else None}
        )
        op = self._operations.start(pinned, actor, idempotency_key)
        return cast("RollbackAnswer", await self._result(op.id, wait_s, watch, started))

    async def deploy(
        self, ring: str, actor: Actor, *, build: bool = True, wait_s: float | None = None, watch: Watch | None = None
    ) -> DeployAnswer:
        """Builds the working tree into `ring` as a new release, runs it and verifies it by what is observed."""
        if not policy.runtime_ring(self.settings, ring).build:
            ways = [name for name, settings in self.settings.rings.items() if settings.build]
            raise InvalidTransition(
                f"{ring} takes only what was promoted to it",
                f"Deploy to {' or '.join(ways) or 'a ring with build: true'}, then promote.",
            )
        self._freezing.check(ring, actor)
        await self._operations.free(ring)
        op = self._operations.start(Request(kind=Kind.DEPLOY, ring=ring, build=build), actor)
        return cast("DeployAnswer", await self._result(op.id, wait_s, watch))

    async def up(
        self, ring: str, actor: Actor, *, wait_s: float | None = None, watch: Watch | None = None
    ) -> LifecycleAnswer:
        """Starts what is recorded of `ring`; `shared` is the backbone."""
        if ring != BACKBONE:
            policy.runtime_ring(self.settings, ring)
            if self._world.state.load().ring(ring).release is None:
                before = [path.source for path in self.settings.paths if path.target == ring]
                how = f"promote {before[0]} {ring}" if before else f"deploy {ring} --build"
                raise InvalidTransition(f"{ring} has no release to start", f"Run `ring-ctl {how}` first.")
        return await self._lifecycle(Kind.UP, ring, actor, wait_s, watch)

    async def down(
        self, ring: str, actor: Actor, *, wait_s: float | None = None, watch: Watch | None = None
    ) -> LifecycleAnswer:
        """Stops `ring`; what is recorded stays, and `up` brings it back."""
        if ring == BACKBONE:
            state = self._world.state.load()
            still = [name for name in self.settings.runtime_rings if state.ring(name).running]
            if still:
                raise InvalidTransition(
                    f"{' and '.join(still)} still run on the backbone",
                    f"Stop them first: {', '.join(f'`ring-ctl down {name}`' for name in still)}.",
                )
        else:
            policy.runtime_ring(self.settings, ring)
        return await self._lifecycle(Kind.DOWN, ring, actor, wait_s, watch)

    async def cancel(self, operation_id: str, actor: Actor, reason: str) -> CancelAnswer:
        """Ends an operation at its next safe point: before it touches what runs, or not at all."""
        return await unfinished.cancelled(self._world, self._operations, operation_id, actor, reason)

    async def recover(self, *, wait_s: float | None = None, watch: Watch | None = None) -> RecoverAnswer:
        """Carries on every operation whose worker died, and waits up to `wait_s` seconds for each to end."""
        return await unfinished.recovered(self._world, self._operations, wait_s, watch)

    async def unlock(self, ring: str, actor: Actor, reason: str) -> UnlockAnswer:
        """A person lifts what keeps a ring from being changed: `stuck`, or a claim that cannot be read."""
        return unlock(self._world, ring, actor, reason)

    async def create_token(
        self,
        name: str,
        role: Role,
        actor: Actor,
        *,
        kind: Literal["person", "agent"] = "agent",
        attended: bool = True,
        expires_s: float | None = None,
    ) -> TokenCreatedAnswer:
        """A new way in over HTTP; the answer holds its secret, which is kept nowhere."""
        return tokens.create(self._world, name, role, actor, kind=kind, attended=attended, expires_s=expires_s)

    async def tokens(self) -> TokensAnswer:
        return tokens.listed(self._world)

    async def revoke_token(self, token_id: str, actor: Actor) -> TokenRevokedAnswer:
        return tokens.revoke(self._world, token_id, actor)

    async def freeze(self, ring: str, actor: Actor, reason: str, *, for_s: float | None = None) -> FreezeAnswer:
        """Nothing new comes into `ring` until somebody thaws it, or for so many seconds; going back stays open."""
        return self._freezing.freeze(ring, actor, reason, for_s)

    async def thaw(self, ring: str, actor: Actor, reason: str | None = None) -> FreezeAnswer:
        """A person lets new releases into `ring` again."""
        return self._freezing.thaw(ring, actor, reason)

    def monitor(self, say: OnLine) -> Monitor:
        """The RingMonitor of this installation; `say` gets a line for whatever it does."""
        return Monitor(self._world, self._operations, say)

    async def work(self, operation_id: str, claim_fd: int) -> bool:
        """The worker's part: drives one operation with the claim it inherited, and watches its release settle where
        there is something to go back to in one step. True when the operation came to an end.
        """
        return await working.work(self._world, self._operations, operation_id, claim_fd)

    # -- shared pieces

    async def _lifecycle(
        self, kind: Kind, ring: str, actor: Actor, wait_s: float | None, watch: Watch | None
    ) -> LifecycleAnswer:
        # Once it has begun, an operation of this kind waits for an engine that is away: ask before.
        await self._world.engine.facts()
        await self._operations.free(ring)
        op = self._operations.start(Request(kind=kind, ring=ring), actor)
        return cast("LifecycleAnswer", await self._result(op.id, wait_s, watch))

    async def _result(
        self, operation_id: str, wait_s: float | None, watch: Watch | None, started: Started | None = None
    ) -> RolloutAnswer:
        if started:
            started(operation_id)
        op, interrupted = await self._operations.watch(operation_id, wait_s, watch)
        world, ring = self._world, op.request.ring
        answer = outcomes.answer(
            op,
            gate=world.is_gate(ring),
            onward=world.onward(ring),
            now=world.clock.now(),
            interrupted=interrupted,
        )
        return await waiting_plans.worded(self._approvals, answer)
