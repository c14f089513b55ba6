"""The plans that wait for a person: which they are, what was said to them, and the words in which an agent asks."""

from __future__ import annotations

from aither_rings_mcp.domain.answers import (
    ApprovalView,
    AskedPlanAnswer,
    PlanAnswer,
    PlanReply,
    RolloutAnswer,
    WaitingPlansAnswer,
)
from aither_rings_mcp.domain.errors import DockerUnavailable, OperationNotFound, PlanExpired, RingError
from aither_rings_mcp.domain.model import RecordedEvent
from aither_rings_mcp.domain.plan import Plan
from aither_rings_mcp.manager.approval_events import said_to
from aither_rings_mcp.manager.approvals import WAITING, Approvals
from aither_rings_mcp.manager.world import World

#: So many plans are shown, and so many replies to one: nobody reads more.
_PLANS, _REPLIES = 20, 20
#: How far back operations are looked through for what they asked a person.
_LOOK_BACK = 100
_SERVICES = 12


async def waiting(world: World, approvals: Approvals) -> WaitingPlansAnswer:
    """Every plan that a person was asked about, could still be answered, and still says what would happen."""
    world.state.load()  # where this cannot be read, nobody can tell what waits
    shown: list[AskedPlanAnswer] = []
    for plan in _unanswered(world):
        try:
            shown.append(_seen(plan, await approvals.proposal(plan.id), "open"))
        except DockerUnavailable:
            raise
        except RingError:
            continue  # it would not happen any more, and hides no other: whoever asked has to ask anew
    count = f"{len(shown)} plan{'s' if len(shown) != 1 else ''}"
    return WaitingPlansAnswer(
        ok=True,
        summary=f"{count} wait{'s' if len(shown) == 1 else ''} for a person." if shown else "No plan waits.",
        as_of=world.clock.now(),
        plans=tuple(shown),
    )


def waiting_ids(world: World) -> tuple[str, ...]:
    """The ids of the plans that a person was asked about and has not answered, newest first."""
    return tuple(plan.id for plan in _unanswered(world))


def _unanswered(world: World) -> tuple[Plan, ...]:
    asked = {op.approval_plan for op in world.journals.recent(_LOOK_BACK)}
    newest: dict[tuple[str, str], Plan] = {}
    for plan in world.plans.unanswered(world.clock.now()):
        if plan.goes_back or plan.id in asked:
            newest.setdefault((plan.hash, str(plan.by)), plan)
    return tuple(newest.values())[:_PLANS]


async def asked(world: World, approvals: Approvals, plan_id: str) -> AskedPlanAnswer:
    """One plan with what was said to it; `plan_stale` where it no longer says what would happen."""
    try:
        plan = world.plans.load(plan_id)
    except PlanExpired as error:
        raise OperationNotFound(error.message, WAITING) from error
    proposal, now = await approvals.proposal(plan_id), world.clock.now()
    said = said_to(world, plan)
    is_open = any(each.id == plan.id for each in world.plans.unanswered(now))
    seen = _seen(plan, proposal, said[0] if said else "open" if is_open else "over")
    return seen.model_copy(update={"replies": _replies(world, plan)})


def _seen(plan: Plan, proposal: PlanAnswer, state: str) -> AskedPlanAnswer:
    return AskedPlanAnswer.model_validate(
        {
            **{name: getattr(proposal, name) for name in PlanAnswer.model_fields},
            "asked_by": str(plan.by),
            "asked_at": plan.created_at,
            "state": state,
        }
    )


def _replies(world: World, plan: Plan) -> tuple[PlanReply, ...]:
    def about(event: RecordedEvent) -> bool:
        return event.event == "approval" and event.outcome != "asked" and plan.id in {event.operation, event.detail}

    events, _ = world.history.read(_REPLIES, None, about)
    return tuple(PlanReply(at=e.at, by=e.actor, outcome=e.outcome, reason=e.reason) for e in events)


async def worded(approvals: Approvals, answer: RolloutAnswer) -> RolloutAnswer:
    """An answer that asks a person for something, with the words for them; any other as it is."""
    view: ApprovalView | None = getattr(answer, "approval", None)
    return answer.model_copy(update={"approval": await in_words(approvals, view)}) if view else answer


async def in_words(approvals: Approvals, view: ApprovalView) -> ApprovalView:
    """The same with what a person has to know: as it was where the plan does not say that any more."""
    try:
        plan = await approvals.proposal(str(view.plan_id))
    except RingError:
        return view
    if plan.plan_hash != view.plan_hash:
        return view
    return view.model_copy(
        update={"expires_at": plan.expires_at, "blast_radius": plan.blast_radius, "words": _words(plan, view)}
    )


def _words(plan: PlanAnswer, view: ApprovalView) -> str:
    """Only names and ids that the project made or rings.yaml has: what an agent wrote asks for nothing."""
    back, radius = plan.source == plan.target, plan.blast_radius
    what = f"take {plan.target} back" if back else f"promote {plan.source} -> {plan.target}"
    forced = ", PAST THE GATES" if any(warning.startswith("FORCED") for warning in plan.warnings) else ""
    rows = [f"{row.service} ({row.action})" for row in plan.changes[:_SERVICES]]
    if more := len(plan.changes) - len(rows):
        rows.append(f"{more} more")
    critical = [*radius.critical[:_SERVICES]]
    if more := len(radius.critical) - len(critical):
        critical.append(f"{more} more")
    felt = f"{radius.services} services" + (f", critical: {', '.join(critical)}" if critical else "")
    return (
        f"Please decide on plan {plan.plan_id}: {what}, release {plan.release}{forced}. "
        f"It changes {', '.join(rows)}. Who feels it: {felt}; {radius.downtime}. "
        + ("" if back else f"Way back: {plan.rollback_to or 'none'}. ")
        + f"Plan hash: {plan.plan_hash}. It can be answered until {plan.expires_at:%Y-%m-%d %H:%M:%SZ}, "
        f"by somebody else than who asked: {'; or '.join(view.ways)}."
    )
