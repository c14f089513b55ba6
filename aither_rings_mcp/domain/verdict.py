"""What a gate answers: the verdict, the evidence behind it, and what it means for the path."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aither_rings_mcp.domain.value import Value


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    #: The gate could not measure: not the release's fault, and not a pass either.
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


#: Why the gatekeeper left a gate out. Unlike a gate that finds itself not applicable, this one still blocks:
#: nobody asked it, and the gate before it may have been optional.
NOT_REACHED = "predecessor_not_passed"


class Evidence(Value):
    """One fact behind a verdict. `ref` says where (file:line, URL, image id), `value` what was seen."""

    kind: str
    ref: str
    value: str


class FailedItem(Value):
    """One thing that failed inside a gate: a test, a lint finding, a service, a request."""

    id: str
    where: str | None = None
    message: str


class GateResult(Value):
    """One gate's answer, in the shape every door shows."""

    name: str
    status: Verdict
    blocking: bool = True
    cached: bool = False
    duration_ms: int = 0
    summary: str
    reason_code: str | None = None
    evidence: tuple[Evidence, ...] = ()
    failed_items: Annotated[tuple[FailedItem, ...], Field(max_length=10)] = ()
    log_tail: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    fix_hint: str | None = None

    @property
    def blocks(self) -> bool:
        """A blocking gate that did not pass blocks, whether it failed, could not measure or was never reached."""
        unasked = self.status is Verdict.SKIPPED and self.reason_code == NOT_REACHED
        return self.blocking and (unasked or self.status not in {Verdict.PASSED, Verdict.SKIPPED})


def blocking(results: Iterable[GateResult]) -> tuple[GateResult, ...]:
    return tuple(result for result in results if result.blocks)
