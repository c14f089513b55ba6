"""A person's part: what they are asked, what they answer, and what an answer lets through."""

from __future__ import annotations

from datetime import timedelta

from aither_rings_mcp.domain import approval, policy
from aither_rings_mcp.domain.access import Grant
from aither_rings_mcp.domain.answers import ApprovalAnswer, NextAction, PlanAnswer, RollbackAnswer
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, PlanExpired, PlanStale, RingError
from aither_rings_mcp.domain.model import Actor, Deployment, Override, RingRecord
from aither_rings_mcp.domain.plan import Plan, changes, plan_hash
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.verdict import GateResult
from aither_rings_mcp.manager import approval_events
from aither_rings_mcp.manager.approval_events import Refusals, said_to
from aither_rings_mcp.manager.plan_book import PlanBook, blast_radius, new_plan_id
from aither_rings_mcp.manager.planning import Draft, check_fits, draft_promotion
from aither_rings_mcp.manager.strategies import choose
from aither_rings_mcp.manager.world import World

#: Where whoever may answer finds what they can answer.
WAITING = "GET /plans, or the resource ring://plans, lists the plans that wait for a person."
#: How far back the gates' verdicts on a plan are looked for.
_LOOK_BACK = 100


class Approvals:
    """What waits for a person in one installation."""

    def __init__(self, world: World, plans: PlanBook) -> None:
        self._world = world
        self._plans = plans
        self._refusals = Refusals(world)

    async def proposal(self, plan_id: str) -> PlanAnswer:
        """What a yes to this plan would let happen, as things stand now; `plan_stale` if that is something else."""
        world = self._world
        plan = world.plans.load(plan_id)
        if plan.goes_back:
            return await self._way_back(plan)
        draft = await draft_promotion(world, plan.source, plan.target)
        check_fits(plan, draft)
        shown = await self._plans.shown(draft, plan)
        return shown.model_copy(update={"verdicts": self._verdicts(plan)})

    def _verdicts(self, plan: Plan) -> tuple[GateResult, ...]:
        recent = self._world.journals.recent(_LOOK_BACK)
        return next((op.gates for op in recent if op.request.plan_id == plan.id and op.gates), ())

    async def _way_back(self, plan: Plan) -> PlanAnswer:
        world, ring = self._world, plan.target
        record, release = world.state.load().ring(ring), world.releases.load(plan.release)
        _check_same_way(world, plan, record, release.id)
        config = world.releases.config(release.id)
        now = world.releases.load(record.release).images if record.release else dict[str, str]()
        rows = changes(now, release.images, False)
        choice = await choose(world, release, config)
        return PlanAnswer(
            ok=True,
            summary=f"{ring} would go back to {release.tag} ({release.id}).",
            next_actions=(_again(plan),),
            as_of=world.clock.now(),
            plan_id=plan.id,
            plan_hash=plan.hash,
            expires_at=plan.expires_at,
            source=ring,
            target=ring,
            release=release.id,
            changes=rows,
            gates=(),
            strategy=choice.strategy,
            blast_radius=blast_radius(world, rows, config, choice.strategy),
            approval=approval.asked_of_a_person(plan.id, plan.hash),
            warnings=choice.warnings,
        )

    def answered(
        self,
        plan_id: str,
        approved: bool,
        actor: Actor,
        note: str | None,
        saw: str | None = None,
        grant: Grant | None = None,
    ) -> ApprovalAnswer:
        """A person's yes or no to exactly one plan, also to the history; an attempt that is refused is in there, too,
        once for each who tries it.

        `saw` is the hash of what they were shown; without it, they answer what the plan says. `grant` is what the door
        lets them do, where it has roles.
        """
        world = self._world
        plan = self._to_answer(plan_id, actor, grant)
        try:
            if grant:
                grant.approve()
            if saw is not None and saw != plan.hash:
                raise InvalidArguments(
                    f"plan {plan.id} has another hash than the one that was answered",
                    f"Look at the plan again (`ring-ctl approve` or the resource ring://plans/{plan.id} show it), and "
                    "answer what it says now.",
                    refused="other_hash",
                )
            said_to(world, plan)  # whatever somebody said before is told before this is refused for it
            now = world.clock.now()
            world.plans.answer(plan, approved, actor, note, now)
        except RingError as error:
            self._refusals.tell(plan_id, plan, actor, error)
            raise
        approval_events.answered(world, plan)
        decision = "approved" if approved else "rejected"
        return ApprovalAnswer(
            ok=True,
            summary=f"Plan {plan.id} ({_in_short(plan)}, {plan.release}) is {decision}.",
            next_actions=(_again(plan),) if approved else (),
            as_of=now,
            plan_id=plan.id,
            decision=decision,
            by=str(actor),
        )

    def _to_answer(self, plan_id: str, actor: Actor, grant: Grant | None) -> Plan:
        try:
            return self._world.plans.load(plan_id)
        except RingError as error:
            if grant:
                grant.approve()  # there is no end of ids that are not known: who may not answer leaves no trace of them
            self._refusals.tell(plan_id, None, actor, error)
            if isinstance(error, PlanExpired):
                raise PlanExpired(error.message, WAITING, **error.details) from error
            raise

    def applied(
        self, plan_id: str, draft: Draft, source: str, target: str, actor: Actor, override: Override | None
    ) -> Plan:
        """The plan that a promotion names, if it fits; that who approved it tried to apply it is told."""
        try:
            return self._plans.fitting(plan_id, draft, source, target, actor, override)
        except Forbidden as error:
            self._refusals.tell(plan_id, self._world.plans.load(plan_id), actor, error)
            raise

    # -- going back, where rings.yaml asks a person first

    def to_go_back(self, ring: str, record: RingRecord, choice: Deployment, actor: Actor) -> Plan:
        """The plan by which this actor asked for this very rollback before, or a new one, told to the history."""
        world, now = self._world, self._world.clock.now()
        content = _way_back_hash(world, ring, record, choice.release)
        if known := world.plans.waiting(content, actor, now):
            return known
        plan = Plan(
            id=new_plan_id(), hash=content, source=ring, target=ring, release=choice.release,
            images=world.releases.load(choice.release).images, replaces=record.release, created_at=now,
            expires_at=now + timedelta(seconds=world.settings.limits.approval), by=actor,
        )  # fmt: skip
        world.plans.save(plan)
        approval_events.asked(world, plan, actor)
        return plan

    def unanswered(self, plan: Plan) -> RollbackAnswer | None:
        """What to answer to who wants this rollback before a person said yes to it, if none did."""
        world = self._world
        said = said_to(world, plan)
        if said and said[0] == "approved":
            return None
        if said:
            summary = (
                f"{said[1]} rejected plan {plan.id}: {plan.target} stays on {plan.replaces}; nothing was changed. "
                f"{approval.rejected_way_back(plan)}"
            )
        else:
            summary = (
                f"A person has to approve plan {plan.id} before {plan.target} goes back to {plan.release}; "
                "nothing was changed."
            )
        return RollbackAnswer(
            ok=False,
            summary=summary,
            next_actions=() if said else (_again(plan),),
            as_of=world.clock.now(),
            outcome="refused",
            release=plan.release,
            from_=plan.replaces,
            to=plan.release,
            approval=None if said else approval.asked_of_a_person(plan.id, plan.hash),
        )


