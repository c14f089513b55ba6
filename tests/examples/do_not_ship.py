"""A third-party gate: nothing that moves on still says DO-NOT-SHIP. A package offers it with

[project.entry-points."aither_rings.gates"]
do_not_ship = "do_not_ship:DoNotShip"
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from aither_rings_mcp.domain.verdict import FailedItem, Verdict
from aither_rings_mcp.ports import Finding, GateContext


class DoNotShip:
    version: ClassVar[str] = "1"

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        marker: str = "DO-NOT-SHIP"
        files: str = "**/*.py"

    def __init__(self, options: Options) -> None:
        self.options = options

    async def check(self, ctx: GateContext) -> Finding:
        found = [
            FailedItem(id=self.options.marker, where=f"{file.relative_to(ctx.root)}:{number}", message=line.strip())
            for file in sorted(ctx.cwd.glob(self.options.files))
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
            if self.options.marker in line
        ]
        if not found:
            return Finding(Verdict.PASSED, f"nothing says {self.options.marker}")
        hint = "Finish these places, then `ring-ctl deploy dev --build` and promote again."
        return Finding(Verdict.FAILED, f"{len(found)} lines are not to ship", "marked", (), tuple(found), hint)
