"""What a drill ships, and what it expects: values only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum

from aither_rings_mcp.domain.rollout import Kind, Operation, Phase


class Ware(StrEnum):
    """A release as a drill makes it: good, or bad in one way that is known beforehand. In dev each of them is well."""

    GOOD = "good"
    CRASH_LOOP = "crash-loop"
    NEVER_HEALTHY = "never-healthy"
    #: Ends by itself, some seconds after its start: long after it was promoted.
    LATE = "late"


def reached(op: Operation, *phases: Phase) -> datetime | None:
    """When an operation came to the first of these phases."""
    return next((step.at for step in op.steps if step.phase in phases), None)


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from one to the other, if both happened."""
    return round((end - start).total_seconds(), 1) if start and end else None


def taking_back(operations: Iterable[Operation], bad: str) -> Iterator[Operation]:
    """The operations that took a release back: its own promotion, or a rollback away from it."""
    for op in operations:
        own = op.phase is Phase.ROLLED_BACK and op.release is not None and op.release.id == bad
        if own or (op.request.kind is Kind.ROLLBACK and op.previous == bad):
            yield op


def not_told_once(operations: Iterable[Operation], told: Sequence[str]) -> Iterator[str]:
    """What is wrong with a history that names the operations `told`, in which each that ended should stand once."""
    for op in operations:
        times = told.count(op.id)
        if op.final and times != 1:
            yield f"the history tells {op.id} ({op.request.kind} of {op.request.ring}) {times} times"
        elif not op.final:
            yield f"{op.id} ({op.request.kind} of {op.request.ring}) did not end: it is {op.phase}"
