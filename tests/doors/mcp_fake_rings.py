"""A small manager that behaves: gates that can say no, operations that take as long as a test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath

from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.access import Grant
from aither_rings_mcp.domain.errors import (
    InvalidArguments,
    InvalidTransition,
    OperationNotFound,
    RingError,
    UnknownRing,
)
from aither_rings_mcp.domain.evidence import SectionFacts
from aither_rings_mcp.domain.health import ServiceHealth, ServiceState
from aither_rings_mcp.domain.model import Actor, Override, RingKind
from aither_rings_mcp.domain.rollout import PERCENT, Kind, Phase
from aither_rings_mcp.domain.settings import Path, Ring, Service, Settings
from aither_rings_mcp.domain.standing import Standing
from aither_rings_mcp.domain.verdict import Evidence, FailedItem, GateResult, Verdict
from aither_rings_mcp.manager.operations import Started, Watch

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RELEASE, BEFORE = "r-0123456789ab", "r-ba9876543210"
SERVICES = (
    "genesis", "veil", "node", "secrets", "pulse", "mind", "voice", "vision", "search", "queue", "mail",
)  # fmt: skip
SETTINGS = Settings(
    app="aitheros",
    services={name: Service(critical=name in {"genesis", "veil", "node", "secrets"}) for name in SERVICES},
    rings={
        "dev": Ring(kind=RingKind.RUNTIME, project="dev", compose=("dev.yml",)),
        "staging": Ring(kind=RingKind.GATE),
        "prod": Ring(kind=RingKind.RUNTIME, project="prod", compose=("prod.yml",)),
    },
    paths=(Path(source="dev", target="staging"), Path(source="staging", target="prod")),
)
FAILED_GATE = GateResult(
    name="tests_pass",
    status=Verdict.FAILED,
    duration_ms=812,
    summary="1 of 24 tests failed",
    reason_code="tests_failed",
    evidence=(Evidence(kind="junit", ref="operations/op-1/tests.xml", value="1 failed, 23 passed"),),
    failed_items=(FailedItem(id="tests/test_app.py::test_root", where="tests/test_app.py:12", message="404 != 200"),),
    log_tail=("E  assert 404 == 200",),
    fix_hint="Fix tests/test_app.py::test_root and deploy dev again.",
)


class FakeRings:
    """Answers like a manager. `slow` operations end when `finish` is set; `trouble` is raised by every call."""

    def __init__(self) -> None:
        self.settings = SETTINGS
        self.gate_says_no = False
        self.slow = False
        self.unwell: tuple[str, ...] = ()
        self.more: tuple[str, ...] = ()
        self.trouble: BaseException | None = None
        self.print: str | None = None
        self.finish = asyncio.Event()
        self.started = asyncio.Event()
        self.cancelled_waits = 0
        self.actors: list[Actor] = []
        self.overrides: list[Override | None] = []
        self.changes: list[tuple[str, str]] = []
        #: (operation, reason) of every cancellation that was asked for; `cancel_file` keeps them for another process.
        self.cancelled: list[tuple[str, str]] = []
        self.cancel_file: FilePath | None = None
        self.past_the_safe_point = False
        self.log_lines: tuple[str, ...] = ("pulling nothing",)
        self.stands = Standing(rings=dict.fromkeys(SETTINGS.rings, "0"), operations={"op-1": "0"}, logs={})
        self.looks = 0

    def expect_work(self) -> None:
        pass

    def seal_key(self) -> bytes:
        return b"k" * 32

    async def status(self, ring: str | None = None, detailed: bool = False) -> a.StatusAnswer:
        self._meet(ring)
        images = dict.fromkeys(SERVICES, "sha256:" + "0" * 64) if detailed else None
        rings = tuple(
            a.RingStatus(
                name=name,
                kind=each.kind,
                state="running" if each.kind is RingKind.RUNTIME else "candidate",
                tag=f"{name}-0123456",
                commit="0123456",
                release=RELEASE,
                deployed_at=NOW,
                rollback_target="prod-ba98765",
                rollback_ready=True,
                images=images,
            )
            for name, each in SETTINGS.rings.items()
            if ring in {None, name}
        )
        return a.StatusAnswer(ok=True, summary="prod runs r-0123456789ab.", as_of=NOW, rings=rings)

    async def health(self, ring: str, services: Sequence[str] | None = None) -> a.HealthAnswer:
        self._meet(ring)
        seen = tuple(
            ServiceHealth(
                name=name,
                state=ServiceState.UNHEALTHY if name in self.unwell else ServiceState.HEALTHY,
                critical=name in SETTINGS.critical,
                http_status=500 if name in self.unwell else 200,
                latency_ms=1.5,
                since=NOW,
                reason="HTTP 500" if name in self.unwell else None,
            )
            for name in services or (*SERVICES, *self.more)
        )
        critical = tuple(s.name for s in seen if s.critical and not s.healthy)
        return a.HealthAnswer(
            ok=not critical,
            summary=f"{ring}: {sum(s.healthy for s in seen)} of {len(seen)} services are healthy.",
            as_of=NOW,
            next_actions=self._next(bool(critical)),
            ring=ring,
            state="unhealthy" if critical else "healthy",
            healthy=sum(s.healthy for s in seen),
            total=len(seen),
            critical_unhealthy=critical,
            services=seen,
            backbone={"redis": "healthy", "postgres": "healthy"},
            monitor=a.MonitorView(armed=False),
        )

    async def plan(self, source: str, target: str, actor: Actor) -> a.PlanAnswer:
        self._path(source, target)
        self.actors.append(actor)
        return a.PlanAnswer(
            ok=True,
            summary=f"{RELEASE} would go from {source} to {target}.",
            as_of=NOW,
            plan_id="p-1",
            plan_hash="0" * 64,
            expires_at=NOW + timedelta(minutes=15),
            source=source,
            target=target,
            release=RELEASE,
            changes=tuple(
                a.Change(service=name, from_="ba9876543210", to="0123456789ab", action="recreate") for name in SERVICES
            ),
            gates=("health_check", "tests_pass"),
            strategy="recreate",
            blast_radius=a.BlastRadius(services=11, critical=("genesis",), ports=("127.0.0.1:9001",), downtime="10 s"),
            approval=a.ApprovalView(required=False),
            rollback_to=BEFORE,
        )

    async def promote(
        self,
        source: str,
        target: str,
        actor: Actor,
        *,
        plan_id: str | None = None,
        dry_run: bool = False,
        override: Override | None = None,
        reason: str | None = None,
        wait_s: float | None = None,
        idempotency_key: str | None = None,
        watch: Watch | None = None,
        started: Started | None = None,
    ) -> a.PromoteAnswer:
        self._path(source, target)
        self.actors.append(actor)
        self.overrides.append(override)
        common = {"as_of": NOW, "operation_id": "op-1", "release": RELEASE}
        if dry_run:
            plan = await self.plan(source, target, actor)
            return a.PromoteAnswer(ok=True, summary="Nothing was changed.", outcome="dry_run", plan=plan, as_of=NOW)
        if self.gate_says_no and override is None:
            return a.PromoteAnswer(
                ok=False, summary="tests_pass says no.", outcome="blocked", gates=(FAILED_GATE,), **common
            )
        self.changes.append((source, target))
        if started:
            started("op-1")
        if not await self._ended(wait_s, watch):
            return a.PromoteAnswer(ok=True, summary="It goes on.", outcome="running", **common)
        outcome = "promoted" if SETTINGS.rings[target].kind is RingKind.RUNTIME else "candidate_tagged"
        verification = a.Verification(images_match=True, healthy=11, total=11)
        passed = GateResult(name="tests_pass", status=Verdict.PASSED, summary="24 tests passed")
        return a.PromoteAnswer(
            ok=True,
            summary=f"{RELEASE} is in {target}.",
            outcome=outcome,
            gates=(passed,),
            verification=verification,
            **common,
        )

    async def rollback(
        self,
        ring: str,
        actor: Actor,
        *,
        tag: str | None = None,
        release: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
        wait_s: float | None = None,
        idempotency_key: str | None = None,
        watch: Watch | None = None,
        started: Started | None = None,
    ) -> a.RollbackAnswer:
        self._meet(ring)
        self.actors.append(actor)
        common = {"as_of": NOW, "operation_id": "op-2", "release": BEFORE}
        if dry_run:
            return a.RollbackAnswer(ok=True, summary="Nothing was changed.", outcome="dry_run", as_of=NOW)
        self.changes.append((ring, release or BEFORE))
        if started:
            started("op-2")
        if not await self._ended(wait_s, watch):
            return a.RollbackAnswer(ok=True, summary="It goes on.", outcome="running", **common)
        return a.RollbackAnswer(
            ok=True,
            summary=f"{ring} is back at {BEFORE}.",
            outcome="rolled_back",
            from_=RELEASE,
            to=release or BEFORE,
            forensics="forensic-prod-20260131T120000Z",
            verification=a.Verification(images_match=True, healthy=11, total=11),
            **common,
        )

    async def history(
        self,
        ring: str | None = None,
        *,
        limit: int = 10,
        cursor: str | None = None,
        since: datetime | None = None,
        event: str | None = None,
    ) -> a.HistoryAnswer:
        self._meet(ring)
        newest = int(cursor) if cursor and cursor.isdecimal() and len(cursor) < 4 else 40
        events = tuple(
            a.EventView(
                seq=seq,
                at=NOW - timedelta(minutes=40 - seq),
                ring=ring or "prod",
                event=event or "promote",
                outcome="promoted",
                from_=BEFORE,
                to=RELEASE,
                commit="0123456",
                actor="claude-code (agent via mcp)",
                reason="the weekly release",
                duration_s=12.5,
                operation="op-1",
                detail="strategy recreate",
            )
            for seq in range(newest, max(0, newest - limit), -1)
            if since is None or NOW - timedelta(minutes=40 - seq) >= since
        )
        more = str(newest - limit) if newest > limit else None
        return a.HistoryAnswer(ok=True, summary=f"{len(events)} events.", as_of=NOW, events=events, next_cursor=more)

    async def operation(
        self,
        operation_id: str,
        *,
        wait_s: float = 0.0,
        include_log: bool = False,
        log_cursor: int | None = None,
        log_lines: int = 100,
        watch: Watch | None = None,
    ) -> a.OperationAnswer:
        self._meet(None)
        self._known(operation_id)
        done = not self.slow or await self._ended(wait_s, watch)
        status, phase = ("done", Phase.DONE) if done else ("running", Phase.VERIFYING)
        if any(operation_id == cancelled for cancelled, _ in self.cancelled):
            status, phase, done = "cancelled", Phase.CANCELLED, False
        return a.OperationAnswer(
            ok=True,
            summary="It is done." if done else f"It is {phase}.",
            as_of=NOW,
            operation_id=operation_id,
            kind=Kind.PROMOTE if operation_id == "op-1" else Kind.ROLLBACK,
            ring="prod",
            status=status,
            phase=phase,
            percent=100 if done else 75,
            actor="claude-code (agent via mcp)",
            started_at=NOW,
            steps=(a.StepView(phase=Phase.ACCEPTED, at=NOW), a.StepView(phase=Phase.VERIFYING, at=NOW, note="3 of 6")),
            result=self._result() if done else None,
            log=a.LogSlice(lines=("pulling nothing",), next_cursor=15) if include_log else None,
        )

    async def evidence(
        self, operation_id: str, section: str | None = None, cursor: int | None = None
    ) -> a.EvidenceAnswer:
        self._meet(None)
        self._known(operation_id)
        text = "== prod-genesis-1\nTraceback (most recent call last):\n"
        sections = (SectionFacts(name="logs", bytes=len(text)), SectionFacts(name="events", bytes=9, untrusted=False))
        common = {"operation_id": operation_id, "ring": "prod", "release": RELEASE, "sections": sections, "as_of": NOW}
        if section is None:
            return a.EvidenceAnswer(ok=True, summary="The evidence has 2 sections.", **common)
        if section not in {"logs", "events"}:
            raise InvalidArguments("there is no section of that name", "Its sections are logs, events.")
        start = cursor or 0
        return a.EvidenceAnswer(
            ok=True, summary="A part of it.", section=section, text=text[start:], cursor=start, **common
        )

    async def cancel(self, operation_id: str, actor: Actor, reason: str) -> a.CancelAnswer:
        self._meet(None)
        self._known(operation_id)
        if self.past_the_safe_point:
            raise InvalidTransition(f"{operation_id} is switching, past the last safe point", "Let it end.")
        self.cancelled.append((operation_id, reason))
        if self.cancel_file:
            self.cancel_file.write_text(f"{operation_id} {actor}: {reason}")
        return a.CancelAnswer(
            ok=True, summary="It was cancelled.", as_of=NOW, operation_id=operation_id, status="cancelled"
        )

    def recent_operations(self) -> tuple[str, ...]:
        return ("op-2", "op-1")

    def waiting_plan_ids(self) -> tuple[str, ...]:
        return ("plan-2", "plan-1")

    async def waiting_plans(self) -> a.WaitingPlansAnswer:
        self._meet(None)
        plans = tuple([await self.asked_plan(plan_id) for plan_id in self.waiting_plan_ids()])
        return a.WaitingPlansAnswer(ok=True, summary="2 plans wait for a person.", as_of=NOW, plans=plans)

    async def asked_plan(self, plan_id: str) -> a.AskedPlanAnswer:
        self._meet(None)
        if plan_id not in self.waiting_plan_ids():
            raise OperationNotFound("there is no such plan", "The resource ring://plans lists them.")
        asker = Actor(name="claude-code", kind="agent", door="mcp")
        shown = (await self.plan("staging", "prod", asker)).model_copy(update={"plan_id": plan_id})
        fields = {name: getattr(shown, name) for name in a.PlanAnswer.model_fields}
        return a.AskedPlanAnswer(**fields, asked_by=str(asker), asked_at=NOW, state="open")

    def standing(self, before: Standing | None = None) -> Standing:
        self.looks += 1
        return self.stands

    async def log_tail(self, operation_id: str, lines: int) -> a.LogSlice:
        self._meet(None)
        self._known(operation_id)
        return a.LogSlice(lines=self.log_lines[-lines:], next_cursor=15)

    def _known(self, operation_id: str) -> None:
        if operation_id not in {"op-1", "op-2"}:
            raise OperationNotFound("there is no such operation", "ring_status shows what is under way.")

    def _result(self) -> dict[str, object]:
        answer = a.PromoteAnswer(
            ok=True, summary="It is in prod.", outcome="promoted", as_of=NOW, operation_id="op-1", release=RELEASE
        )
        return answer.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def proposal(self, plan_id: str) -> a.PlanAnswer:
        return await self.plan("staging", "prod", Actor(name="claude-code", kind="agent", door="mcp"))

    async def answer_plan(
        self,
        plan_id: str,
        approved: bool,
        actor: Actor,
        note: str | None = None,
        plan_hash: str | None = None,
        grant: Grant | None = None,
    ) -> a.ApprovalAnswer:
        self._meet(None)
        if grant:
            grant.approve()
        self.actors.append(actor)
        return a.ApprovalAnswer(
            ok=True, summary="It is answered.", as_of=NOW, plan_id=plan_id, by=str(actor),
            decision="approved" if approved else "rejected",
        )  # fmt: skip

    async def _ended(self, wait_s: float | None, watch: Watch | None) -> bool:
        phases = (Phase.GATING, Phase.VERIFYING, Phase.RESTORING, Phase.RECORDING)
        for phase in phases:
            if watch:
                step = a.Progress(operation_id="op-1", phase=phase, percent=PERCENT[phase], message=phase.value)
                await watch(step)
        self.started.set()
        if not self.slow:
            return True
        try:
            await asyncio.wait_for(self.finish.wait(), wait_s)
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            self.cancelled_waits += 1
            raise
        return True

    def _meet(self, ring: str | None) -> None:
        if self.print is not None:
            print(self.print)
        if self.trouble is not None:
            raise self.trouble
        if ring is not None and ring not in SETTINGS.rings:
            raise UnknownRing(f"there is no ring '{ring}'", f"The rings are {', '.join(SETTINGS.rings)}.", ring=ring)

    def _path(self, source: str, target: str) -> None:
        self._meet(source)
        self._meet(target)
        if (source, target) not in {(path.source, path.target) for path in SETTINGS.paths}:
            raise InvalidTransition(f"{source} cannot be promoted to {target}", "The paths are dev->staging->prod.")

    def _next(self, unwell: bool) -> tuple[a.NextAction, ...]:
        return (a.NextAction(tool="ring_rollback", arguments={"ring": "prod"}, why="users feel it"),) if unwell else ()


def troubles() -> tuple[RingError, ...]:
    """One of each error that a manager raises."""
    from aither_rings_mcp.domain import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RingError)]
    return tuple(kind("it went wrong", "Try again.", operation_id="op-9") for kind in kinds if kind is not RingError)
