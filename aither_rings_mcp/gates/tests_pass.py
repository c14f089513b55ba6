"""`tests_pass`: pytest, judged test by test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from pydantic import Field

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.verdict import Evidence, FailedItem, Verdict
from aither_rings_mcp.gates.source import place, source_changed
from aither_rings_mcp.ports import Completed, Finding, GateContext

_PLUGIN = Path(__file__).with_name("pytest_report.py")
_PLUGIN_NAME = "rings_pytest_report"
_REPORT = "RINGS_PYTEST_REPORT"
#: pytest's own exit codes.
_FAILED, _INTERNAL, _USAGE, _NO_TESTS = 1, 3, 4, 5


class TestsPass:
    """Runs pytest in the gate's `cwd` and reads its results from our own small plugin, never from its text."""

    version: ClassVar[str] = "1"
    __test__ = False

    class Options(Value):
        python: str = Field(default=sys.executable, description="the interpreter that has pytest and the project")
        args: tuple[str, ...] = Field(default=(), description="further arguments, such as -x or -m")
        paths: tuple[str, ...] = Field(default=(), description="files and folders; without any, pytest's own choice")

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        if changed := source_changed(ctx):
            return changed
        with TemporaryDirectory(prefix="rings-") as folder:
            report = Path(folder) / "report.jsonl"
            done = await self._pytest(ctx, Path(folder), report)
            tests = read_report(report)
        finding = self._judge(done, tests, ctx)
        # An editor at work during the tests makes a pass a pass of something else.
        return (source_changed(ctx) or finding) if finding.status is Verdict.PASSED else finding

    async def _pytest(self, ctx: GateContext, folder: Path, report: Path) -> Completed:
        (folder / f"{_PLUGIN_NAME}.py").write_bytes(_PLUGIN.read_bytes())
        search = ":".join(part for part in (str(folder), ctx.env.get("PYTHONPATH")) if part)
        quiet = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [self._options.python, "-m", "pytest", "-p", _PLUGIN_NAME, *self._options.args, *self._options.paths]
        return await ctx.commands.run(
            argv,
            cwd=ctx.cwd,
            env={**quiet, **ctx.env, "PYTHONPATH": search, _REPORT: str(report)},
            limit=ctx.limit,
            log=ctx.log,
        )

    def _judge(self, done: Completed, tests: Report, ctx: GateContext) -> Finding:
        failed = tuple(_item(entry, ctx) for entry in tests.failed)
        if done.timed_out:
            hung = tuple(FailedItem(id=test, message="was running when the limit came") for test in tests.running)
            summary = f"the tests took longer than {ctx.limit:g} s ({tests.counts})"
            hint = "Look for what hangs in the tests named here; raise the gate's `limit` if they are just many."
            return Finding(Verdict.TIMEOUT, summary, "limit_reached", failed_items=(*hung, *failed), fix_hint=hint)
        if failed:
            hint = "Fix the code or the tests named here, then `ring-ctl deploy dev --build` and promote again."
            return Finding(Verdict.FAILED, tests.counts, "tests_failed", failed_items=failed, fix_hint=hint)
        if tests.uncollected:
            items = tuple(_item(entry, ctx) for entry in tests.uncollected)
            summary = f"{len(items)} test modules could not be loaded, so the tests did not run"
            hint = "Make these modules importable: a syntax error, or a package that this Python does not have."
            return Finding(Verdict.ERROR, summary, "collection_error", failed_items=items, fix_hint=hint)
        if done.code == 0 and tests.finished and tests.passed:
            return Finding(Verdict.PASSED, tests.counts)
        if done.code == _NO_TESTS or (done.code == 0 and tests.finished):
            hint = "Correct `paths` or `args` of the gate in rings.yaml, or its `cwd`."
            return Finding(Verdict.FAILED, f"no test ran ({tests.counts})", "no_tests", fix_hint=hint)
        return self._unmeasured(done, tests)

    def _unmeasured(self, done: Completed, tests: Report) -> Finding:
        last = "\n".join(line for line in done.output.splitlines() if line.strip())[-2000:]
        evidence = (Evidence(kind="output", ref=f"exit code {done.code}", value=last),)
        if done.code == _FAILED and tests.finished:
            summary = f"every test passed and pytest still failed ({tests.counts})"
            hint = "A plugin said no, a coverage threshold for example: the output names it."
            return Finding(Verdict.FAILED, summary, "pytest_failed", evidence, fix_hint=hint)
        if done.code == _USAGE:
            hint = "Correct `args` and `paths` of the gate in rings.yaml, or pytest's own configuration."
            return Finding(Verdict.ERROR, "pytest could not be used that way", "usage_error", evidence, fix_hint=hint)
        if done.code == _INTERNAL:
            said = Evidence(kind="internal_error", ref="pytest", value=tests.internal_error or "nothing was told")
            hint = "A plugin or a conftest.py is broken: the log has its traceback."
            return Finding(Verdict.ERROR, "pytest itself failed", "internal_error", (said, *evidence), fix_hint=hint)
        if not tests.started:
            summary = f"pytest did not start with {self._options.python}"
            hint = "Set `python` of the gate to an interpreter that has pytest, or install pytest into this one."
            return Finding(Verdict.ERROR, summary, "pytest_not_started", evidence, fix_hint=hint)
        cut_off = tuple(FailedItem(id=test, message="was running when pytest ended") for test in tests.running)
        summary = f"pytest ended before its tests did, with code {done.code} ({tests.counts})"
        hint = "Something ended the whole process: a crash, an exit call, or a lack of memory."
        return Finding(Verdict.ERROR, summary, "tests_interrupted", evidence, cut_off, fix_hint=hint)


@dataclass
class Report:
    """What the plugin told, folded line by line."""

    started: bool = False
    finished: bool = False
    passed: int = 0
    skipped: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    uncollected: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    running: list[str] = field(default_factory=list[str])
    internal_error: str | None = None

    @property
    def counts(self) -> str:
        counts = {"failed": len(self.failed), "passed": self.passed, "skipped": self.skipped}
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "none ended"

    def tell(self, entry: dict[str, Any]) -> None:
        self.started = True
        match entry["event"]:
            case "start":
                self.running.append(entry["nodeid"])
            case "test":
                self._test(entry)
            case "collection_error":
                self.uncollected.append(entry)
            case "internal_error":
                self.internal_error = entry["message"]
            case "finish":
                self.finished = True
            case _:
                pass

    def _test(self, entry: dict[str, Any]) -> None:
        if entry["nodeid"] in self.running:
            self.running.remove(entry["nodeid"])
        match entry["outcome"]:
            case "passed":
                self.passed += 1
            case "skipped":
                self.skipped += 1
            case "failed":
                self.failed.append(entry)
            case _:  # a plugin's own, such as a rerun
                pass


def read_report(path: Path) -> Report:
    """The report as far as it was written; a killed pytest may have torn its last line."""
    report = Report()
    for entry in _whole_lines(path):
        report.tell(entry)
    return report


def _whole_lines(path: Path) -> Iterable[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _item(entry: dict[str, Any], ctx: GateContext) -> FailedItem:
    where = place(ctx, *entry["where"]) if entry["where"] else None
    phase = "" if entry.get("when", "call") == "call" else f"in its {entry['when']}: "
    return FailedItem(id=entry["nodeid"], where=where, message=phase + entry["message"])
