"""What the MCP door needs of the manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from aither_rings_mcp.domain.access import Grant
from aither_rings_mcp.domain.answers import (
    ApprovalAnswer,
    CancelAnswer,
    EvidenceAnswer,
    HealthAnswer,
    HistoryAnswer,
    LogSlice,
    OperationAnswer,
    PlanAnswer,
    Progress,
    PromoteAnswer,
    RollbackAnswer,
    StatusAnswer,
)
from aither_rings_mcp.domain.model import Actor, Override
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.standing import Standing

Watch = Callable[[Progress], Awaitable[None]]
Started = Callable[[str], None]


class Rings(Protocol):
    """What the tools need of the manager."""

    @property
    def settings(self) -> Settings: ...

    def expect_work(self) -> None: ...
    async def status(self, ring: str | None = None, detailed: bool = False) -> StatusAnswer: ...
    async def health(self, ring: str, services: Sequence[str] | None = None) -> HealthAnswer: ...
    async def plan(self, source: str, target: str, actor: Actor) -> PlanAnswer: ...
    async def history(
        self,
        ring: str | None = None,
        *,
        limit: int = 10,
        cursor: str | None = None,
        since: datetime | None = None,
        event: str | None = None,
    ) -> HistoryAnswer: ...
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
    ) -> PromoteAnswer: ...
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
    ) -> RollbackAnswer: ...
    async def operation(
        self,
        operation_id: str,
        *,
        wait_s: float = 0.0,
        include_log: bool = False,
        log_cursor: int | None = None,
        watch: Watch | None = None,
    ) -> OperationAnswer: ...
    async def evidence(
        self, operation_id: str, section: str | None = None, cursor: int | None = None
    ) -> EvidenceAnswer: ...
    async def cancel(self, operation_id: str, actor: Actor, reason: str) -> CancelAnswer: ...
    def recent_operations(self) -> tuple[str, ...]: ...
    def standing(self, before: Standing | None = None) -> Standing: ...
    async def log_tail(self, operation_id: str, lines: int) -> LogSlice: ...
    async def proposal(self, plan_id: str) -> PlanAnswer: ...
    async def answer_plan(
        self,
        plan_id: str,
        approved: bool,
        actor: Actor,
        note: str | None = None,
        plan_hash: str | None = None,
        grant: Grant | None = None,
    ) -> ApprovalAnswer: ...
    def seal_key(self) -> bytes: ...
