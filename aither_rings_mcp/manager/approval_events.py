"""What the history is told of approvals: that one was asked for, each answer before it counts, each refused attempt."""

from __future__ import annotations

import re
from datetime import datetime

from aither_rings_mcp.domain import approval
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.model import NO_RING, Actor, Event, RecordedEvent
from aither_rings_mcp.domain.plan import Plan
from aither_rings_mcp.manager.world import World

_PLAN_ID = re.compile(r"plan-[0-9a-f]{1,32}\Z")
#: So many actors are told of one plan and one reason: clients name themselves, and could do so without end.
_ACTORS = 20


def asked(world: World, plan: Plan, actor: Actor) -> None:
    """A person is asked for this plan."""
    _append(world, plan.target, "asked", actor, None, plan, detail=plan.id)


def answered(world: World, plan: Plan) -> None:
    """The answer that was just given to the plan: told, and from then on it counts. One that cannot be told is none."""

    def tell(approved: bool, by: Actor, note: str | None, at: datetime) -> None:
        try:
            _tell(world, plan, approved, by, note, at)
        except RingError:
            world.plans.withdraw(plan)
            raise

    world.plans.tell(plan, tell)


def said_to(world: World, plan: Plan, operation: str = "") -> tuple[str, Actor] | None:
    """What `Plans.approval` says. An answer whose door died before the history had it is told first."""

    def tell(approved: bool, by: Actor, note: str | None, at: datetime) -> None:
        # the history itself knows a repetition among its newest events only
        if not world.history.read(1, None, lambda event: _is_answer_to(plan, event))[0]:
            _tell(world, plan, approved, by, note, at)

    world.plans.tell(plan, tell)
    return world.plans.approval(plan, world.clock.now(), operation)


class Refusals:
    """Attempts that were refused. Who repeats one adds nothing to the history, while this process lives."""

    def __init__(self, world: World) -> None:
        self._world = world
        #: (plan id, why) -> who tried.
        self._told: dict[tuple[str | None, str], set[tuple[str, str]]] = {}

    def tell(self, plan_id: str, plan: Plan | None, actor: Actor, error: RingError) -> None:
        code = str(error.details.get("refused", error.code))
        # What is not known has no ring; what does not look like an id of ours is not repeated.
        named = plan_id if plan or _PLAN_ID.match(plan_id) else None
        who, tried = approval.identity(actor), self._told.setdefault((named, code), set())
        if who in tried or len(tried) >= _ACTORS:
            return
        _append(self._world, plan.target if plan else NO_RING, "refused", actor, code, plan, detail=named)
        tried.add(who)


def _tell(world: World, plan: Plan, approved: bool, by: Actor, note: str | None, at: datetime) -> None:
    outcome = "approved" if approved else "rejected"
    _append(world, plan.target, outcome, by, note, plan, at=at, operation=plan.id)


def _is_answer_to(plan: Plan, event: RecordedEvent) -> bool:
    return (event.event, event.operation) == ("approval", plan.id)


def _append(
    world: World,
    ring: str,
    outcome: str,
    actor: Actor,
    reason: str | None,
    plan: Plan | None,
    *,
    at: datetime | None = None,
    operation: str = "",
    detail: str | None = None,
) -> None:
    world.history.append(
        Event(
            at=at or world.clock.now(),
            ring=ring,
            event="approval",
            outcome=outcome,
            operation=operation,
            from_=plan.replaces if plan and plan.goes_back else None,
            to=plan.release if plan else None,
            actor=str(actor),
            via=actor.via,
            call=actor.call,
            reason=reason,
            detail=detail,
        )
    )