def spend_way_back(world: World, op: Operation) -> None:
    """The worker's check of a rollback that needs a yes: there is one, to exactly this, and it is spent on it."""
    ring = op.request.ring
    if not approval.needed_to_go_back(world.settings, ring, op.actor):
        return
    plan = world.plans.load(op.request.plan_id) if op.request.plan_id else None
    said = said_to(world, plan, op.id) if plan else None
    if plan is None or said is None or said[0] != "approved" or approval.same_asker(op.actor, said[1]):
        raise Forbidden(
            f"nobody approved this rollback of {ring}",
            f"Ask for it again, and have a person approve the plan: rollbacks of {ring} by agents wait for one.",
        )
    record = world.state.load().ring(ring)
    choice = policy.rollback_choice(record, ring, op.request.tag, op.request.release)
    _check_same_way(world, plan, record, choice.release)
    world.plans.use(plan, op.id)


def _way_back_hash(world: World, ring: str, record: RingRecord, release: str) -> str:
    return plan_hash(ring, ring, release, world.releases.load(release).images, record.release)


def _check_same_way(world: World, plan: Plan, record: RingRecord, release: str) -> None:
    if plan.hash != _way_back_hash(world, plan.target, record, release):
        raise PlanStale(
            f"plan {plan.id} is to go back from {plan.replaces} to {plan.release}, but {plan.target} runs "
            f"{record.release} by now",
            "Ask for the rollback again.",
        )


def _again(plan: Plan) -> NextAction:
    """The call that the plan waits for."""
    if plan.goes_back:
        return NextAction(
            tool="ring_rollback",
            arguments={"ring": plan.target, "release": plan.release},
            why=f"go back, once a person has approved plan {plan.id}",
        )
    return approval.promotion_by(plan.id, plan.source, plan.target, plan.forced, "apply the approved plan")


def _in_short(plan: Plan) -> str:
    return f"{plan.target} back" if plan.goes_back else f"{plan.source} -> {plan.target}"
