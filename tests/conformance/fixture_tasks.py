"""Fixtures that become tasks (SEP-2663). Each is an operation of the fake manager, so our own extension tells of it.

What our operations never do is added here: to wait for answers, and to break off with a protocol error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fixture_rounds import answered, ask_name, ask_person
from fixtures import shelf
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.server import require_client_extension
from mcp_fake_rings import FakeRings
from mcp_types import INTERNAL_ERROR, CallToolRequestParams, ElicitRequest, InputRequiredResult
from pydantic import Field, TypeAdapter

from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.errors import InternalError, InvalidTransition
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.rollout import Kind, Phase
from aither_rings_mcp.entrypoints.mcp_tasks import IDENTIFIER, TaskParams, _declared, _task


@dataclass
class Job:
    """What a tool does for `seconds`, and after its questions (`asks`) were answered."""

    id: str
    says: str
    seconds: float = 0.0
    fails: bool = False
    breaks: bool = False
    asks: dict[str, ElicitRequest] = field(default_factory=dict)
    cancelled: bool = False
    began: float = field(default_factory=time.monotonic)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ended(self) -> bool:
        return self.cancelled or (not self.asks and time.monotonic() >= self.began + self.seconds)

    def operation(self) -> a.OperationAnswer:
        phase = Phase.CANCELLED if self.cancelled else Phase.DONE if self.ended else Phase.VERIFYING
        error = InternalError("the job failed", "It always does.").as_dict() if self.fails else None
        return a.OperationAnswer(
            ok=True,
            summary=self.says,
            as_of=self.at,
            operation_id=self.id,
            kind=Kind.PROMOTE,
            ring="prod",
            status={Phase.CANCELLED: "cancelled", Phase.DONE: "done"}.get(phase, "running"),
            phase=phase,
            percent=100 if self.ended else 50,
            actor="conformance",
            started_at=self.at,
            steps=(),
            result={"ok": True, "summary": self.says} if self.ended and not error else None,
            error=error if self.ended else None,
        )


class JobRings(FakeRings):
    """The fake manager, whose operations are the fixtures' jobs too."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}

    def begin(self, says: str, **job: Any) -> Job:
        begun = Job(f"job-{len(self.jobs)}", says, **job)
        self.jobs[begun.id] = begun
        return begun

    async def operation(self, operation_id: str, **options: Any) -> a.OperationAnswer:
        job = self.jobs.get(operation_id)
        return job.operation() if job else await super().operation(operation_id, **options)

    async def cancel(self, operation_id: str, actor: Actor, reason: str) -> a.CancelAnswer:
        job = self.jobs.get(operation_id)
        if job is None:
            return await super().cancel(operation_id, actor, reason)
        if job.ended:
            raise InvalidTransition("it has ended", "See its result.")
        job.cancelled = True
        return a.CancelAnswer(
            ok=True, summary="It was cancelled.", as_of=job.at, operation_id=job.id, status="cancelled"
        )  # fmt: skip


@shelf.tool()
def greet(name: str) -> str:
    """Greets at once."""
    return f"Hello, {name}!"


@shelf.tool()
async def slow_compute(seconds: float = 0, label: str = "") -> str:
    """Takes its time; a task for who knows tasks."""
    await asyncio.sleep(seconds)
    return f"{label}: computed"


def _as_task_only(ctx: Context) -> str:
    require_client_extension(ctx.request_context, IDENTIFIER)
    raise AssertionError("begun as a task before it comes here")


@shelf.tool()
def failing_job(ctx: Context) -> str:
    """Fails as tools do. Only as a task."""
    return _as_task_only(ctx)


@shelf.tool()
def protocol_error_job(ctx: Context) -> str:
    """Breaks off with a protocol error. Only as a task."""
    return _as_task_only(ctx)


@shelf.tool()
def confirm_delete(ctx: Context, filename: str) -> str:
    """Asks before it is done. Only as a task."""
    return _as_task_only(ctx)


@shelf.tool()
def multi_input(ctx: Context) -> str:
    """Asks two questions at once. Only as a task."""
    return _as_task_only(ctx)


@shelf.tool()
def test_tool_with_task(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name first, then becomes a task."""
    require_client_extension(ctx.request_context, IDENTIFIER)
    name = answered(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else InputRequiredResult(input_requests={"user_name": ask_name()})


def _confirm(what: str) -> ElicitRequest:
    return ask_person(what, confirm="boolean")


BEGINS: dict[str, Callable[..., dict[str, Any]]] = {
    "slow_compute": lambda seconds=0, label="": {"says": f"{label}: computed", "seconds": seconds},
    "failing_job": lambda: {"says": "It failed.", "fails": True},
    "protocol_error_job": lambda: {"says": "It broke off.", "breaks": True},
    "confirm_delete": lambda filename: {"says": f"{filename} is gone.", "asks": {"confirm": _confirm("Sure?")}},
    "multi_input": lambda: {"says": "Both.", "asks": {key: _confirm(key) for key in ("first", "second")}},
}


class UpdateParams(TaskParams):
    input_responses: dict[str, Any] = Field(default_factory=dict)


def add_tasks(server: MCPServer[Any], rings: JobRings) -> None:
    """Lets the fixtures begin as tasks; our handlers of `tasks/*` go on to answer, and gate, every request."""
    low = server._lowlevel_server
    call, get, update = (low.get_request_handler(name) for name in ("tools/call", "tasks/get", "tasks/update"))
    assert call and get and update

    async def called(ctx: Any, params: CallToolRequestParams) -> Any:
        if not _declared(ctx):
            return await call.handler(ctx, params)
        if begins := BEGINS.get(params.name):
            return _begun(rings.begin(**begins(**(params.arguments or {}))))
        result = await call.handler(ctx, params)
        if params.name == "test_tool_with_task" and not isinstance(result, InputRequiredResult):
            return _begun(rings.begin(result.content[0].text))
        return result

    async def got(ctx: Any, params: TaskParams) -> Any:
        task, job = await get.handler(ctx, params), rings.jobs.get(params.task_id)
        if job and job.breaks:
            error = {"code": INTERNAL_ERROR, "message": "The job broke off"}
            return {**{k: v for k, v in task.items() if k != "result"}, "status": "failed", "error": error}
        if job and job.asks and not job.ended:
            asks = TypeAdapter(dict[str, ElicitRequest]).dump_python(
                job.asks, mode="json", by_alias=True, exclude_none=True
            )
            return {**task, "status": "input_required", "inputRequests": asks}
        return task

    async def updated(ctx: Any, params: UpdateParams) -> Any:
        acknowledged, job = await update.handler(ctx, params), rings.jobs.get(params.task_id)
        for key in params.input_responses if job else ():
            job.asks.pop(key, None)
        return acknowledged

    low.add_request_handler("tools/call", CallToolRequestParams, called)
    low.add_request_handler("tasks/get", TaskParams, got)
    low.add_request_handler("tasks/update", UpdateParams, updated)


def _begun(job: Job) -> dict[str, Any]:
    return {"resultType": "task", **_task(job.operation())}
