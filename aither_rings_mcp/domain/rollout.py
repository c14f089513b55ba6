"""A rollout: one deploy, promotion, rollback, up or down, as a journalled sequence of phases.

Every phase change is a line of `TRANSITIONS`; nothing else moves a rollout on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, Field

from aither_rings_mcp.domain.errors import RingError, to_record
from aither_rings_mcp.domain.model import Actor, Override, Release
from aither_rings_mcp.domain.settings import Strategy
from aither_rings_mcp.domain.slots import Slot, Traffic
from aither_rings_mcp.domain.value import Value
from aither_rings_mcp.domain.verdict import GateResult


class Kind(StrEnum):
    DEPLOY = "deploy"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    UP = "up"
    DOWN = "down"
    #: A release has settled: the slot that it came from is stopped.
    SETTLE = "settle"


class Phase(StrEnum):
    ACCEPTED = "accepted"
    BUILDING = "building"
    GATING = "gating"
    PREPARING = "preparing"
    #: The other slot comes up, beside the one that serves.
    STARTING = "starting"
    #: It proves itself before anybody gets an answer from it.
    PROVING = "proving"
    #: It gets a growing share of the requests.
    CANARY = "canary"
    #: Service after service goes over.
    ROLLING = "rolling"
    SWITCHING = "switching"
    VERIFYING = "verifying"
    RECORDING = "recording"
    #: A slot that no longer serves is stopped.
    RETIRING = "retiring"
    RESTORING = "restoring"
    RESTORE_VERIFYING = "restore_verifying"
    RESTORE_RECORDING = "restore_recording"
    # final
    DONE = "done"
    BLOCKED = "blocked"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STUCK = "stuck"


FINAL = frozenset({Phase.DONE, Phase.BLOCKED, Phase.ROLLED_BACK, Phase.FAILED, Phase.CANCELLED, Phase.STUCK})
#: Until here nothing that runs has been touched, so giving up means: nothing happened.
BEFORE_EFFECT = frozenset({Phase.ACCEPTED, Phase.BUILDING, Phase.GATING, Phase.PREPARING})


class Signal(StrEnum):
    """What the effect of a phase came to."""

    BUILD = "build"
    GATE = "gate"
    PREPARE = "prepare"
    SWITCH = "switch"
    #: The release comes to the other slot first.
    STAGE = "stage"
    SHARE = "share"
    ROLL = "roll"
    RETIRE = "retire"
    OK = "ok"
    #: The edge sends everybody to a slot that proved itself before.
    ROUTED = "routed"
    #: What ran before serves, and was never stopped.
    UNTOUCHED = "untouched"
    #: The candidate is tagged: a gate ring runs nothing.
    TAGGED = "tagged"
    REFUSED = "refused"
    UNHEALTHY = "unhealthy"
    #: Unhealthy, in a ring whose bad releases stay for their author to look at.
    KEPT = "kept"
    #: Nothing is left to verify: the ring was taken down.
    DOWN = "down"
    ERROR = "error"
    CANCEL = "cancel"


TRANSITIONS: Mapping[tuple[Phase, Signal], Phase] = {
    (Phase.ACCEPTED, Signal.BUILD): Phase.BUILDING,
    (Phase.ACCEPTED, Signal.GATE): Phase.GATING,
    (Phase.ACCEPTED, Signal.PREPARE): Phase.PREPARING,
    (Phase.ACCEPTED, Signal.SWITCH): Phase.SWITCHING,
    (Phase.ACCEPTED, Signal.RETIRE): Phase.RETIRING,
    (Phase.ACCEPTED, Signal.CANCEL): Phase.CANCELLED,
    (Phase.ACCEPTED, Signal.ERROR): Phase.FAILED,
    (Phase.BUILDING, Signal.OK): Phase.PREPARING,
    (Phase.BUILDING, Signal.ERROR): Phase.FAILED,
    (Phase.BUILDING, Signal.CANCEL): Phase.CANCELLED,
    (Phase.GATING, Signal.OK): Phase.PREPARING,
    (Phase.GATING, Signal.REFUSED): Phase.BLOCKED,
    (Phase.GATING, Signal.ERROR): Phase.FAILED,
    (Phase.GATING, Signal.CANCEL): Phase.CANCELLED,
    (Phase.PREPARING, Signal.OK): Phase.SWITCHING,
    (Phase.PREPARING, Signal.STAGE): Phase.STARTING,
    (Phase.PREPARING, Signal.TAGGED): Phase.RECORDING,
    (Phase.PREPARING, Signal.ERROR): Phase.FAILED,
    (Phase.PREPARING, Signal.CANCEL): Phase.CANCELLED,
    (Phase.STARTING, Signal.OK): Phase.PROVING,
    (Phase.STARTING, Signal.ERROR): Phase.RESTORING,
    # What was to be gone back to did not come up: nothing that serves was touched.
    (Phase.STARTING, Signal.REFUSED): Phase.FAILED,
    (Phase.PROVING, Signal.REFUSED): Phase.FAILED,
    (Phase.PROVING, Signal.OK): Phase.SWITCHING,
    (Phase.PROVING, Signal.SHARE): Phase.CANARY,
    (Phase.PROVING, Signal.UNHEALTHY): Phase.RESTORING,
    (Phase.PREPARING, Signal.ROLL): Phase.ROLLING,
    (Phase.ROLLING, Signal.OK): Phase.SWITCHING,
    (Phase.ROLLING, Signal.UNHEALTHY): Phase.RESTORING,
    (Phase.ROLLING, Signal.REFUSED): Phase.FAILED,
    (Phase.CANARY, Signal.OK): Phase.SWITCHING,
    (Phase.CANARY, Signal.UNHEALTHY): Phase.RESTORING,
    (Phase.SWITCHING, Signal.ROUTED): Phase.RECORDING,
    (Phase.SWITCHING, Signal.OK): Phase.VERIFYING,
    (Phase.SWITCHING, Signal.DOWN): Phase.RECORDING,
    # A slot to go back to that is not well any more: users stay where they are.
    (Phase.SWITCHING, Signal.REFUSED): Phase.FAILED,
    (Phase.SWITCHING, Signal.ERROR): Phase.RESTORING,
    (Phase.SWITCHING, Signal.KEPT): Phase.RECORDING,
    (Phase.VERIFYING, Signal.OK): Phase.RECORDING,
    (Phase.VERIFYING, Signal.KEPT): Phase.RECORDING,
    (Phase.VERIFYING, Signal.UNHEALTHY): Phase.RESTORING,
    (Phase.RECORDING, Signal.OK): Phase.DONE,
    (Phase.RETIRING, Signal.OK): Phase.RECORDING,
    (Phase.RESTORING, Signal.OK): Phase.RESTORE_VERIFYING,
    (Phase.RESTORING, Signal.DOWN): Phase.RESTORE_RECORDING,
    (Phase.RESTORING, Signal.UNTOUCHED): Phase.RESTORE_RECORDING,
    (Phase.RESTORING, Signal.ERROR): Phase.STUCK,
    # Never roll back a rollback: a rollback that fails has nothing to restore to. Nor across a contract.
    (Phase.RESTORING, Signal.REFUSED): Phase.STUCK,
    (Phase.RESTORE_VERIFYING, Signal.OK): Phase.RESTORE_RECORDING,
    (Phase.RESTORE_VERIFYING, Signal.UNHEALTHY): Phase.STUCK,
    (Phase.RESTORE_RECORDING, Signal.OK): Phase.ROLLED_BACK,
}

#: How far along a phase is, in percent, for people watching.
PERCENT: Mapping[Phase, int] = {
    Phase.ACCEPTED: 0, Phase.BUILDING: 10, Phase.GATING: 10, Phase.PREPARING: 40, Phase.STARTING: 45,
    Phase.PROVING: 55, Phase.CANARY: 65, Phase.ROLLING: 60, Phase.SWITCHING: 70, Phase.VERIFYING: 75,
    Phase.RETIRING: 80, Phase.RECORDING: 95, Phase.RESTORING: 60, Phase.RESTORE_VERIFYING: 80,
    Phase.RESTORE_RECORDING: 95,
}  # fmt: skip


class IllegalTransition(Exception):
    """A programming error: the table has no such line."""


def advance(phase: Phase, signal: Signal) -> Phase:
    """The phase after `signal`, by the table."""
    try:
        return TRANSITIONS[phase, signal]
    except KeyError:
        raise IllegalTransition(f"{phase} has no transition for {signal}") from None


class Request(Value):
    """What was asked for, once parsed at a door. `ring` is the ring that changes."""

    kind: Kind
    ring: str
    source: str | None = None
    plan_id: str | None = None
    tag: str | None = None
    release: str | None = None
    #: What a rollback was asked to go back to, in the asker's words: `release` is what that came to.
    wished: str | None = None
    #: The release that is to go; where another one came meanwhile, nothing happens.
    leaving: str | None = None
    build: bool = True
    reason: str | None = None
    override: Override | None = None
    #: The freeze that the override goes past.
    freeze_passed: str | None = None


class Step(Value):
    """One phase of a rollout, as it went."""

    phase: Phase
    at: AwareDatetime
    note: str | None = None


class Failure(Value):
    """Why a rollout ended without doing what was asked, as `errors.to_record` wrote it."""

    record: Mapping[str, Any]

    @property
    def why(self) -> str:
        """What went wrong, with the last lines that it wrote: data, for no summary."""
        return " | ".join((str(self.record.get("message")), *self.record.get("log_tail", ())[-3:]))[:500]


class SourceState(Value):
    """The working tree at one moment."""

    commit: str
    digest: str


class Operation(Value):
    """The journal of one rollout: the request, how far it came, and what was decided on the way.

    Saved whole before each phase takes effect; what a phase decided is saved with the next one.
    """

    id: str
    request: Request
    actor: Actor
    phase: Phase = Phase.ACCEPTED
    created_at: AwareDatetime
    updated_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    epoch: int = 0
    pid: int | None = None
    idempotency_key: str | None = None
    steps: tuple[Step, ...] = ()
    #: The release this rollout brings, and the one it found running.
    release: Release | None = None
    previous: str | None = None
    gates: tuple[GateResult, ...] = ()
    #: Set by a gate that needs a person's answer; the plan that answer has to be bound to.
    approval_plan: str | None = None
    approval_hash: str | None = None
    #: How the release takes over, and the slot that it comes to; None where nothing that runs changes.
    strategy: Strategy | None = None
    slot: Slot | None = None
    #: Whether another release serves meanwhile, in the other slot.
    beside: bool = False
    #: What the edge counted: for what served before, by which the new release is judged, and for the new release
    #: until it got its users.
    baseline: Traffic | None = None
    before_users: Traffic | None = None
    settling_until: AwareDatetime | None = None
    verification: Mapping[str, Any] = Field(default_factory=dict)
    forensics: str | None = None
    summary: str | None = None
    failure: Failure | None = None
    #: Deployed, but not healthy, and kept for its author to look at.
    kept_unhealthy: bool = False
    #: What the tree was that the images were built from.
    built: SourceState | None = None
    #: What the phase came to, once that is an ending: on disk before it is told, so that an effect which a dying
    #: worker left to be repeated cannot end in another way than was told.
    decided: Signal | None = None
    #: The bad release stays, as going back from it would cross a contract; a person was called.
    stays: bool = False

    @property
    def final(self) -> bool:
        return self.phase in FINAL

    @property
    def slotted(self) -> bool:
        """Whether the release goes by way of the ring's other slot."""
        return self.slot is not None

    @property
    def why(self) -> str:
        """What was wrong with the release, and what with going back; empty when nothing was."""
        said = (self.verification.get("reason"), self.failure.record.get("message") if self.failure else None)
        return "; ".join(str(part) for part in said if part)

    def failed(self, error: RingError) -> Operation:
        """The operation with why it did not do what was asked."""
        return self.model_copy(update={"failure": Failure(record=to_record(error))})


def release_of(op: Operation) -> Release:
    """The release that an operation brings, once a phase has decided it; without one that is a programming error."""
    if op.release is None:
        raise AssertionError(f"{op.id} reached {op.phase} without a release")
    return op.release
