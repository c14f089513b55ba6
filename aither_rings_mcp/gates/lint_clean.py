"""`lint_clean`: ruff finds nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from pydantic import Field

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.verdict import Evidence, FailedItem, Verdict
from aither_rings_mcp.gates.source import place, source_changed
from aither_rings_mcp.ports import Finding, GateContext


class LintClean:
    """Runs `ruff check` in the gate's `cwd`; it fixes nothing, whatever the project's configuration says."""

    version: ClassVar[str] = "1"

    class Options(Value):
        python: str = Field(default=sys.executable, description="the interpreter that has ruff")
        args: tuple[str, ...] = Field(default=(), description="further arguments, such as --select")
        paths: tuple[str, ...] = (".",)

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        if changed := source_changed(ctx):
            return changed
        with TemporaryDirectory(prefix="rings-") as folder:
            report = Path(folder) / "ruff.json"
            argv = [
                self._options.python, "-m", "ruff", "check", "--no-fix", "--no-cache",
                "--output-format", "json", "--output-file", str(report),
                *self._options.args, *self._options.paths,
            ]  # fmt: skip
            done = await ctx.commands.run(argv, cwd=ctx.cwd, env=ctx.env, limit=ctx.limit, log=ctx.log)
            text = report.read_text(encoding="utf-8") if report.exists() else ""
        if done.timed_out:
            return Finding(Verdict.TIMEOUT, f"ruff took longer than {ctx.limit:g} s", "limit_reached")
        if done.code not in {0, 1} or not text:
            return Finding(
                Verdict.ERROR,
                f"ruff could not be used that way: it ended with code {done.code}",
                "ruff_unusable",
                evidence=(Evidence(kind="output", ref=f"exit code {done.code}", value=done.output[-2000:]),),
                fix_hint="Set `python` to an interpreter that has ruff; check `args` and ruff's configuration.",
            )
        findings: list[dict[str, Any]] = json.loads(text)
        if not findings:
            return source_changed(ctx) or Finding(Verdict.PASSED, "ruff found nothing")
        files = {str(found["filename"]) for found in findings}
        return Finding(
            Verdict.FAILED,
            f"ruff found {len(findings)} things in {len(files)} files",
            "lint_findings",
            failed_items=tuple(_item(found, ctx) for found in findings),
            fix_hint="`ruff check --fix` mends many of them; then `ring-ctl deploy dev --build` and promote again.",
        )


def _item(found: dict[str, Any], ctx: GateContext) -> FailedItem:
    where = place(ctx, found["filename"], found["location"]["row"])
    # What is no Python at all has no rule's code.
    return FailedItem(id=found["code"] or "invalid-syntax", where=where, message=found["message"])
