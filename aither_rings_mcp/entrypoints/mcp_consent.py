"""What `ring_promote` and `ring_rollback` answer where a person was asked and there was no yes."""

from __future__ import annotations

from datetime import UTC, datetime

from aither_rings_mcp.domain.answers import NextAction, PromoteAnswer, RollbackAnswer
from aither_rings_mcp.domain.approval import asked_of_a_person, promotion_by
from aither_rings_mcp.entrypoints import mcp_arguments as take
from aither_rings_mcp.entrypoints.mcp_approval import Asked, Unsaid, asked_of


def in_promotion(answer: PromoteAnswer) -> Asked | None:
    """What a person has to say yes to before this promotion goes on."""
    if answer.outcome != "approval_required":
        return None
    return asked_of(answer.approval, answer.operation_id, answer.release)


def in_rollback(answer: RollbackAnswer) -> Asked | None:
    """The same of a rollback."""
    return asked_of(answer.approval, None, answer.release) if answer.outcome == "refused" else None


def no_promotion(args: take.PromoteArguments, asked: Asked, how: Unsaid) -> PromoteAnswer:
    """`blocked` where a person said no, `declined_or_unavailable` where nobody answered: that is no no."""
    forced = args.reason if args.force else None
    return PromoteAnswer(
        ok=False,
        summary=_summary(asked, how, args.target),
        next_actions=()
        if how == "rejected"
        else (promotion_by(asked.plan_id, args.source, args.target, forced, _once_approved(asked)),),
        as_of=datetime.now(UTC),
        outcome="blocked" if how == "rejected" else "declined_or_unavailable",
        operation_id=asked.operation_id,
        release=asked.release,
        approval=None if how == "rejected" else asked_of_a_person(asked.plan_id, asked.plan_hash),
    )


def no_rollback(args: take.RollbackArguments, asked: Asked, how: Unsaid) -> RollbackAnswer:
    """`refused`, with the ways where nobody answered."""
    return RollbackAnswer(
        ok=False,
        summary=_summary(asked, how, args.ring),
        next_actions=()
        if how == "rejected"
        else (
            NextAction(
                tool="ring_rollback",
                arguments={"ring": args.ring, "release": asked.release},
                why=_once_approved(asked),
            ),
        ),
        as_of=datetime.now(UTC),
        outcome="refused",
        release=asked.release,
        to=asked.release,
        approval=None if how == "rejected" else asked_of_a_person(asked.plan_id, asked.plan_hash),
    )


def _summary(asked: Asked, how: Unsaid, ring: str) -> str:
    if how == "rejected":
        return f"The person at the client rejected plan {asked.plan_id}; {ring} was not changed."
    what = "was declined at the client, where perhaps nobody saw it" if how == "declined" else "got no usable answer"
    return f"The question about plan {asked.plan_id} {what}; {ring} was not changed. A person can still approve it."


def _once_approved(asked: Asked) -> str:
    return f"go on once a person has approved {asked.plan_id}"
