"""`health_check`: every service of the ring that runs the release is healthy now."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.verdict import FailedItem, Verdict
from aither_rings_mcp.ports import Finding, GateContext


class HealthCheck:
    """One look at the services. A ring that is still starting is a case for the gate's `retries`."""

    version: ClassVar[str] = "1"

    class Options(Value):
        critical_only: bool = Field(default=False, description="look at critical services only")

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        seen = [s for s in await ctx.health.read() if s.critical or not self._options.critical_only]
        which = "critical services" if self._options.critical_only else "services"
        if not seen:
            return Finding(
                Verdict.ERROR,
                f"there are no {which} to look at",
                "no_services",
                fix_hint="List them under `services` in rings.yaml.",
            )
        unwell = [service for service in seen if not service.healthy]
        if not unwell:
            return Finding(Verdict.PASSED, f"all {len(seen)} {which} are healthy")
        return Finding(
            Verdict.FAILED,
            f"{len(unwell)} of {len(seen)} {which} are not healthy: {', '.join(s.name for s in unwell)}",
            "unhealthy",
            failed_items=tuple(
                FailedItem(id=s.name, message=f"{s.state}: {s.reason}" if s.reason else str(s.state)) for s in unwell
            ),
            fix_hint=f"`ring-ctl health {ctx.release.ring}` (tool: ring_health) shows them; look at their logs, then "
            "deploy a fix.",
        )
