"""Answers for eyes and for scripts: tables and plain words, or exactly one JSON document."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.redact import redacted
from aither_rings_mcp.domain.verdict import GateResult, Verdict
from aither_rings_mcp.entrypoints.cli_page import Column, Page

_QUARANTINE_SHOWN = 3
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
        verb = "approve" if arguments.pop("decision", "approved") in {"approved", "approve"} else "reject"
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


def print_json(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
    sys.stdout.flush()


def show(answer: a.Answer, as_json: bool) -> None:
    """The answer on stdout: the same object that the MCP tool returns, or words and tables."""
    if as_json:
        print_json(answer.model_dump(mode="json", by_alias=True, exclude_none=True))
        return
    page = Page()
    if isinstance(answer, a.TunnelAnswer) and answer.differences is None:
        from aither_rings_mcp.entrypoints.cli_tunnel import ingress_yaml

        page.verbatim((f"# {answer.summary}", "dim"))
        page.verbatim(ingress_yaml(answer.ingress).rstrip())
        return
    page.say((answer.summary, "bold" if answer.ok else "bold red"))
    _body(page, answer)
    for action in answer.next_actions:
        if line := command_line(action):
            _next(page, line, action.why)


def _next(page: Page, command: str, why: str) -> None:
    """The command in one piece, to be copied; why it makes sense beside it, or below."""
    beside = page.width is None or len(f"Next: {command}  {why}") <= page.width
    page.verbatim(("Next: ", "bold"), (command, "cyan"), f"  {why}" if beside else "")
    if not beside:
        page.say(why, indent=6)


def show_error(error: RingError, as_json: bool) -> None:
    """A refusal: one JSON document on stdout, or what and next on stderr."""
    said = redacted(error.as_dict())
    if as_json:
        print_json({"ok": False, "error": said})
        return
    page = Page(stderr=True)
    for line in cast("Sequence[object]", said.get("log_tail", ())):
        page.say((str(line), "dim"), indent=2, hang=2)
    page.say((f"{error.code}: ", "bold red"), said["message"], hang=2)
    page.say(("Next: ", "bold"), said["next"], hang=6)


def _body(page: Page, answer: a.Answer) -> None:
    match answer:
        case a.StatusAnswer():
            _status(page, answer)
        case a.HealthAnswer():
            _health(page, answer)
        case a.HistoryAnswer():
            _history(page, answer)
        case a.PlanAnswer():
            _plan(page, answer)
            _gates(page, answer.verdicts)
        case a.GatesAnswer():
            _gates(page, answer.gates)
        case a.PromoteAnswer():
            if answer.plan:
                _plan(page, answer.plan)
            _gates(page, answer.gates)
            if answer.approval:
                page.facts(("approval", ", or ".join(answer.approval.ways)))
            _rollout(page, answer)
        case a.RollbackAnswer():
            page.facts(("from", answer.from_), ("to", answer.to), ("forensics", answer.forensics))
            if answer.approval:
                page.facts(("approval", ", or ".join(answer.approval.ways)))
            _rollout(page, answer)
        case a.RolloutAnswer():
            _rollout(page, answer)
        case a.OperationAnswer():
            _operation(page, answer)
        case a.EvidenceAnswer():
            _evidence(page, answer)
        case a.DoctorAnswer():
            columns = (Column(""), Column("check"), Column("found", prose=True))
            page.table(columns, ((_yes(f.ok), f.check, f.detail) for f in answer.findings))
        case a.DrillAnswer():
            _drill(page, answer)
        case a.VerifyAnswer():
            page.facts(("events", answer.events), ("head", answer.head), ("broken at", answer.broken_at))
        case a.MonitorAnswer():
            _monitor(page, answer)
        case a.UrlAnswer():
            columns = (Column("service"), Column("url"), Column("in the world", prose=True))
            page.table(columns, ((front.service, front.url, " ".join(front.hostnames)) for front in answer.fronts))
            for front in answer.fronts:
                if front.curl:
                    page.verbatim(front.curl)
        case a.TunnelAnswer(differences=differences) if differences:
            page.notes("differences", *differences)
        case a.TokenCreatedAnswer():
            page.verbatim(answer.token)
            page.facts(("id", answer.created.id), ("role", answer.created.role), ("kind", answer.created.kind))
        case a.TokensAnswer():
            _tokens(page, answer)
        case a.CancelAnswer(undone=undone) if undone:
            page.facts(("undone", ", ".join(undone)))
        case _:
            return


def _status(page: Page, answer: a.StatusAnswer) -> None:
    page.table(
        (
            Column("ring"), Column("state"), Column("tag"), Column("commit", leaves=2), Column("release", leaves=3),
            Column("since", leaves=1, short=_short_time), Column("rollback to", leaves=4), Column("ready", leaves=4),
        ),
        (
            (
                ring.name, ring.state, ring.tag, _commit(ring), ring.release,
                _when(ring.deployed_at), ring.rollback_target,
                _yes(ring.rollback_ready) if ring.rollback_target else None,
            )
            for ring in answer.rings
        ),
    )  # fmt: skip
    for ring in answer.rings:
        now = ring.active_operation
        candidate = ring.candidate
        page.notes(
            ring.name,
            now and f"{now.kind} {now.operation_id} by {now.owner}, {now.phase}, since {_when(now.since)}",
            candidate and _candidate(candidate),
            ring.stuck and f"STUCK: {ring.stuck}",
            ring.stuck and f"once a person has looked: ring-ctl unlock {ring.name} --reason TEXT",
            ring.drift and f"DRIFT: {ring.drift}",
            ring.settling_until and f"has to prove itself until {_when(ring.settling_until)}",
            ring.frozen and f"frozen: {ring.frozen}",
            ring.override and f"FORCED past its gates: {ring.override}",
            *_quarantine(ring.quarantine or ()),
            *(f"{service} {image}" for service, image in sorted((ring.images or {}).items())),
        )


def _commit(ring: a.RingStatus) -> str | None:
    """The commit, unless the tag says it already."""
    short = (ring.commit or "")[:7]
    return None if short in (ring.tag or "") else short


def _monitor(page: Page, answer: a.MonitorAnswer) -> None:
    page.table(
        (
            Column("ring"), Column("call"), Column("for"), Column("back in"),
            Column("proves itself until", leaves=1, short=_short_time), Column("why", prose=True),
        ),
        (
            (r.ring, r.call, _seconds(r.unhealthy_for_s), _seconds(r.rollback_in_s), _when(r.settling_until), r.reason)
            for r in answer.rings
        ),
    )  # fmt: skip
    page.notes("alerts", *answer.alerts)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} s"


def _quarantine(entries: Sequence[a.QuarantineView]) -> Iterator[str]:
    """The newest first, and not all of a long life."""
    for entry in list(reversed(entries))[:_QUARANTINE_SHOWN]:
        yield f"quarantined {entry.release} since {_when(entry.since)}: {entry.reason}"
    if len(entries) > _QUARANTINE_SHOWN:
        yield f"and {len(entries) - _QUARANTINE_SHOWN} more in quarantine: `ring-ctl status --json` names them"


def _candidate(candidate: a.CandidateView) -> str:
    ends = "EXPIRED" if candidate.expired else "until"
    forced = f", forced by {candidate.forced_by}" if candidate.forced_by else ""
    return f"candidate {candidate.tag} ({candidate.release}) {ends} {_when(candidate.expires_at)}{forced}"


def _health(page: Page, answer: a.HealthAnswer) -> None:
    page.table(
        (
            Column("service"), Column("state"), Column("critical", leaves=3), Column("http", leaves=4),
            Column("ms", leaves=2), Column("restarts", leaves=5), Column("since", leaves=1, short=_short_time),
            Column("reason", prose=True),
        ),
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
    page.facts(
        ("backbone", ", ".join(f"{name} {state}" for name, state in sorted(answer.backbone.items()))),
        ("monitor", "; ".join(said)),
        ("way back", "open" if answer.rollback_ready else "NONE is open"),
    )


def _history(page: Page, answer: a.HistoryAnswer) -> None:
    page.table(
        (
            Column("seq", leaves=4), Column("at", short=_short_time), Column("ring"), Column("event"),
            Column("outcome"), Column("from", leaves=1), Column("to", leaves=1),
            Column("who", leaves=3, short=_name), Column("took", leaves=2), Column("why", prose=True),
        ),
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
        page.verbatim((f"There is more: add --cursor {shlex.quote(answer.next_cursor)}", "dim"))


def _why(event: a.EventView) -> str:
    gates = f"gates: {', '.join(event.gates_failed)}" if event.gates_failed else None
    return "; ".join(part for part in (event.reason, gates, event.detail) if part)


def _plan(page: Page, plan: a.PlanAnswer) -> None:
    columns = (Column("service"), Column("from"), Column("to"), Column("action"))
    page.table(columns, ((c.service, c.from_, c.to, c.action) for c in plan.changes))
    radius = plan.blast_radius
    felt = [f"{radius.services} services", radius.downtime]
    if radius.critical:
        felt.insert(1, f"critical: {', '.join(radius.critical)}")
    if radius.ports:
        felt.append(f"ports {', '.join(radius.ports)}")
    page.facts(
        ("plan", f"{plan.plan_id}, until {_when(plan.expires_at)}"),
        ("release", plan.release),
        ("gates", ", ".join(plan.gates)),
        ("strategy", plan.strategy),
        ("felt by", "; ".join(felt)),
        ("approval", "needed: " + ", or ".join(plan.approval.ways) if plan.approval.required else None),
        ("way back", plan.rollback_to),
        *(("warning", warning) for warning in plan.warnings),
    )


def _gates(page: Page, results: Sequence[GateResult]) -> None:
    if not results:
        return
    page.table(
        (
            Column("gate"), Column("verdict"), Column("", leaves=2), Column("took", leaves=1),
            Column("summary", prose=True),
        ),
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
        page.notes(gate.name, *(items or gate.log_tail), gate.fix_hint and f"hint: {gate.fix_hint}")


def _rollout(page: Page, answer: a.RolloutAnswer) -> None:
    seen = answer.verification
    observed = seen and ", ".join(
        (
            f"{seen.healthy} of {seen.total} healthy after {seen.waited_s:.1f} s",
            "images as recorded" if seen.images_match else f"OTHER IMAGES in {', '.join(seen.mismatched)}",
        )
    )
    page.facts(
        ("operation", answer.operation_id),
        ("release", answer.release),
        ("observed", observed),
        ("unhealthy", ", ".join(seen.unhealthy) if seen else None),
        ("reason", seen.reason if seen else None),
    )


def _operation(page: Page, answer: a.OperationAnswer) -> None:
    within = f" ({answer.phase})" if answer.phase != answer.status else ""
    page.facts(
        ("operation", f"{answer.operation_id}: {answer.kind} {answer.ring} by {answer.actor}"),
        ("status", f"{answer.status}{within}, {_lasted(answer):.0f} s"),
    )
    columns = (Column("at", short=_short_time), Column("phase"), Column("note", prose=True))
    page.table(columns, ((_when(step.at), step.phase, step.note) for step in answer.steps))
    _gates(page, answer.gates)
    if answer.error:
        page.notes("error", f"{answer.error.get('code')}: {answer.error.get('message')}",
                          f"Next: {answer.error.get('next')}")  # fmt: skip
    if answer.log:
        page.notes("log", *answer.log.lines)


def _drill(page: Page, answer: a.DrillAnswer) -> None:
    columns = (
        Column("held"), Column("scenario"), Column("detected s"), Column("recovered s"),
        Column("expected", leaves=1), Column("ended", prose=True),
    )  # fmt: skip
    page.table(
        columns,
        (
            (_yes(one.held), one.name, one.detected_s, one.recovered_s, one.expected, one.ended)
            for one in answer.scenarios
        ),
    )
    for one in answer.scenarios:
        page.notes(one.name, *one.faults)
    page.notes("left behind", *answer.left)


def _tokens(page: Page, answer: a.TokensAnswer) -> None:
    page.table(
        (
            Column("id"), Column("name"), Column("role"), Column("kind", leaves=3), Column("state"),
            Column("made", leaves=2, short=_short_time), Column("by", leaves=1, short=_name),
            Column("ends", leaves=4, short=_short_time),
        ),
        (
            (
                t.id, t.name, t.role, t.kind if t.attended else f"{t.kind}, unattended", t.state, _when(t.created_at),
                t.created_by, _when(t.revoked_at or t.expires_at),
            )
            for t in answer.tokens
        ),
    )  # fmt: skip


def _lasted(answer: a.OperationAnswer) -> float:
    """Seconds from its start to its end, or to now."""
    ended = answer.steps[-1].at if answer.steps and answer.status not in {"running", "interrupted"} else answer.as_of
    return (ended - answer.started_at).total_seconds()


def _evidence(page: Page, answer: a.EvidenceAnswer) -> None:
    if answer.text is not None:
        page.verbatim(answer.text)
        return
    page.facts(("ring", answer.ring), ("release", answer.release))
    page.table(
        (Column("section"), Column("bytes"), Column("")),
        ((s.name, s.bytes, "shortened" if s.truncated else None) for s in answer.sections),
    )


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def _when(at: datetime | None) -> str | None:
    return f"{at:%Y-%m-%d %H:%M:%SZ}" if at else None


def _short_time(when: str) -> str:
    """`2026-01-02 03:04:05Z` without its year."""
    return when[5:].removesuffix("Z")


def _name(actor: str) -> str:
    """`ann (person via cli)` -> `ann`."""
    return actor.partition(" (")[0]
