"""What an operation came to, as the answers of its use case and the calls that make sense next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aither_rings_mcp.domain import approval
from aither_rings_mcp.domain.answers import (
    ApprovalView,
    DeployAnswer,
    LifecycleAnswer,
    NextAction,
    PromoteAnswer,
    RollbackAnswer,
    RolloutAnswer,
    Verification,
)
from aither_rings_mcp.domain.errors import RingError, RingStuck, from_record
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase
from aither_rings_mcp.domain.verdict import blocking
from aither_rings_mcp.manager.world import BACKBONE

_DONE = {
    Kind.DEPLOY: "deployed",
    Kind.PROMOTE: "promoted",
    Kind.ROLLBACK: "rolled_back",
    Kind.UP: "up",
    Kind.DOWN: "down",
    Kind.SETTLE: "settled",
}


def outcome_of(op: Operation, *, gate: bool) -> str:
    """The operation in one word, as history and answers say it."""
    match op.phase:
        case Phase.DONE if _in_vain(op):
            return "failed"
        case Phase.DONE if op.kept_unhealthy:
            return "unhealthy"
        case Phase.DONE if gate:
            return "candidate_tagged"
        case Phase.DONE:
            return _DONE[op.request.kind]
        case Phase.BLOCKED:
            return "approval_required" if op.approval_plan else "blocked"
        case Phase.ROLLED_BACK | Phase.STUCK | Phase.FAILED | Phase.CANCELLED:
            return op.phase.value
        case _:
            return "running"


def _in_vain(op: Operation) -> bool:
    """Whether a ring could not be started or stopped: nothing was replaced, so it was recorded as it is."""
    return op.phase is Phase.DONE and op.failure is not None and op.request.kind in {Kind.UP, Kind.DOWN}


def failure_of(op: Operation) -> RingError | None:
    """The error to raise for an operation that ended without a result to answer with."""
    if op.failure and (op.phase is Phase.FAILED or _in_vain(op)):
        return from_record({**op.failure.record, "operation_id": op.id})
    if op.phase is Phase.CANCELLED:
        return from_record(
            {
                "type": "Forbidden",
                "message": f"{op.id} was cancelled; nothing was changed",
                "next": "Ask again when ready.",
            }
        )
    return None


def answer(
    op: Operation, *, gate: bool, now: datetime, onward: Sequence[str] = (), interrupted: bool = False
) -> RolloutAnswer:
    """The answer of the operation's own kind; `onward` are the rings that paths lead to from its ring.

    Raises its error when it failed.
    """
    error = failure_of(op)
    if error:
        raise error
    outcome: Any = outcome_of(op, gate=gate)
    ok = op.phase is Phase.DONE and not op.kept_unhealthy
    common: dict[str, Any] = {
        "ok": ok or (outcome == "running" and not interrupted),
        "operation_id": op.id,
        "release": op.release.id if op.release else None,
        "verification": _verification(op),
        "as_of": now,
        "outcome": outcome,
        "summary": summary(op, outcome, interrupted),
        "next_actions": () if interrupted else next_actions(op, outcome, onward),
    }
    back_to = op.previous if op.phase is Phase.ROLLED_BACK else None
    match op.request.kind:
        case Kind.PROMOTE:
            return PromoteAnswer(
                **common,
                gates=op.gates,
                settling_until=op.settling_until,
                rolled_back_to=back_to,
                approval=approval_of(op) if op.approval_plan else None,
            )
        case Kind.ROLLBACK:
            return RollbackAnswer(
                **common,
                from_=op.previous,
                to=op.release.id if op.release else None,
                forensics=op.forensics,
            )
        case Kind.DEPLOY:
            return DeployAnswer(
                **common,
                tag=op.release.tag if op.release else None,
                commit=op.release.commit if op.release else None,
                rolled_back_to=back_to,
            )
        case Kind.UP | Kind.DOWN | Kind.SETTLE:
            return LifecycleAnswer(**common, ring=op.request.ring)


def _verification(op: Operation) -> Verification | None:
    """What was observed; of a release that could not even be started, why."""
    if op.verification:
        return Verification.model_validate(op.verification)
    if op.failure and op.release:
        return Verification(images_match=False, healthy=0, total=len(op.release.images), reason=op.failure.why)
    return None


def approval_of(op: Operation) -> ApprovalView:
    """What is asked of a person about an operation that ended so."""
    return approval.asked_of_a_person(str(op.approval_plan), op.approval_hash)


def summary(op: Operation, outcome: str, interrupted: bool = False) -> str:
    """One sentence. Nothing in it comes from logs, tests or commit messages."""
    ring, source = op.request.ring, op.request.source
    release = f"{op.release.tag} ({op.release.id})" if op.release else "the release"
    reason = op.verification.get("reason")
    match outcome:
        case "running" if interrupted:
            return (
                f"The {op.request.kind} of {ring} was interrupted while {op.phase}; `ring-ctl recover` carries it on."
            )
        case "running":
            return f"The {op.request.kind} of {ring} is {op.phase}; ask for operation {op.id} to see it end."
        case "deployed":
            return f"{ring} runs {release}, healthy."
        case "unhealthy" if ring == BACKBONE:
            return "The backbone was started, but is not well; the operation's log names which service."
        case "unhealthy":
            return f"{ring} runs {op.release.tag if op.release else 'its release'}, but it is not healthy."
        case "promoted":
            forced = f", forced past its gates by {op.request.override.by}" if op.request.override else ""
            return f"{ring} runs {release}, promoted from {source}{forced}, verified by image id and health."
        case "candidate_tagged":
            forced = f" (forced by {op.request.override.by})" if op.request.override else ""
            return f"{release} is now the candidate in {ring}{forced}."
        case "blocked":
            names = ", ".join(result.name for result in blocking(op.gates))
            return f"Blocked on the way from {source} to {ring} by {names}; nothing was changed."
        case "approval_required" if op.request.override:
            return (
                f"A person has to approve plan {op.approval_plan} before an agent goes past the gates of {ring}; "
                "nothing was changed."
            )
        case "approval_required":
            return f"A person has to approve plan {op.approval_plan} before {ring} changes; nothing was changed."
        case "rolled_back" if op.request.kind is Kind.ROLLBACK:
            return f"{ring} is back on {release}, verified by image id and health."
        case "rolled_back" if op.slotted and op.previous:
            why = "it did not prove itself" if reason else "it could not be started"
            met = "users had met some of it" if _met(op) else "no user met it"
            return f"{release} was refused because {why}; {ring} stays on {op.previous}, and {met}."
        case "rolled_back":
            went = f"back on {op.previous}" if op.previous else "down, as before"
            why = "it did not become healthy" if reason else "it could not be started"
            return f"{release} was taken back because {why}; {ring} is {went}."
        case "stuck":
            return (
                f"{ring} is stuck: going back failed too, and nothing automatic will touch it; "
                f"once a person has looked, {_lift(ring)} takes it back into service."
            )
        case "up" | "down":
            return f"{ring} is {outcome}."
        case "settled":
            return f"{ring} has settled on {release}; its other slot is stopped."
        case _:
            return f"The {op.request.kind} of {ring} ended as {outcome}."


def _met(op: Operation) -> bool:
    return any(step.phase in {Phase.CANARY, Phase.ROLLING, Phase.SWITCHING} for step in op.steps)


def next_actions(op: Operation, outcome: str, onward: Sequence[str] = ()) -> tuple[NextAction, ...]:
    """At most three calls that make sense now; onward from a candidate only where there is one way."""
    ring = op.request.ring
    if ring == BACKBONE:
        return ()
    look = NextAction(tool="ring_health", arguments={"ring": ring}, why="see each service's state")
    evidence = NextAction(tool="ring_evidence", arguments={"operation_id": op.id}, why="read what was seen of it")
    match outcome:
        case "running":
            return (
                NextAction(
                    tool="ring_operation",
                    arguments={"operation_id": op.id, "wait_s": 45},
                    why="wait for the operation to end",
                ),
            )
        case "candidate_tagged" if len(onward) == 1:
            path = {"source": ring, "target": onward[0]}
            return (
                NextAction(tool="ring_plan", arguments=path, why="see what promoting the candidate would change"),
                NextAction(tool="ring_promote", arguments=path, why=f"bring the candidate to {onward[0]}"),
            )
        case "approval_required":
            plan, override = str(op.approval_plan), op.request.override
            forced = override.reason if override else None
            why = f"apply plan {plan}, once a person has approved it"
            return (approval.promotion_by(plan, str(op.request.source), ring, forced, why),)
        case "blocked":
            return (
                NextAction(
                    tool="ring_operation",
                    arguments={"operation_id": op.id, "include_log": True},
                    why="read what the gates wrote",
                ),
            )
        case "rolled_back" if op.request.kind is not Kind.ROLLBACK:
            return (
                look,
                evidence,
                NextAction(tool="ring_history", arguments={"ring": ring, "limit": 5}, why="see what happened"),
            )
        case "unhealthy" | "stuck" | "rolled_back":
            return (look, evidence)
        case "promoted" | "deployed" | "up":
            return (look,)
        case _:
            return ()


def undone(op: Operation) -> tuple[str, ...]:
    """What cancelling took back, by the phase in which it was heard; images that were built stay, unused."""
    last = next((step.phase for step in reversed(op.steps) if step.phase is not Phase.CANCELLED), Phase.ACCEPTED)
    match last:
        case Phase.BUILDING:
            return ("the build was stopped",)
        case Phase.GATING:
            return ("the gates were stopped", "a preview that they ran in was taken down")
        case _:
            return ()


def stuck_error(ring: str, why: str) -> RingStuck:
    operation, _, _ = why.partition(":")
    seen = f"`ring-ctl operation {operation} --evidence`, " if operation.startswith("op-") else ""
    return RingStuck(
        f"{ring} is stuck: {why}",
        f"A person has to look ({seen}`ring-ctl health {ring}`), then lift it with {_lift(ring)}.",
        ring=ring,
    )


def _lift(ring: str) -> str:
    return f"`ring-ctl unlock {ring} --reason TEXT`"
