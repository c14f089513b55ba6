"""Asking the person behind an agent's client, in both protocol eras, and passing their answer on.

The change is asked for first: only one that all other gates let through ends in a question. Until 2025-11-25 the server
asks in the middle of the call; from 2026-07-28 on the call ends with the question, and comes again with the answer and
what it is an answer to, sealed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import anyio
from mcp.server.elicitation import render_elicitation_schema
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, Field, ValidationError

from aither_rings_mcp.domain.answers import ApprovalView, PlanAnswer
from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.value import Value
from aither_rings_mcp.entrypoints.mcp_protocol import Ctx

if TYPE_CHECKING:
    from aither_rings_mcp.manager.ring_manager import RingManager

log = logging.getLogger(__name__)

A = TypeVar("A")
#: The first version whose calls end with a question instead of being interrupted by one.
_ENDS_WITH_QUESTION = "2026-07-28"
_QUESTION = "approval"
_CHANGES_SHOWN = 12


class Form(BaseModel):
    """What the person fills in."""

    decision: Literal["approve", "reject"] = Field(title="Decision", description="approve, or reject this plan")
    note: str | None = Field(default=None, title="Note", description="A word to whoever asked.", max_length=500)


class Asked(Value):
    """What was asked, so that an answer counts for nothing else."""

    plan_id: str
    plan_hash: str
    operation_id: str | None = None
    release: str | None = None


Unsaid = Literal["rejected", "declined", "unavailable"]


@dataclass(frozen=True)
class Change(Generic[A]):
    """A change that may have to wait for a person.

    `first` asks for it; `waits` finds in its answer what a person has to say yes to; `approved` does it after that;
    `ended` is the answer where there was no yes.
    """

    first: Callable[[], Awaitable[A]]
    waits: Callable[[A], Asked | None]
    approved: Callable[[Asked], Awaitable[A]]
    ended: Callable[[Asked, Unsaid], A]


def asked_of(approval: ApprovalView | None, operation_id: str | None, release: str | None) -> Asked | None:
    """What is to be asked because of this view, if anything."""
    if approval is None or not approval.required or approval.plan_id is None or approval.plan_hash is None:
        return None
    return Asked(plan_id=approval.plan_id, plan_hash=approval.plan_hash, operation_id=operation_id, release=release)


class Asking:
    """Asks the person at one call's client, who is `person`; `allowed`: rings.yaml lets clients pass answers on.

    A question in the middle of a call is open for `wait_s` seconds: whoever called has no more patience.
    """

    def __init__(self, manager: RingManager, ctx: Ctx, person: Actor, allowed: bool, wait_s: float) -> None:
        self._manager = manager
        self._ctx = ctx
        self._person = person
        self._allowed = allowed
        self._wait_s = wait_s

    async def about(self, change: Change[A]) -> A | InputRequiredResult:
        """The change, once a person said yes where that is needed; the question, where the client brings it to them."""
        if asked := self._asked_before():
            return await self._settled(change, asked, self._answer())
        answer = await change.first()
        asked = change.waits(answer)
        if asked is None or not self._can_ask():
            return answer
        proposal = await self._manager.proposal(asked.plan_id)
        if proposal.plan_hash != asked.plan_hash:
            return answer
        question = ElicitRequestFormParams(
            message=question_about(proposal), requested_schema=render_elicitation_schema(Form)
        )
        if self._ends_with_question():
            return InputRequiredResult(
                input_requests={_QUESTION: ElicitRequest(params=question)}, request_state=asked.model_dump_json()
            )
        return await self._settled(change, asked, await self._heard(question))

    def _can_ask(self) -> bool:
        capabilities = self._ctx.client_capabilities
        form = capabilities.elicitation if capabilities else None
        if not self._allowed or form is None or (form.form is None and form.url is not None):
            return False
        return self._ends_with_question() or (self._wait_s > 0 and self._ctx.session.can_send_request)

    def _ends_with_question(self) -> bool:
        version = self._ctx.protocol_version
        return version is not None and is_version_at_least(version, _ENDS_WITH_QUESTION)

    def _asked_before(self) -> Asked | None:
        """What this call is the answer to. The SDK hands on only what this server sealed, for these very arguments."""
        state = self._ctx.request_state
        if not state or not self._allowed:
            return None
        try:
            return Asked.model_validate_json(state)
        except ValidationError:
            return None

    def _answer(self) -> ElicitResult | None:
        answer = (self._ctx.input_responses or {}).get(_QUESTION)
        return answer if isinstance(answer, ElicitResult) else None

    async def _heard(self, question: ElicitRequestFormParams) -> ElicitResult | None:
        try:
            with anyio.move_on_after(self._wait_s):
                return await self._ctx.session.elicit_form(
                    message=question.message,
                    requested_schema=question.requested_schema,
                    related_request_id=self._ctx.request_id,
                )
            log.warning("nobody answered at the client within %g s", self._wait_s)
        except (MCPError, ValidationError) as error:
            log.warning("the client did not ask its person: %s", type(error).__name__)
        return None

    async def _settled(self, change: Change[A], asked: Asked, answer: ElicitResult | None) -> A:
        if answer is None:
            return change.ended(asked, "unavailable")
        if answer.action != "accept":
            return change.ended(asked, "declined")
        try:
            form = Form.model_validate(answer.content)
        except ValidationError:
            return change.ended(asked, "unavailable")
        approved = form.decision == "approve"
        try:
            await self._manager.answer_plan(asked.plan_id, approved, self._person, form.note, asked.plan_hash)
        except InvalidArguments as error:
            # The same call once more, as a client sends it when the stream of the first broke: what it did stands.
            if not approved or error.details.get("refused") != "answered_already":
                raise
        return await change.approved(asked) if approved else change.ended(asked, "rejected")


def question_about(plan: PlanAnswer) -> str:
    """What the person reads: only names and ids that the project made or rings.yaml has, and not too much of it."""
    back = plan.source == plan.target
    what = f"Take {plan.target} back" if back else f"Promote {plan.source} -> {plan.target}"
    forced = any(warning.startswith("FORCED") for warning in plan.warnings)
    rows = [
        f"  {row.service}: {row.action}" + (f" {row.from_ or 'nothing'} -> {row.to or 'nothing'}")
        for row in plan.changes[:_CHANGES_SHOWN]
    ]
    if more := len(plan.changes) - len(rows):
        rows.append(f"  and {more} more")
    radius = plan.blast_radius
    felt = [f"{radius.services} services", *(["critical: " + ", ".join(radius.critical)] if radius.critical else [])]
    lines = [
        f"{what}? An agent asks for it" + (", PAST THE GATES." if forced else "."),
        f"Plan {plan.plan_id}, release {plan.release}",
        f"Hash {plan.plan_hash}",
        "What changes:",
        *rows,
        f"Who feels it: {'; '.join(felt)}; downtime: {radius.downtime}",
        f"Way back: {plan.rollback_to or 'none'}" if not back else "It is itself a way back.",
    ]
    return "\n".join(lines)
