"""What `ring_promote` and `ring_rollback` answer where a person was asked and there was no yes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from aither_rings_mcp.domain import approval
from aither_rings_mcp.domain.answers import ApprovalView, NextAction, PromoteAnswer, RollbackAnswer
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
    forced = {"force": True, "reason": args.reason} if args.force else {}
    again = {"source": args.source, "target": args.target, "plan_id": asked.plan_id, **forced}
    return PromoteAnswer(
        ok=False,
        summary=_summary(asked, how, args.target),
        next_actions=_once_approved("ring_promote", again, asked, how),
        as_of=datetime.now(UTC),
        outcome="blocked" if how == "rejected" else "declined_or_unavailable",
        operation_id=asked.operation_id,
        release=asked.release,
        approval=_ways(asked, how),
    )


def no_rollback(args: take.RollbackArguments, asked: Asked, how: Unsaid) -> RollbackAnswer:
    """`refused`, with the ways where nobody answered."""
    return RollbackAnswer(
        ok=False,
        summary=_summary(asked, how, args.ring),
        next_actions=_once_approved("ring_rollback", {"ring": args.ring, "release": asked.release}, asked, how),
        as_of=datetime.now(UTC),
        outcome="refused",
        release=asked.release,
        to=asked.release,
        approval=_ways(asked, how),
    )


def _summary(asked: Asked, how: Unsaid, ring: str) -> str:
    if how == "rejected":
        return f"The person at the client rejected plan {asked.plan_id}; {ring} was not changed."
    what = "was declined at the client, where perhaps nobody saw it" if how == "declined" else "got no usable answer"
    return f"The question about plan {asked.plan_id} {what}; {ring} was not changed. A person can still approve it."


def _once_approved(tool: str, arguments: Mapping[str, object], asked: Asked, how: Unsaid) -> tuple[NextAction, ...]:
    if how == "rejected":
        return ()
    return (NextAction(tool=tool, arguments=dict(arguments), why=f"go on once a person has approved {asked.plan_id}"),)


def _ways(asked: Asked, how: Unsaid) -> ApprovalView | None:
    if how == "rejected":
        return None
    ways = approval.ways(asked.plan_id, asked.plan_hash)
    return ApprovalView(required=True, plan_id=asked.plan_id, plan_hash=asked.plan_hash, ways=ways)
