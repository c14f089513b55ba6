"""What a person sees: tables, why a gate said no, the next command to type, and nothing that steers the terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.errors import EngineFailure
from aither_rings_mcp.domain.health import ServiceHealth, ServiceState
from aither_rings_mcp.domain.model import RingKind
from aither_rings_mcp.domain.plan import Change
from aither_rings_mcp.domain.redact import plain
from aither_rings_mcp.domain.rollout import Kind, Phase
from aither_rings_mcp.domain.verdict import FailedItem, GateResult, Verdict
from aither_rings_mcp.entrypoints.cli_page import Column, Page
from aither_rings_mcp.entrypoints.cli_render import command_line, show, show_error

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMON: dict[str, Any] = {"ok": True, "summary": "Here it is.", "as_of": NOW}


def words(answer: a.Answer, capsys: pytest.CaptureFixture[str]) -> str:
    show(answer, as_json=False)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("tool", "arguments", "command"),
    [
        ("ring_status", {}, "ring-ctl status"),
        ("ring_status", {"ring": "prod", "response_format": "concise"}, "ring-ctl status prod"),
        ("ring_health", {"ring": "prod"}, "ring-ctl health prod"),
        ("ring_history", {"ring": "prod", "limit": 5}, "ring-ctl history prod --limit 5"),
        ("ring_plan", {"target": "prod", "source": "staging"}, "ring-ctl plan staging prod"),
        (
            "ring_promote",
            {"source": "staging", "target": "prod", "plan_id": "p-1", "dry_run": False},
            "ring-ctl promote staging prod --plan p-1",
        ),
        (
            "ring_promote",
            {"source": "dev", "target": "staging", "force": True, "reason": "it's late", "dry_run": True},
            """ring-ctl promote dev staging --force --reason 'it'"'"'s late' --dry-run""",
        ),
        ("ring_rollback", {"ring": "prod", "tag": "prod-1", "reason": None}, "ring-ctl rollback prod --tag prod-1"),
        ("ring_operation", {"operation_id": "op-1", "wait_s": 45}, "ring-ctl operation op-1 --follow"),
        ("ring_operation", {"operation_id": "op-1", "include_log": True}, "ring-ctl operation op-1 --log"),
        ("ring_operation", {"operation_id": "op-1", "wait_s": 0}, "ring-ctl operation op-1"),
        ("ring_evidence", {"operation_id": "op-1"}, "ring-ctl operation op-1 --evidence"),
        (
            "ring_evidence",
            {"operation_id": "op-1", "section": "logs", "cursor": 9},
            "ring-ctl operation op-1 --section logs --evidence",
        ),
        ("ring_cancel", {"operation_id": "op-1", "reason": "wrong"}, "ring-ctl cancel op-1 --reason wrong"),
        ("ring_approve", {"plan_id": "p-1", "plan_hash": "00", "decision": "approve"}, "ring-ctl approve p-1"),
        ("ring_approve", {"plan_id": "p-1", "decision": "reject", "note": "no"}, "ring-ctl reject p-1 --note no"),
        ("ring_from_the_future", {"ring": "prod"}, None),
    ],
)
def test_a_next_action_is_shown_as_the_command_to_type(
    tool: str, arguments: dict[str, Any], command: str | None
) -> None:
    assert command_line(a.NextAction(tool=tool, arguments=arguments, why="because")) == command


def test_a_blocked_promotion_shows_what_failed_where_and_how_to_fix_it(capsys: pytest.CaptureFixture[str]) -> None:
    gate = GateResult(
        name="tests_pass", status=Verdict.FAILED, duration_ms=1500, summary="1 of 9 failed",
        failed_items=(FailedItem(id="test_app.py::test_sum[a]", where="test_app.py:7", message="assert 3 == 4"),),
        log_tail=("the log says it again",), fix_hint="run pytest test_app.py",
    )  # fmt: skip
    unparsed = GateResult(
        name="migrate", status=Verdict.TIMEOUT, summary="no end in 5 s", log_tail=("waiting for [lock]",)
    )
    optional = GateResult(name="lint_clean", status=Verdict.PASSED, blocking=False, cached=True, summary="clean")
    answer = a.PromoteAnswer(
        **{**COMMON, "ok": False}, outcome="blocked", operation_id="op-1", gates=(gate, unparsed, optional)
    )
    said = words(answer, capsys)
    for part in ("test_app.py::test_sum[a]  test_app.py:7", "assert 3 == 4", "hint: run pytest test_app.py",
                 "waiting for [lock]", "optional cached", "1.5 s"):  # fmt: skip
        assert part in said
    assert "the log says it again" not in said


def test_status_tells_what_is_unusual_about_a_ring(capsys: pytest.CaptureFixture[str]) -> None:
    ring = a.RingStatus(
        name="prod", kind=RingKind.RUNTIME, state="stuck", tag="prod-abc1234", commit="abc1234def", release="r-1",
        deployed_at=NOW, rollback_target="prod-0000000", stuck="going back failed", override="ann: hotfix",
        quarantine=(a.QuarantineView(release="r-2", since=NOW, reason="never healthy"),),
        active_operation=a.ActiveOperation(
            operation_id="op-1", kind=Kind.PROMOTE, phase=Phase.GATING, since=NOW, owner="ann (person via cli)"
        ),
    )  # fmt: skip
    gate = a.RingStatus(
        name="staging", kind=RingKind.GATE, state="expired",
        candidate=a.CandidateView(release="r-3", tag="staging-1", commit="1", passed_at=NOW, expires_at=NOW,
                                  expired=True, forced_by="bob"),
    )  # fmt: skip
    said = words(a.StatusAnswer(**COMMON, rings=(ring, gate)), capsys)
    for part in (
        "prod-abc1234 ", "2026-01-02 03:04:05Z", "STUCK: going back failed", "FORCED past its gates: ann: hotfix",
        "quarantined r-2", "promote op-1 by ann", "candidate staging-1 (r-3) EXPIRED", "forced by bob",
    ):  # fmt: skip
        assert part in said
    row = next(line for line in said.splitlines() if line.startswith("prod "))
    assert row.split()[-1] == "NO", "a way back that is not ready is said in the row"


def test_health_shows_every_service_and_the_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    sick = ServiceHealth(
        name="genesis", state=ServiceState.UNHEALTHY, critical=True, http_status=503, latency_ms=12.4, restarts=2,
        since=NOW, reason="HTTP 503",
    )  # fmt: skip
    answer = a.HealthAnswer(
        **{**COMMON, "ok": False}, ring="prod", state="unhealthy", healthy=0, total=1, services=(sick,),
        backbone={"redis": "healthy"}, monitor=a.MonitorView(armed=False),
    )  # fmt: skip
    said = words(answer, capsys)
    row = next(line for line in said.splitlines() if line.startswith("genesis"))
    assert " ".join(row.split()) == "genesis unhealthy critical 503 12 2 2026-01-02 03:04:05Z HTTP 503"
    assert "redis healthy" in said


def test_a_table_has_no_empty_columns_and_no_rows_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    event = a.EventView(seq=1, at=NOW, ring="prod", event="promote", outcome="blocked", actor="ann",
                        reason="r" * 120, gates_failed=("tests_pass",))  # fmt: skip
    said = words(a.HistoryAnswer(**COMMON, events=(event,), next_cursor="c 9"), capsys)
    assert "from" not in said
    assert f"{'r' * 120}; gates: tests_pass" in said
    assert "--cursor 'c 9'" in said
    assert words(a.HistoryAnswer(**COMMON, events=()), capsys) == "Here it is.\n"


def test_a_plan_shows_changes_reach_and_who_has_to_agree(capsys: pytest.CaptureFixture[str]) -> None:
    plan = a.PlanAnswer(
        **COMMON, plan_id="p-1", plan_hash="0", expires_at=NOW + timedelta(minutes=15), source="staging", target="prod",
        release="r-1", changes=(Change(service="veil", from_="aa11", to="bb22", action="recreate"),), gates=("smoke",),
        strategy="recreate", rollback_to="r-0", warnings=("veil is new",),
        blast_radius=a.BlastRadius(services=1, critical=("veil",), ports=("3001",), downtime="seconds"),
        approval=a.ApprovalView(required=True, ways=("ring-ctl approve p-1",)),
    )  # fmt: skip
    said = words(a.PromoteAnswer(**COMMON, outcome="dry_run", plan=plan), capsys)
    for part in (
        "aa11", "bb22", "p-1, until 2026-01-02 03:19:05Z", "critical: veil", "ports 3001", "r-0", "veil is new",
        "needed: ring-ctl approve p-1",
    ):  # fmt: skip
        assert part in said


def test_a_release_taken_back_says_what_was_observed(capsys: pytest.CaptureFixture[str]) -> None:
    seen = a.Verification(images_match=False, healthy=1, total=2, unhealthy=("veil",), mismatched=("node",),
                          waited_s=9.5, reason="veil answers 500")  # fmt: skip
    said = words(
        a.RollbackAnswer(**COMMON, outcome="rolled_back", operation_id="op-1", from_="r-2", to="r-1",
                         forensics="forensic-prod-1", verification=seen),
        capsys,
    )  # fmt: skip
    for part in ("1 of 2 healthy after 9.5 s", "OTHER IMAGES in node", "veil answers 500", "forensic-prod-1", "r-2"):
        assert part in said


def test_an_operation_shows_its_steps_its_error_and_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    said = words(
        a.OperationAnswer(
            **{**COMMON, "ok": False}, operation_id="op-1", kind=Kind.DEPLOY, ring="dev", status="failed",
            phase=Phase.FAILED, percent=100, actor="ann", started_at=NOW,
            steps=(a.StepView(phase=Phase.BUILDING, at=NOW, note="11 images"),),
            error=EngineFailure("no space left", "Free some.").as_dict(), log=a.LogSlice(lines=("step 1",)),
        ),
        capsys,
    )  # fmt: skip
    for part in ("building", "11 images", "internal: no space left", "Next: Free some.", "step 1"):
        assert part in said


def test_what_a_log_says_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\r\x08 [bold]tag[/bold] \x9b31m"
    assert plain(evil) == "red [bold]tag[/bold] 31m"
    show_error(EngineFailure(evil, evil, log_tail=[evil]), as_json=False)
    failed = GateResult(name="g", status=Verdict.FAILED, summary=evil, log_tail=(evil,), fix_hint=evil)
    action = a.NextAction(tool="ring_status", arguments={"ring": evil}, why=evil)
    show(
        a.GatesAnswer(ok=False, summary=evil, as_of=NOW, source="dev", target="staging", release="r-1",
                      gates=(failed,), next_actions=(action,)),
        as_json=False,
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert not {"\x1b", "\r", "\x07", "\x08", "\x9b"} & set(out + err)
    assert "[bold]tag[/bold]" in out


def test_notes_and_facts_leave_no_trailing_blanks_and_no_empty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    ring = a.RingStatus(name="prod", kind=RingKind.RUNTIME, state="stuck", stuck="it failed")
    assert words(a.StatusAnswer(**COMMON, rings=(ring,)), capsys).endswith(
        "prod:\n  STUCK: it failed\n  once a person has looked: ring-ctl unlock prod --reason TEXT\n"
    )
    well = a.HealthAnswer(**COMMON, ring="prod", state="down", healthy=0, total=0, monitor=a.MonitorView(armed=False))
    assert (
        words(well, capsys)
        == "Here it is.\nmonitor   no monitor would take this ring's release back\nway back  NONE is open\n"
    )


# -- at a terminal's width, and in a pipe

ACTOR = "ann (person via cli)"
WHY = "not healthy within 20 s: chronicle: /health answered 503; flux: /health answered 503; mind: no container"
EVENTS = a.HistoryAnswer(
    **COMMON,
    events=(
        a.EventView(seq=1207, at=NOW, ring="prod", event="promote", outcome="rolled_back", from_="r-51f1f3647e91",
                    to="r-b9903f158925", actor=ACTOR, duration_s=36.3, detail=WHY),
        a.EventView(seq=1206, at=NOW, ring="staging", event="promote", outcome="candidate_tagged",
                    to="r-fcc06bd72e04", actor=ACTOR, duration_s=3.2),
    ),
)  # fmt: skip
RING = a.RingStatus(
    name="staging", kind=RingKind.RUNTIME, state="candidate", tag="staging-7ef380a", commit="7ef380a239697d09cf",
    release="r-fcc06bd72e04", deployed_at=NOW, rollback_target="staging-aac5bcc", rollback_ready=True,
    quarantine=(a.QuarantineView(release="r-51f1f3647e91", since=NOW, reason=WHY),),
    images={"chronicle": f"sha256:{'0123456789abcdef' * 4}"},
)  # fmt: skip
SICK = ServiceHealth(
    name="chronicle", state=ServiceState.RESTARTING, critical=True, http_status=503, latency_ms=1249.4, restarts=12,
    since=NOW, reason=WHY,
)  # fmt: skip
GATE = GateResult(
    name="smoke_tests", status=Verdict.FAILED, blocking=False, cached=True, duration_ms=61500, summary=WHY,
    failed_items=(FailedItem(id="GET http://genesis/ready", where="genesis", message=WHY),), fix_hint=WHY,
)  # fmt: skip
PLAN = a.PlanAnswer(
    **COMMON, plan_id="plan-0a1b2c3d", plan_hash="0", expires_at=NOW, source="staging", target="prod",
    release="r-fcc06bd72e04", gates=("smoke_tests", "manual_approval (optional)"), strategy="recreate",
    changes=(Change(service="chronicle", from_="aa11aa11aa11", to="bb22bb22bb22", action="recreate"),),
    blast_radius=a.BlastRadius(services=11, critical=("genesis", "node", "secrets", "veil"), downtime="seconds"),
    approval=a.ApprovalView(required=True, ways=("ring-ctl approve plan-0a1b2c3d",)), warnings=(WHY,),
)  # fmt: skip
OPERATION = a.OperationAnswer(
    **{**COMMON, "ok": False, "as_of": NOW + timedelta(seconds=41)}, operation_id="op-20260102t030405-0a1b2c",
    kind=Kind.PROMOTE, ring="prod", status="running", phase=Phase.VERIFYING, percent=75, actor=ACTOR, started_at=NOW,
    steps=(a.StepView(phase=Phase.RESTORE_VERIFYING, at=NOW, note=WHY),), gates=(GATE,),
    error=EngineFailure(WHY, WHY).as_dict(), log=a.LogSlice(lines=(f"03:04:05 {WHY}", f"03:04:06   compose | {WHY}")),
)  # fmt: skip
ANSWERS = {
    "history": EVENTS,
    "status": a.StatusAnswer(**{**COMMON, "summary": WHY}, rings=(RING,)),
    "health": a.HealthAnswer(**COMMON, ring="prod", state="degraded", healthy=0, total=1, services=(SICK,),
                             backbone={"postgres": "healthy"}, monitor=a.MonitorView(armed=True, reason=WHY)),
    "gates": a.GatesAnswer(**COMMON, source="dev", target="staging", release="r-fcc06bd72e04", gates=(GATE,)),
    "plan": PLAN,
    "operation": OPERATION,
    "doctor": a.DoctorAnswer(**COMMON, findings=(a.Finding(check="isolation:prod", ok=False, detail=WHY),)),
    "monitor": a.MonitorAnswer(
        **COMMON, alerts=(WHY,),
        rings=(a.RingWatchView(ring="prod", call="condemned", reason=WHY, unhealthy_for_s=90, rollback_in_s=12,
                               settling_until=NOW),),
    ),
}  # fmt: skip


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes stdout for a terminal of 80 columns."""
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.usefixtures("terminal")
def test_on_80_columns_no_line_is_longer_and_no_word_is_broken(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = plain(words(ANSWERS[name], capsys))
    assert all(len(line) <= 80 and line == line.rstrip() for line in said.splitlines())
    assert set(WHY.split()) <= set(said.split())


@pytest.mark.parametrize("name", ANSWERS)
def test_in_a_pipe_every_text_is_whole_on_its_line_without_trailing_blanks(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = words(ANSWERS[name], capsys)
    assert all(line == line.rstrip() for line in said.splitlines())
    assert WHY in said
    assert not set(said) & set("─━│┃╭╮"), "no box"


@pytest.mark.usefixtures("terminal")
def test_an_event_on_80_columns_keeps_its_releases_whole_below_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(words(EVENTS, capsys)).splitlines() == [
        "Here it is.",
        "seq   at              ring     event    outcome           who  took",
        "1207  01-02 03:04:05  prod     promote  rolled_back       ann  36.3 s",
        "    from r-51f1f3647e91  to r-b9903f158925",
        "    not healthy within 20 s: chronicle: /health answered 503; flux: /health",
        "    answered 503; mind: no container",
        "1206  01-02 03:04:05  staging  promote  candidate_tagged  ann  3.2 s",
        "    to r-fcc06bd72e04",
    ]


def test_an_event_in_a_pipe_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = words(EVENTS, capsys).splitlines()[1:]
    assert len(rows) == 3
    assert rows[1].split("  ")[:2] == ["1207", "2026-01-02 03:04:05Z"]
    assert rows[1].endswith(f"r-51f1f3647e91  r-b9903f158925  {ACTOR}  36.3 s  {WHY}")
    assert rows[2].endswith(f"r-fcc06bd72e04  {ACTOR}  3.2 s")


@pytest.mark.usefixtures("terminal")
def test_what_fits_stays_in_the_row(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (Column("a", leaves=1), Column("b", short=str.upper), Column("why", prose=True))
    Page().table(columns, [("one", "two", "w" * 70), ("three", "four", "short"), ("x" * 60, "y" * 9, None)])
    assert plain(capsys.readouterr().out).splitlines() == [
        f"{'a':60}  {'b':9}  why",
        f"{'one':60}  two",
        f"    {'w' * 70}",
        f"{'three':60}  {'four':9}  short",
        f"{'x' * 60}  {'y' * 9}",
    ]
    Page().table(columns, [("x" * 60, "y" * 30, None)])
    assert plain(capsys.readouterr().out).splitlines() == ["b", "Y" * 30, f"    a {'x' * 60}"]


def test_an_operation_says_how_long_it_has_been_at_it_and_no_percentage(capsys: pytest.CaptureFixture[str]) -> None:
    said = words(OPERATION, capsys)
    assert "running (verifying), 41 s" in said
    assert "%" not in said


@pytest.mark.usefixtures("terminal")
def test_a_command_to_type_is_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    action = a.NextAction(
        tool="ring_evidence", arguments={"operation_id": "op-20260102t030405-0a1b2c", "section": "config_diff"},
        why="read how its config differs",
    )  # fmt: skip
    show(a.CancelAnswer(**COMMON, operation_id="op-1", status="x", next_actions=(action,)), as_json=False)
    assert plain(capsys.readouterr().out).splitlines()[1:] == [
        "Next: ring-ctl operation op-20260102t030405-0a1b2c --section config_diff --evidence",
        "      read how its config differs",
    ]


@pytest.mark.usefixtures("terminal")
def test_an_error_is_wrapped_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(EngineFailure(WHY, WHY, log_tail=[WHY]), as_json=False)
    said = plain(capsys.readouterr().err).splitlines()
    assert max(map(len, said)) <= 80
    assert set(WHY.split()) <= set(" ".join(said).split())


def test_a_long_life_of_quarantines_does_not_hide_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    entries = tuple(a.QuarantineView(release=f"r-{number}", since=NOW, reason="bad") for number in range(5))
    ring = a.RingStatus(name="prod", kind=RingKind.RUNTIME, state="running", quarantine=entries)
    said = words(a.StatusAnswer(**COMMON, rings=(ring,)), capsys)
    assert [f"r-{number}" in said for number in range(5)] == [False, False, True, True, True]
    assert "and 2 more in quarantine" in said


@pytest.mark.promise(16)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_refusal_keeps_secrets_in(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    secret = "password=hunter2hunter2"
    show_error(EngineFailure(f"no: {secret}", f"Not {secret}.", log_tail=[secret], seen={"env": secret}), as_json)
    out, err = capsys.readouterr()
    assert "[redacted]" in (out if as_json else err)
    assert "hunter2" not in out + err
