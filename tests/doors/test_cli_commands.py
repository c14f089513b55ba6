"""What `ring-ctl` promises scripts: parsing, exit codes, and exactly one JSON document on stdout."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aither_rings_mcp import __version__
from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.errors import (
    ConfigInvalid,
    DockerUnavailable,
    EngineFailure,
    Exit,
    OperationNotFound,
    RingBusy,
    RingError,
    RingStuck,
    StateUnreadable,
)
from aither_rings_mcp.domain.evidence import SectionFacts
from aither_rings_mcp.domain.model import Actor, Override, RingKind
from aither_rings_mcp.domain.plan import Change
from aither_rings_mcp.domain.policy import known_path, known_ring, runtime_ring
from aither_rings_mcp.domain.rollout import Kind, Phase
from aither_rings_mcp.domain.settings import Path as RingPath
from aither_rings_mcp.domain.settings import Ring, Service, Settings
from aither_rings_mcp.domain.slots import Slot
from aither_rings_mcp.domain.tunnel import TunnelRule
from aither_rings_mcp.domain.verdict import FailedItem, GateResult, Verdict
from aither_rings_mcp.entrypoints.cli import create_app
from aither_rings_mcp.entrypoints.cli_session import exit_code, operation_exit

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOD, BAD = "r-0000000000aa", "r-0000000000bb"
SETTINGS = Settings(
    app="shop",
    services={"genesis": Service(critical=True), "veil": Service()},
    rings={
        "dev": Ring(kind=RingKind.RUNTIME, project="shop-dev", compose=("dev.yml",), build=True),
        "staging": Ring(kind=RingKind.GATE),
        "prod": Ring(kind=RingKind.RUNTIME, project="shop-prod", compose=("prod.yml",)),
    },
    paths=(RingPath(source="dev", target="staging"), RingPath(source="staging", target="prod")),
)
PASSED = GateResult(name="lint_clean", status=Verdict.PASSED, blocking=False, duration_ms=40, summary="clean")
FAILED = GateResult(
    name="tests_pass",
    status=Verdict.FAILED,
    duration_ms=1500,
    summary="1 of 9 tests failed",
    failed_items=(FailedItem(id="tests/test_app.py::test_sum", where="tests/test_app.py:7", message="assert 3 == 4"),),
    log_tail=("1 failed, 8 passed",),
    fix_hint="run pytest tests/test_app.py::test_sum",
)
#: Ends of an operation that every command of its kind can have.
_ENDS: dict[Kind, str] = {
    Kind.DEPLOY: "deployed", Kind.PROMOTE: "promoted", Kind.ROLLBACK: "rolled_back", Kind.UP: "up", Kind.DOWN: "down",
}  # fmt: skip
_STATUS = {
    "blocked": "blocked", "approval_required": "blocked", "rolled_back": "rolled_back", "stuck": "stuck",
    "running": "running", "failed": "failed", "cancelled": "cancelled",
}  # fmt: skip


class FakeManager:
    """Rings in memory. Operations end as `ends` says (by kind); `fault` is raised by every use case.

    `asked` is what each operation was started with. Ctrl-C comes while watching when `ctrl_c` is set.
    """

    def __init__(
        self,
        ends: Mapping[Kind, str] | None = None,
        *,
        fault: Exception | None = None,
        ctrl_c: bool = False,
        chain_broken_at: int | None = None,
        resumed_ends: str = "done",
        sick: tuple[str, ...] = (),
    ) -> None:
        self.settings = SETTINGS
        self.ends = {**_ENDS, **(ends or {})}
        self.fault = fault
        self.ctrl_c = ctrl_c
        self.chain_broken_at = chain_broken_at
        self.resumed_ends = resumed_ends
        self.sick = sick
        self.asked: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, tuple[Kind, str, str]] = {}
        self.log = [f"line {number}" for number in range(1, 251)]

    # -- looking

    async def status(self, ring: str | None = None, detailed: bool = False) -> a.StatusAnswer:
        self._stand()
        names = [ring] if ring else list(SETTINGS.rings)
        rings: list[a.RingStatus] = []
        for name in names:
            kind = known_ring(SETTINGS, name).kind
            rings.append(
                a.RingStatus(
                    name=name, kind=kind, state="candidate" if kind is RingKind.GATE else "running",
                    tag=f"{name}-abc1234", commit="abc1234def", release=GOOD, deployed_at=NOW,
                    images={"genesis": "sha256:aa"} if detailed else None,
                )
            )  # fmt: skip
        health = a.NextAction(tool="ring_health", arguments={"ring": "prod"}, why="see whether it is well")
        return self._answer(a.StatusAnswer, "All rings are known.", rings=tuple(rings), next_actions=(health,))

    async def health(self, ring: str, services: Any = None) -> a.HealthAnswer:
        self._stand()
        runtime_ring(SETTINGS, ring)
        bad = tuple(sorted(self.sick))
        return self._answer(
            a.HealthAnswer, f"{ring} has {len(bad)} sick services.", ok=not bad, ring=ring,
            state="unhealthy" if bad else "healthy", healthy=2 - len(bad), total=2, critical_unhealthy=bad,
            monitor=a.MonitorView(armed=False),
        )  # fmt: skip

    async def history(self, ring: str | None = None, *, limit: int = 10, cursor: str | None = None) -> a.HistoryAnswer:
        self._stand()
        if ring:
            known_ring(SETTINGS, ring)
        newest = int(cursor or 30)
        events = tuple(
            a.EventView(seq=seq, at=NOW, ring=ring or "prod", event="promote", outcome="promoted", actor="ann")
            for seq in range(newest, max(newest - limit, 0), -1)
        )
        following = str(newest - limit) if newest > limit else None
        return self._answer(a.HistoryAnswer, "The newest events.", events=events, next_cursor=following)

    async def verify_history(self) -> a.VerifyAnswer:
        self._stand()
        broken = self.chain_broken_at
        return self._answer(a.VerifyAnswer, "Chain checked.", ok=broken is None, events=30, broken_at=broken)

    async def doctor(self, depth: str = "full") -> a.DoctorAnswer:
        self._stand()
        self.asked["doctor"] = {"depth": depth}
        found = tuple(a.Finding(check=check, ok=check not in self.sick, detail="seen") for check in ("engine", "state"))
        return self._answer(a.DoctorAnswer, "Examined.", ok=all(f.ok for f in found), findings=found)

    async def operation(
        self, operation_id: str, *, wait_s: float | None = 0.0, include_log: bool = False,
        log_cursor: int | None = None, watch: Any = None,
    ) -> a.OperationAnswer:  # fmt: skip
        self._stand()
        if operation_id not in self.operations:
            raise OperationNotFound(f"there is no operation {operation_id}", "`ring-ctl history` lists them.")
        kind, ring, outcome = self.operations[operation_id]
        status = "running" if wait_s == 0.0 else "done" if outcome == _ENDS[kind] else _STATUS.get(outcome, "done")
        if watch:
            await self._told(operation_id, watch)
        start = log_cursor or 0
        page = tuple(self.log[start : start + 100])
        failed = status == "failed"
        return self._answer(
            a.OperationAnswer, f"{kind} {status}", ok=status in {"done", "running"}, operation_id=operation_id,
            kind=kind, ring=ring, status=status, phase=Phase.SWITCHING, percent=50, actor="ann", started_at=NOW,
            steps=(a.StepView(phase=Phase.SWITCHING, at=NOW),),
            result={"outcome": outcome} if status == "done" else None,
            error=EngineFailure("port 9001 is taken", "Free it.").as_dict() if failed else None,
            log=a.LogSlice(lines=page, next_cursor=start + len(page) if page else None) if include_log else None,
        )  # fmt: skip

    async def evidence(
        self, operation_id: str, section: str | None = None, cursor: int | None = None
    ) -> a.EvidenceAnswer:
        self._stand()
        text, start = "".join(f"{line}\n" for line in self.log), cursor or 0
        index = {
            "operation_id": operation_id, "ring": "prod", "release": BAD,
            "sections": (SectionFacts(name="logs", bytes=len(text), truncated=True),),
        }  # fmt: skip
        if section is None:
            return self._answer(a.EvidenceAnswer, "Evidence has 1 section.", **index)
        rest = start + 500 if start + 500 < len(text) else None
        return self._answer(
            a.EvidenceAnswer, "A part.", section=section, text=text[start : start + 500], cursor=start,
            next_cursor=rest, **index,
        )  # fmt: skip

    # -- planning

    async def plan(self, source: str, target: str, actor: Actor) -> a.PlanAnswer:
        self._stand()
        known_path(SETTINGS, source, target)
        return self._answer(
            a.PlanAnswer, f"{source} -> {target}", plan_id="p-1", plan_hash="00ff", expires_at=NOW + timedelta(hours=1),
            source=source, target=target, release=GOOD, gates=("tests_pass",), strategy="recreate",
            changes=(Change(service="genesis", from_="aa", to="bb", action="recreate"),),
            blast_radius=a.BlastRadius(services=1, downtime="seconds"), approval=a.ApprovalView(required=False),
        )  # fmt: skip

    async def gates(self, source: str, target: str, actor: Actor, watch: Any = None) -> a.GatesAnswer:
        self._stand()
        known_path(SETTINGS, source, target)
        results = (FAILED, PASSED) if self.ends[Kind.PROMOTE] == "blocked" else (PASSED,)
        ok = len(results) == 1
        return self._answer(
            a.GatesAnswer, "Gates ran.", ok=ok, source=source, target=target, release=GOOD, gates=results
        )

    async def proposal(self, plan_id: str) -> a.PlanAnswer:
        plan = await self.plan("staging", "prod", Actor(name="ann"))
        return plan.model_copy(update={"plan_id": plan_id, "verdicts": (PASSED,)})

    async def answer_plan(
        self, plan_id: str, approved: bool, actor: Actor, note: str | None = None, plan_hash: str | None = None
    ) -> a.ApprovalAnswer:
        self._stand()
        self.asked["answer"] = {
            "plan_id": plan_id, "approved": approved, "actor": actor, "note": note, "plan_hash": plan_hash,
        }  # fmt: skip
        decision = "approved" if approved else "rejected"
        as_shown = f" as shown ({plan_hash})" if plan_hash else ""
        return self._answer(
            a.ApprovalAnswer, f"Plan {decision}{as_shown}.", plan_id=plan_id, decision=decision, by=str(actor)
        )

    # -- acting

    async def promote(self, source: str, target: str, actor: Actor, **asked: Any) -> a.PromoteAnswer:
        self._stand()
        known_path(SETTINGS, source, target)
        outcome = "dry_run" if asked["dry_run"] else self.ends[Kind.PROMOTE]
        gates = (FAILED,) if outcome == "blocked" else (PASSED,)
        return await self._run(a.PromoteAnswer, Kind.PROMOTE, target, outcome, {"source": source, **asked}, gates=gates)

    async def rollback(self, ring: str, actor: Actor, **asked: Any) -> a.RollbackAnswer:
        self._stand()
        runtime_ring(SETTINGS, ring)
        outcome = "dry_run" if asked["dry_run"] else self.ends[Kind.ROLLBACK]
        return await self._run(a.RollbackAnswer, Kind.ROLLBACK, ring, outcome, asked, from_=BAD, to=GOOD)

    async def deploy(self, ring: str, actor: Actor, **asked: Any) -> a.DeployAnswer:
        self._stand()
        runtime_ring(SETTINGS, ring)
        return await self._run(a.DeployAnswer, Kind.DEPLOY, ring, self.ends[Kind.DEPLOY], asked)

    async def up(self, ring: str, actor: Actor, **asked: Any) -> a.LifecycleAnswer:
        self._stand()
        return await self._run(a.LifecycleAnswer, Kind.UP, ring, self.ends[Kind.UP], asked, ring=ring)

    async def down(self, ring: str, actor: Actor, **asked: Any) -> a.LifecycleAnswer:
        self._stand()
        return await self._run(a.LifecycleAnswer, Kind.DOWN, ring, self.ends[Kind.DOWN], asked, ring=ring)

    async def cancel(self, operation_id: str, actor: Actor, reason: str) -> a.CancelAnswer:
        self._stand()
        self.asked["cancel"] = {"operation_id": operation_id, "actor": actor, "reason": reason}
        return self._answer(a.CancelAnswer, "Cancelled.", operation_id=operation_id, status="cancelled")

    async def recover(self, *, wait_s: float | None = None, watch: Any = None) -> a.RecoverAnswer:
        self._stand()
        return self._answer(a.RecoverAnswer, "Carried on op-7.", resumed=("op-7",), ends={"op-7": self.resumed_ends})

    async def unlock(self, ring: str, actor: Actor, reason: str) -> a.UnlockAnswer:
        self._stand()
        return self._answer(a.UnlockAnswer, f"{ring} is unlocked.", ring=ring, lifted=(reason,))

    async def freeze(self, ring: str, actor: Actor, reason: str, *, for_s: float | None = None) -> a.FreezeAnswer:
        self._stand()
        self.asked["freeze"] = {"ring": known_ring(SETTINGS, ring), "actor": actor, "reason": reason, "for_s": for_s}
        return self._answer(a.FreezeAnswer, f"{ring} is frozen.", ring=ring, frozen=reason, changed=True)

    async def thaw(self, ring: str, actor: Actor, reason: str | None = None) -> a.FreezeAnswer:
        self._stand()
        self.asked["thaw"] = {"ring": known_ring(SETTINGS, ring), "actor": actor, "reason": reason}
        return self._answer(a.FreezeAnswer, f"{ring} is not frozen; nothing was changed.", ring=ring)

    async def url(self, ring: str, slot: Slot | None = None) -> a.UrlAnswer:
        self._stand()
        runtime_ring(SETTINGS, ring)
        header = f"X-Ring-Slot: {slot}" if slot else None
        front = a.FrontView(service="veil", url="http://127.0.0.1:9001", curl=header and f"curl -H '{header}' x")
        return self._answer(a.UrlAnswer, "Here.", ring=ring, slot=slot, header=header, fronts=(front,))

    async def tunnel(self, found: Any = None) -> a.TunnelAnswer:
        self._stand()
        return self._answer(a.TunnelAnswer, "Routes.", ingress=(TunnelRule(service="http_status:404"),))

    def monitor(self, say: Any) -> Any:
        return self

    async def once(self) -> a.MonitorAnswer:
        self._stand()
        return self._answer(
            a.MonitorAnswer, "1 rings looked at; all well.", rings=(a.RingWatchView(ring="prod", call="well"),)
        )

    def _stand(self) -> None:
        if self.fault:
            raise self.fault
        print("a library that chatters on stdout")

    def _answer(self, answer: Any, summary: str, /, ok: bool = True, **values: Any) -> Any:
        return answer(ok=ok, summary=summary, as_of=NOW, **values)

    async def _run(
        self, answer: Any, kind: Kind, ring: str, outcome: str, asked: dict[str, Any], /, **values: Any
    ) -> Any:
        operation_id = f"op-{len(self.operations) + 1}"
        self.operations[operation_id] = (kind, ring, outcome)
        watch = asked.pop("watch")
        self.asked[kind] = {"ring": ring, **asked}
        await self._told(operation_id, watch)
        ok = outcome in {_ENDS[kind], "running", "noop", "dry_run", "candidate_tagged"}
        return self._answer(
            answer, f"{kind} of {ring}: {outcome}.", ok=ok, outcome=outcome, operation_id=operation_id, release=GOOD,
            **values,
        )  # fmt: skip

    async def _told(self, operation_id: str, watch: Any) -> None:
        for phase, percent, elapsed, message in (
            (Phase.BUILDING, 10, 1.0, "12:00:01 -> building"),
            (Phase.BUILDING, 10, 2.0, "12:00:02   compose | #5 [genesis internal] load build definition"),
            (Phase.BUILDING, 10, 4.0, "still building"),
            (Phase.BUILDING, 10, 11.0, "12:00:11   compose | #6 exporting to image"),
            (Phase.GATING, 10, 13.0, "12:00:13 gate lint_clean: passed"),
            (Phase.SWITCHING, 50, 14.0, "12:00:14 -> switching"),
            (Phase.SWITCHING, 50, 15.0, "12:00:15 1/2 healthy, waiting for veil"),
            (Phase.SWITCHING, 50, 16.0, "12:00:16 hook post_promote: notify"),
        ):
            told = {"phase": phase, "percent": percent, "elapsed_s": elapsed, "message": message}
            await watch(a.Progress(operation_id=operation_id, **told))
        if self.ctrl_c:
            raise KeyboardInterrupt


def run(manager: FakeManager | None, *args: str) -> Any:
    """One call of the command line on this manager; None: building one fails as a broken config does."""

    def build(config: Path | None) -> Any:
        if manager is None:
            raise ConfigInvalid("rings.yaml:3: unknown key 'colour'", "Fix it.", path=str(config))
        manager.asked["config"] = {"path": config}
        return manager

    return CliRunner().invoke(create_app(build), list(args))


def document(result: Any) -> dict[str, Any]:
    """The one JSON document that stdout has to be."""
    return json.loads(result.stdout)


#: Every command, as a person types it.
COMMANDS = (
    "status", "status prod", "status prod --detailed", "health prod", "history", "history prod --limit 5",
    "history --cursor 12", "history verify", "plan staging prod", "gates dev staging", "promote staging prod",
    "promote staging prod --plan p-1 --wait 5", "rollback prod", "rollback prod --tag prod-abc1234 --reason slow",
    "deploy dev", "deploy dev --build --wait 3", "up dev", "up shared", "down prod", "approve p-1", "reject p-1",
    "cancel op-9 --reason mistake", "recover", "recover --wait 3", "unlock prod --reason mended", "monitor --once",
    "doctor", "doctor --quick", "url prod", "url prod --slot green", "tunnel",
    "operation op-1 --evidence", "operation op-1 --evidence --section logs",
    "freeze prod --reason stock-taking", "freeze staging --reason audit --for 2h", "thaw prod",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_in_words_and_exits_0(command: str) -> None:
    result = run(FakeManager(), *command.split())
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert "chatters" not in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.promise(15)
def test_with_json_stdout_is_the_managers_answer_and_nothing_else(command: str) -> None:
    before, after = run(FakeManager(), "--json", *command.split()), run(FakeManager(), *command.split(), "--json")
    assert before.exit_code == after.exit_code == 0
    assert before.stdout == after.stdout
    assert document(before)["ok"] is True
    assert document(before)["as_of"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (RingBusy("prod is busy", "Wait.", operation_id="op-3"), 3),
        (DockerUnavailable("the engine does not answer", "Start it."), 5),
        (EngineFailure("build failed", "Fix it.", log_tail=["boom"]), 5),
        (StateUnreadable("half a file", "Restore it."), 6),
        (RingStuck("prod is stuck", "Call a person."), 8),
        (ValueError("surprise"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_exits_with_its_code_and_is_one_json_document(command: str, fault: Exception, code: int) -> None:
    result = run(FakeManager(fault=fault), *command.split(), "--json")
    assert result.exit_code == code
    assert document(result)["ok"] is False
    error = document(result)["error"]
    if isinstance(fault, RingError):
        assert error == fault.as_dict()
    else:
        assert error["code"] == "internal"
        assert error["message"] == "ValueError: surprise"


@pytest.mark.promise(17)
def test_an_error_in_words_says_what_and_what_next_on_stderr() -> None:
    result = run(
        FakeManager(fault=EngineFailure("build failed", "Fix it.", log_tail=["boom in line 3"])), "deploy", "dev"
    )
    assert result.stdout == ""
    assert result.stderr.splitlines() == ["  boom in line 3", "internal: build failed", "Next: Fix it."]


def test_a_bug_is_one_line_and_its_trace_is_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = run(FakeManager(fault=ValueError("surprise")), "status")
    assert "Traceback" not in quiet.stderr
    monkeypatch.setenv("RINGS_DEBUG", "1")
    loud = run(FakeManager(fault=ValueError("surprise")), "status", "--json")
    assert "Traceback" in loud.stderr
    assert document(loud)["error"]["code"] == "internal"
    assert loud.exit_code == 1


@pytest.mark.promise(16)
def test_a_bug_shows_no_secret() -> None:
    result = run(FakeManager(fault=OSError("cannot reach postgres://app:hunter2@db/x")), "status", "--json")
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    "args",
    [
        "status --bogus", "promote staging", "nosuch", "history --limit 0", "history --limit many",
        "promote a b --wait -1", "cancel op-1", "--config",
    ],
)  # fmt: skip
def test_a_usage_error_exits_2_and_is_one_json_document_too(args: str) -> None:
    result = run(FakeManager(), *args.split(), "--json")
    assert result.exit_code == 2
    assert document(result)["error"]["code"] == "invalid_arguments"
    assert "--help" in document(result)["error"]["next"]
    words = run(FakeManager(), *args.split())
    assert (words.exit_code, words.stdout) == (2, "")
    assert "Next: `ring-ctl" in words.stderr


def test_no_words_at_all_show_the_help_and_in_json_an_error() -> None:
    help_text = run(FakeManager())
    assert help_text.exit_code == 0
    assert [panel for panel in ("Look", "Act", "Repair") if panel in help_text.stdout] == ["Look", "Act", "Repair"]
    result = run(FakeManager(), "--json")
    assert result.exit_code == 2
    assert document(result)["error"]["code"] == "invalid_arguments"


def test_every_command_has_a_help_of_its_own() -> None:
    for command in {words.split()[0] for words in (*COMMANDS, "operation op-1")}:
        assert run(FakeManager(), command, "--help").exit_code == 0


def test_the_version_needs_no_config() -> None:
    assert run(None, "--version").stdout.strip() == __version__
    assert document(run(None, "--version", "--json")) == {"ok": True, "version": __version__}


@pytest.mark.parametrize("args", [("--config", "x.yaml", "status"), ("status", "--config=x.yaml")])
def test_the_config_may_be_named_before_or_after_the_command(args: tuple[str, ...]) -> None:
    manager = FakeManager()
    assert run(manager, *args).exit_code == 0
    assert manager.asked["config"] == {"path": Path("x.yaml")}


def test_a_broken_config_exits_2_with_its_fault() -> None:
    result = run(None, "status", "--json")
    assert result.exit_code == 2
    assert document(result)["error"]["message"].startswith("rings.yaml:3")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("status prdo", "unknown_ring"),
        ("health staging", "invalid_transition"),
        ("promote dev prod", "invalid_transition"),
        ("promote prod dev", "invalid_transition"),
        ("plan staging staging", "invalid_transition"),
        ("rollback staging", "invalid_transition"),
        ("operation op-404", "operation_not_found"),
    ],
)
def test_impossible_wishes_exit_2(command: str, code: str) -> None:
    result = run(FakeManager(), *command.split(), "--json")
    assert result.exit_code == 2
    assert document(result)["error"]["code"] == code


_OUTCOMES = [
    *((Kind.PROMOTE, outcome, 4) for outcome in ("blocked", "approval_required", "declined_or_unavailable")),
    *((Kind.PROMOTE, outcome, 0) for outcome in ("promoted", "candidate_tagged", "running", "noop")),
    (Kind.PROMOTE, "rolled_back", 7), (Kind.PROMOTE, "stuck", 8),
    (Kind.ROLLBACK, "rolled_back", 0), (Kind.ROLLBACK, "noop", 0), (Kind.ROLLBACK, "running", 0),
    (Kind.ROLLBACK, "refused", 4), (Kind.ROLLBACK, "stuck", 8),
    (Kind.DEPLOY, "deployed", 0), (Kind.DEPLOY, "unhealthy", 7), (Kind.DEPLOY, "rolled_back", 7),
    (Kind.DEPLOY, "stuck", 8), (Kind.UP, "up", 0), (Kind.UP, "rolled_back", 7), (Kind.UP, "unhealthy", 7),
    (Kind.UP, "stuck", 8), (Kind.DOWN, "down", 0), (Kind.DOWN, "stuck", 8),
]  # fmt: skip
_WORDS = {
    Kind.PROMOTE: "promote staging prod", Kind.ROLLBACK: "rollback prod", Kind.DEPLOY: "deploy dev", Kind.UP: "up dev",
    Kind.DOWN: "down dev",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "outcome", "code"), _OUTCOMES)
def test_an_outcome_is_an_answer_with_its_own_exit_code(kind: Kind, outcome: str, code: int) -> None:
    result = run(FakeManager({kind: outcome}), *_WORDS[kind].split(), "--json")
    assert result.exit_code == code
    assert document(result)["outcome"] == outcome


@pytest.mark.parametrize(
    ("kind", "outcome", "code"),
    [*(case for case in _OUTCOMES if case[1] not in {"refused", "noop", "declined_or_unavailable"}),
     (Kind.DEPLOY, "failed", 5), (Kind.PROMOTE, "cancelled", 4)],
)  # fmt: skip
def test_following_an_operation_exits_as_its_own_command_would(kind: Kind, outcome: str, code: int) -> None:
    manager = FakeManager()
    manager.operations["op-1"] = (kind, "prod", outcome)
    assert run(manager, "operation", "op-1", "--follow", "--json").exit_code == code
    looked_at = run(manager, "operation", "op-1")
    assert looked_at.exit_code == 0
    assert " s  building" not in looked_at.stderr, "looking replays no progress"


def test_an_interrupted_operation_is_no_success() -> None:
    common: dict[str, Any] = {"summary": "interrupted", "as_of": NOW, "operation_id": "op-1"}
    seen = a.OperationAnswer(
        ok=False, kind=Kind.PROMOTE, ring="prod", status="interrupted", phase=Phase.SWITCHING, percent=50, actor="ann",
        started_at=NOW, steps=(), **common,
    )  # fmt: skip
    assert operation_exit(seen) is Exit.INTERNAL
    assert exit_code(a.PromoteAnswer(ok=False, outcome="running", **common)) is Exit.INTERNAL
    assert exit_code(a.PromoteAnswer(ok=True, outcome="running", **common)) is Exit.DONE


@pytest.mark.parametrize(
    ("manager", "command", "code"),
    [
        (FakeManager(sick=("genesis",)), "health prod", 0),
        (FakeManager({Kind.PROMOTE: "blocked"}), "gates dev staging", 4),
        (FakeManager(chain_broken_at=7), "history verify", 6),
        (FakeManager(sick=("state",)), "doctor", 4),
        (FakeManager(sick=("engine",)), "doctor", 5),
    ],
)
def test_looking_exits_by_what_was_seen(manager: FakeManager, command: str, code: int) -> None:
    assert run(manager, *command.split()).exit_code == code


@pytest.mark.promise(14)
def test_force_needs_a_reason_and_both_reach_the_manager() -> None:
    manager = FakeManager()
    for args in (["--force"], ["--force", "--reason", " x "]):
        refused = run(manager, "promote", "staging", "prod", *args, "--json")
        assert refused.exit_code == 2
        assert "--reason" in document(refused)["error"]["message"]
    assert Kind.PROMOTE not in manager.asked
    assert run(manager, "promote", "staging", "prod", "--force", "--reason", "hotfix 12").exit_code == 0
    account = pwd.getpwuid(os.getuid()).pw_name
    assert manager.asked[Kind.PROMOTE]["override"] == Override(by=account, reason="hotfix 12")
    assert manager.asked[Kind.PROMOTE]["reason"] == "hotfix 12"


def test_a_reason_alone_bypasses_nothing() -> None:
    manager = FakeManager()
    run(manager, "promote", "staging", "prod", "--reason", "weekly release")
    assert manager.asked[Kind.PROMOTE]["override"] is None
    assert manager.asked[Kind.PROMOTE]["reason"] == "weekly release"


def test_every_option_reaches_the_manager() -> None:
    manager = FakeManager()
    run(manager, "promote", "staging", "prod", "--plan", "p-1", "--dry-run", "--wait", "2.5")
    assert manager.asked[Kind.PROMOTE] == {
        "ring": "prod", "source": "staging", "plan_id": "p-1", "dry_run": True, "override": None, "reason": None,
        "wait_s": 2.5,
    }  # fmt: skip
    run(manager, *f"rollback prod --tag t1 --release {GOOD} --reason slow --dry-run --wait 0".split())
    assert manager.asked[Kind.ROLLBACK] == {
        "ring": "prod", "tag": "t1", "release": GOOD, "reason": "slow", "dry_run": True, "wait_s": 0.0,
    }  # fmt: skip
    run(manager, "deploy", "dev", "--no-build")
    assert manager.asked[Kind.DEPLOY] == {"ring": "dev", "build": False, "wait_s": None}
    run(manager, "reject", "p-1", "--note", "not on a Friday")
    assert (manager.asked["answer"]["approved"], manager.asked["answer"]["note"]) == (False, "not on a Friday")


def test_a_freeze_and_a_thaw_reach_the_manager() -> None:
    manager = FakeManager()
    run(manager, "freeze", "prod", "--reason", "stock-taking", "--for", "90m")
    assert (manager.asked["freeze"]["reason"], manager.asked["freeze"]["for_s"]) == ("stock-taking", 5400)
    run(manager, "freeze", "staging", "--reason", "audit")
    assert manager.asked["freeze"]["for_s"] is None
    run(manager, "thaw", "prod", "--reason", "all counted")
    assert (manager.asked["thaw"]["reason"], manager.asked["thaw"]["actor"].door) == ("all counted", "cli")


@pytest.mark.parametrize("words", ["--reason why --for soon", "--reason why --for -2h", "--reason why --for 0s", ""])
@pytest.mark.promise(17)
def test_a_freeze_without_a_reason_or_for_no_time_is_a_usage_error(words: str) -> None:
    manager = FakeManager()
    result = run(manager, "freeze", "prod", *words.split(), "--json")
    assert result.exit_code == Exit.BAD_REQUEST
    assert document(result)["error"]["next"]
    assert "freeze" not in manager.asked


def test_who_asks_is_the_account_the_kernel_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")
    manager = FakeManager()
    run(manager, "approve", "p-1")
    assert manager.asked["answer"]["actor"] == Actor(name=pwd.getpwuid(os.getuid()).pw_name, kind="person", door="cli")


@pytest.mark.promise(4)
@pytest.mark.parametrize(
    "command", ["promote staging prod", "rollback prod", "deploy dev", "up dev", "operation op-1 --follow"]
)
def test_ctrl_c_stops_the_watching_and_says_how_to_watch_again(command: str) -> None:
    manager = FakeManager(ctrl_c=True)
    if command.startswith("operation"):
        manager.operations["op-1"] = (Kind.PROMOTE, "prod", "promoted")
    result = run(manager, *command.split())
    assert result.exit_code == 130
    assert "`ring-ctl operation op-1 --follow`" in result.stderr
    assert "op-1" in manager.operations
    as_json = run(manager, *command.split(), "--json")
    assert as_json.exit_code == 130
    assert document(as_json)["error"]["code"] == "interrupted"
    assert document(as_json)["error"]["operation_id"].startswith("op-")


def test_the_log_is_shown_whole() -> None:
    manager = FakeManager()
    manager.operations["op-1"] = (Kind.DEPLOY, "dev", "deployed")
    assert document(run(manager, "operation", "op-1", "--log", "--json"))["log"]["lines"] == manager.log
    assert "log" not in document(run(manager, "operation", "op-1", "--json"))


def test_progress_goes_to_stderr_one_plain_line_each() -> None:
    result = run(FakeManager(), "promote", "staging", "prod", "--json")
    assert result.stderr.splitlines()[1:] == [
        "   1 s  building",
        "  11 s  building  still building",
        "  13 s  building  gate lint_clean: passed",
        "  14 s  switching",
        "  15 s  switching  1/2 healthy, waiting for veil",
        "  16 s  switching  hook post_promote: notify",
    ], "no percentages, and nothing of what builds and containers write"


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_verbose_keeps_what_builds_and_containers_write(option: str) -> None:
    for words in ((option, "deploy", "dev"), ("deploy", "dev", option)):
        told = run(FakeManager(), *words).stderr
        assert "   2 s  building  compose | #5 [genesis internal] load build definition\n" in told
        assert "  11 s  building  compose | #6 exporting to image\n" in told


def test_a_quick_doctor_is_asked_for_in_one_word() -> None:
    manager = FakeManager()
    run(manager, "doctor", "--quick")
    assert manager.asked["doctor"] == {"depth": "quick"}
    run(manager, "doctor")
    assert manager.asked["doctor"] == {"depth": "full"}


def test_tab_completes_rings_from_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    def tab(words: str, manager: FakeManager | None = None) -> list[str]:
        env = {"_RING_CTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        app = create_app(lambda _: manager or run_down())
        return CliRunner().invoke(app, [], prog_name="ring-ctl", env=env).stdout.split()

    def run_down() -> Any:
        raise ConfigInvalid("no rings.yaml", "Make one.")

    assert tab("ring-ctl status ", FakeManager()) == ["dev", "staging", "prod"]
    assert tab("ring-ctl --config x.yaml health p", FakeManager()) == ["prod"]
    assert tab("ring-ctl promote dev s", FakeManager()) == ["staging"]
    assert tab("ring-ctl up s", FakeManager()) == ["staging", "shared"]
    assert tab("ring-ctl health ") == []


def test_evidence_shows_its_sections_and_a_section_whole() -> None:
    index = run(FakeManager(), "operation", "op-1", "--evidence")
    assert "logs" in index.stdout
    assert "shortened" in index.stdout
    whole = run(FakeManager(), "operation", "op-1", "--evidence", "--section", "logs")
    assert [line for line in whole.stdout.splitlines() if line.startswith("line ")] == FakeManager().log
    asked = document(run(FakeManager(), "operation", "op-1", "--evidence", "--section", "logs", "--json"))
    assert asked["text"].splitlines() == FakeManager().log
    assert asked["untrusted"] is True
    assert "next_cursor" not in asked


@pytest.mark.parametrize("words", ["--section logs", "--evidence --follow", "--evidence --log"])
@pytest.mark.promise(17)
def test_evidence_that_is_asked_for_by_halves_is_a_usage_error(words: str) -> None:
    result = run(FakeManager(), "operation", "op-1", *words.split(), "--json")
    assert result.exit_code == Exit.BAD_REQUEST
    assert "--evidence" in document(result)["error"]["message"] + document(result)["error"]["next"]
