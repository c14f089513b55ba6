"""`manual_approval`: a person has said yes to exactly this promotion."""

from __future__ import annotations

from typing import ClassVar

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.verdict import Evidence, Verdict
from aither_rings_mcp.ports import Finding, GateContext


class ManualApproval:
    """Asks the desk, never the person: an answer is given out of band, bound to a plan, and expires."""

    version: ClassVar[str] = "1"

    class Options(Value):
        pass

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        if rejected_by := await ctx.approval.rejected_by():
            return Finding(
                Verdict.FAILED,
                f"{rejected_by} rejected this promotion",
                "approval_rejected",
                fix_hint="Ask them why; a changed release needs a new plan and a new answer.",
            )
        if approved_by := await ctx.approval.approved_by():
            return Finding(
                Verdict.PASSED,
                f"approved by {approved_by}",
                evidence=(Evidence(kind="approval", ref=ctx.release.id, value=approved_by),),
            )
        return Finding(
            Verdict.FAILED,
            f"nobody has approved the promotion of {ctx.release.id} to {ctx.target} yet",
            "approval_required",
            fix_hint="A person approves it with `ring-ctl approve PLAN_ID`; then promote again with that plan.",
        )
