"""Answers for eyes and for scripts: tables and plain words, or exactly one JSON document."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from textwrap import indent
from typing import Self, cast

from rich import box
from rich.console import Console, RenderableType
from rich.status import Status
from rich.table import Table
from rich.text import Text

from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.verdict import GateResult, Verdict

_STYLES = {
    **dict.fromkeys(("well", "healthy", "running", "candidate", "passed", "yes"), "green"),
    **dict.fromkeys(("promoted", "deployed", "up", "rolled_back", "done"), "green"),
    **dict.fromkeys(("unhealthy", "exited", "missing", "restarting", "stuck", "condemned", "NO"), "bold red"),
    **dict.fromkeys(("failed", "error", "timeout", "blocked", "expired"), "bold red"),
    **dict.fromkeys(("skipped", "empty", "stopped", "unknown"), "dim"),
}
#: Terminal sequences (CSI, OSC) and control characters: what a log says must not steer the terminal.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: Phases and verdicts stay on a terminal's screen; the many lines of a build only pass by.
_KEPT = re.compile(r"(?:\d\d:\d\d:\d\d )?(?:-> |gate |restoring )")
#: Wide enough that no row breaks when a table goes into a pipe or a file.
_PIPE_WIDTH = 300

#: tool -> (command, its positional arguments). What is left over becomes options.
_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ring_status": ("status", ("ring",)),
    "ring_health": ("health", ("ring",)),
    "ring_history": ("history", ("ring",)),
    "ring_plan": ("plan", ("source", "target")),
    "ring_promote": ("promote", ("source", "target")),
    "ring_rollback": ("rollback", ("ring",)),
    "ring_operation": ("operation", ("operation_id",)),
    "ring_cancel": ("cancel", ("operation_id",)),
}
#: Arguments of tools that the command says with another word, or need not say at all.
_OPTIONS = {"plan_id": "plan", "wait_s": "wait", "include_log": "log"}
_UNSAID = {"response_format", "idempotency_key", "log_cursor", "plan_hash", "services"}


def command_line(action: a.NextAction) -> str | None:
    """The command a person types for a next action; None for a tool that this door does not have."""
    arguments = {name: value for name, value in action.arguments.items() if name not in _UNSAID}
    if action.tool == "ring_approve":
        verb = "approve" if arguments.pop("decision", "approve") == "approve" else "reject"
        command, positional = verb, ("plan_id",)
    elif action.tool == "ring_evidence":
        arguments.pop("cursor", None)  # a terminal gets a section whole
        arguments["evidence"] = True
        command, positional = "operation", ("operation_id",)
    elif action.tool in _COMMANDS:
        command, positional = _COMMANDS[action.tool]
    else:
        return None
    if action.tool == "ring_operation" and arguments.pop("wait_s", 0):
        arguments["follow"] = True
    words = ["ring-ctl", command, *(str(arguments.pop(name)) for name in positional if name in arguments)]
    for name, value in arguments.items():
        option = "--" + _OPTIONS.get(name, name).replace("_", "-")
        if value is True:
            words.append(option)
        elif value is not False and value is not None:
            words += [option, str(value)]
    return shlex.join(words)


def clean(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return _CONTROL.sub("", text)


def print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
    sys.stdout.flush()


def show(answer: a.Answer, as_json: bool) -> None:
    """The answer on stdout: the same object that the MCP tool returns, or words and tables."""
    if as_json:
        print_json(answer.model_dump(mode="json", by_alias=True, exclude_none=True))
        return
    console = _console()
    console.print(Text(clean(answer.summary), style="bold" if answer.ok else "bold red"), soft_wrap=True)
    for part in _body(answer):
        console.print(part, soft_wrap=isinstance(part, Text))
    for action in answer.next_actions:
        if line := command_line(action):
            next_line = Text.assemble(("Next: ", "bold"), (clean(line), "cyan"), f"  {clean(action.why)}")
            console.print(next_line, soft_wrap=True)


def show_error(error: RingError, as_json: bool) -> None:
    """A refusal: one JSON document on stdout, or what and next on stderr."""
    if as_json:
        print_json({"ok": False, "error": error.as_dict()})
        return
    console = _console(stderr=True)
    for line in cast("Sequence[object]", error.details.get("log_tail", ())):
        console.print(Text(f"  {clean(str(line))}", style="dim"), soft_wrap=True)
    console.print(Text.assemble((f"{error.code}: ", "bold red"), clean(error.message)), soft_wrap=True)
    console.print(Text.assemble(("Next: ", "bold"), clean(error.next_step)), soft_wrap=True)


class Watcher:
    """Shows where an operation is, on stderr: a live line on a terminal, else one plain line each.

    Remembers the operation's id, so that a person who stops watching can be told how to watch it again.
    """

    def __init__(self) -> None:
        self.operation_id: str | None = None
        self._console = _console(stderr=True)
        self._live: Status | None = None

    async def __call__(self, progress: a.Progress) -> None:
        self.operation_id = progress.operation_id or self.operation_id
        message = clean(progress.message).strip() or str(progress.phase)
        line = Text.assemble((f"{progress.percent:3d}%", "cyan"), f"  {message}")
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)
            return
        if _KEPT.match(message):
            self._console.print(line)
        line.truncate(self._console.width - 4, overflow="ellipsis")
        if self._live is None:
            self._live = self._console.status(line)
            self._live.start()
        else:
            self._live.update(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()


def _console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def _body(answer: a.Answer) -> Iterator[RenderableType]:
    match answer:
        case a.StatusAnswer():
            yield from _status(answer)
        case a.HealthAnswer():
            yield from _health(answer)
        case a.HistoryAnswer():
            yield from _history(answer)
        case a.PlanAnswer():
            yield from _plan(answer)
        case a.GatesAnswer():
            yield from _gates(answer.gates)
        case a.PromoteAnswer():
            if answer.plan:
                yield from _plan(answer.plan)
            yield from _gates(answer.gates)
            if answer.approval:
                yield from _facts(("approval", ", or ".join(answer.approval.ways)))
            yield from _rollout(answer)
        case a.RollbackAnswer():
            yield from _facts(("from", answer.from_), ("to", answer.to), ("forensics", answer.forensics))
            yield from _rollout(answer)
        case a.RolloutAnswer():
            yield from _rollout(answer)
        case a.OperationAnswer():
            yield from _operation(answer)
        case a.EvidenceAnswer():
            yield from _evidence(answer)
        case a.DoctorAnswer():
            yield from _table(("", "check", "found"), ((_yes(f.ok), f.check, f.detail) for f in answer.findings))
        case a.DrillAnswer():
            yield from _drill(answer)
        case a.VerifyAnswer():
            yield from _facts(("events", answer.events), ("head", answer.head), ("broken at", answer.broken_at))
        case a.MonitorAnswer():
            yield from _monitor(answer)
        case a.CancelAnswer(undone=undone) if undone:
            yield from _facts(("undone", ", ".join(undone)))
        case _:
            return


def _status(answer: a.StatusAnswer) -> Iterator[RenderableType]:
    yield from _table(
        ("ring", "state", "tag", "commit", "release", "since", "rollback to", "ready"),
        (
            (
                ring.name, ring.state, ring.tag, (ring.commit or "")[:7], ring.release,
                _when(ring.deployed_at), ring.rollback_target,
                _yes(ring.rollback_ready) if ring.rollback_target else None,
            )
            for ring in answer.rings
        ),
    )  # fmt: skip
    for ring in answer.rings:
        now = ring.active_operation
        candidate = ring.candidate
        yield from _notes(
            ring.name,
            now and f"{now.kind} {now.operation_id} by {now.owner}, {now.phase}, since {_when(now.since)}",
            candidate and _candidate(candidate),
            ring.stuck and f"STUCK: {ring.stuck}",
            ring.drift and f"DRIFT: {ring.drift}",
            ring.settling_until and f"has to prove itself until {_when(ring.settling_until)}",
            ring.frozen and f"frozen: {ring.frozen}",
            ring.override and f"FORCED past its gates: {ring.override}",
            *(f"quarantined {q.release} since {_when(q.since)}: {q.reason}" for q in ring.quarantine or ()),
            *(f"{service} {image}" for service, image in sorted((ring.images or {}).items())),
        )


def _monitor(answer: a.MonitorAnswer) -> Iterator[RenderableType]:
    yield from _table(
        ("ring", "call", "for", "back in", "proves itself until", "why"),
        (
            (r.ring, r.call, _seconds(r.unhealthy_for_s), _seconds(r.rollback_in_s), _when(r.settling_until), r.reason)
            for r in answer.rings
        ),
    )
    yield from _notes("alerts", *answer.alerts)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} s"


def _candidate(candidate: a.CandidateView) -> str:
    ends = "EXPIRED" if candidate.expired else "until"
    forced = f", forced by {candidate.forced_by}" if candidate.forced_by else ""
    return f"candidate {candidate.tag} ({candidate.release}) {ends} {_when(candidate.expires_at)}{forced}"


def _health(answer: a.HealthAnswer) -> Iterator[RenderableType]:
    yield from _table(
        ("service", "state", "critical", "http", "ms", "restarts", "since", "reason"),
        (
            (
                s.name, s.state, "critical" if s.critical else None, s.http_status,
                None if s.latency_ms is None else f"{s.latency_ms:.0f}", s.restarts or None,
                _when(s.since), s.reason,
            )
            for s in answer.services
        ),
    )  # fmt: skip
    monitor = answer.monitor
    said = ["armed" if monitor.armed else "no monitor would take this ring's release back"]
    if monitor.reason:
        said.append(monitor.reason)
    if monitor.rollback_in_s is not None:
        said.append(f"rolls back in {monitor.rollback_in_s:.0f} s")
    if monitor.settling_until:
        said.append(f"until {_when(monitor.settling_until)}")
    yield from _facts(
        ("backbone", ", ".join(f"{name} {state}" for name, state in sorted(answer.backbone.items()))),
        ("monitor", "; ".join(said)),
    )


def _history(answer: a.HistoryAnswer) -> Iterator[RenderableType]:
    yield from _table(
        ("seq", "at", "ring", "event", "outcome", "from", "to", "who", "took", "why"),
        (
            (
                e.seq, _when(e.at), e.ring, e.event, e.outcome, e.from_, e.to, e.actor,
                None if e.duration_s is None else f"{e.duration_s:.1f} s",
                _why(e),
            )
            for e in answer.events
        ),
    )  # fmt: skip
    if answer.next_cursor:
        yield Text(f"There is more: add --cursor {shlex.quote(answer.next_cursor)}", style="dim")


def _why(event: a.EventView) -> str:
    gates = f"gates: {', '.join(event.gates_failed)}" if event.gates_failed else None
    return "; ".join(part for part in (event.reason, gates, event.detail) if part)


def _plan(plan: a.PlanAnswer) -> Iterator[RenderableType]:
    yield from _table(("service", "from", "to", "action"), ((c.service, c.from_, c.to, c.action) for c in plan.changes))
    radius = plan.blast_radius
    felt = [f"{radius.services} services", radius.downtime]
    if radius.critical:
        felt.insert(1, f"critical: {', '.join(radius.critical)}")
    if radius.ports:
        felt.append(f"ports {', '.join(radius.ports)}")
    yield from _facts(
        ("plan", f"{plan.plan_id}, until {_when(plan.expires_at)}"),
        ("release", plan.release),
        ("gates", ", ".join(plan.gates)),
        ("strategy", plan.strategy),
        ("felt by", "; ".join(felt)),
        ("approval", "needed: " + ", or ".join(plan.approval.ways) if plan.approval.required else None),
        ("way back", plan.rollback_to),
        *(("warning", warning) for warning in plan.warnings),
    )


def _gates(results: Sequence[GateResult]) -> Iterator[RenderableType]:
    if not results:
        return
    yield from _table(
        ("gate", "verdict", "", "took", "summary"),
        (
            (
                g.name, g.status, ("" if g.blocking else "optional ") + ("cached" if g.cached else ""),
                f"{g.duration_ms / 1000:.1f} s", g.summary,
            )
            for g in results
        ),
    )  # fmt: skip
    for gate in results:
        if gate.status in {Verdict.PASSED, Verdict.SKIPPED}:
            continue
        items = [f"{item.id}  {item.where or ''}\n    {item.message}" for item in gate.failed_items]
        # The log's end says it when nothing was parsed out of it.
        yield from _notes(gate.name, *(items or gate.log_tail), gate.fix_hint and f"hint: {gate.fix_hint}")


def _rollout(answer: a.RolloutAnswer) -> Iterator[RenderableType]:
    seen = answer.verification
    observed = seen and ", ".join(
        (
            f"{seen.healthy} of {seen.total} healthy after {seen.waited_s:.1f} s",
            "images as recorded" if seen.images_match else f"OTHER IMAGES in {', '.join(seen.mismatched)}",
        )
    )
    yield from _facts(
        ("operation", answer.operation_id),
        ("release", answer.release),
        ("observed", observed),
        ("unhealthy", ", ".join(seen.unhealthy) if seen else None),
        ("reason", seen.reason if seen else None),
    )


def _operation(answer: a.OperationAnswer) -> Iterator[RenderableType]:
    yield from _facts(
        ("operation", f"{answer.operation_id}: {answer.kind} {answer.ring} by {answer.actor}"),
        ("status", f"{answer.status} ({answer.phase}, {answer.percent}%)"),
    )
    yield from _table(("at", "phase", "note"), ((_when(step.at), step.phase, step.note) for step in answer.steps))
    yield from _gates(answer.gates)
    if answer.error:
        yield from _notes("error", f"{answer.error.get('code')}: {answer.error.get('message')}",
                          f"Next: {answer.error.get('next')}")  # fmt: skip
    if answer.log:
        yield from _notes("log", *answer.log.lines)


def _drill(answer: a.DrillAnswer) -> Iterator[RenderableType]:
    yield from _table(
        ("held", "scenario", "expected", "ended", "detected s", "recovered s"),
        (
            (_yes(one.held), one.name, one.expected, one.ended, one.detected_s, one.recovered_s)
            for one in answer.scenarios
        ),
    )
    for one in answer.scenarios:
        yield from _notes(one.name, *one.faults)
    yield from _notes("left behind", *answer.left)


def _evidence(answer: a.EvidenceAnswer) -> Iterator[RenderableType]:
    if answer.text is not None:
        yield Text(clean(answer.text))
        return
    yield from _facts(("ring", answer.ring), ("release", answer.release))
    yield from _table(
        ("section", "bytes", ""),
        ((s.name, s.bytes, "shortened" if s.truncated else None) for s in answer.sections),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[RenderableType]:
    """A table without the columns that would be empty from top to bottom; nothing at all without rows."""
    lines = [["" if cell is None else clean(str(cell)) for cell in row] for row in rows]
    used = [index for index in range(len(columns)) if any(line[index] for line in lines)]
    if not used:
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index in used:
        table.add_column(columns[index], overflow="fold")
    for line in lines:
        table.add_row(*(Text(line[index], style=_STYLES.get(line[index], "")) for index in used))
    yield table


def _facts(*facts: tuple[str, object]) -> Iterator[RenderableType]:
    known = [(name, clean(str(value))) for name, value in facts if value is not None and value != ""]
    if known:
        grid = Table.grid(padding=(0, 2))
        for name, value in known:
            grid.add_row(Text(name, style="dim"), Text(value))
        yield grid


def _notes(title: str, *notes: str | None) -> Iterator[RenderableType]:
    said = [clean(note) for note in notes if note]
    if said:
        yield Text(f"{title}:", style="bold")
        yield Text(indent("\n".join(said), "  "))


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def _when(at: datetime | None) -> str | None:
    return f"{at:%Y-%m-%d %H:%M:%SZ}" if at else None
