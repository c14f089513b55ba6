"""Promotions and rollbacks as tasks (SEP-2663), for clients of 2026-07-28 that declare the extension.

The operation is the task: its id is the task's, and its journal the task's state, so a server that was started anew
knows it. The client asks when it likes; nothing waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    RequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from aither_rings_mcp.domain.access import Grant
from aither_rings_mcp.domain.answers import OperationAnswer
from aither_rings_mcp.domain.errors import Forbidden, InvalidTransition, OperationNotFound, ReadOnly, RingError
from aither_rings_mcp.domain.rollout import Kind, Phase
from aither_rings_mcp.entrypoints.asking import IDENTITY
from aither_rings_mcp.entrypoints.mcp_protocol import Ctx, actor_of, failed, refused_as, rendered_as

if TYPE_CHECKING:
    from aither_rings_mcp.manager.ring_manager import RingManager

IDENTIFIER = "io.modelcontextprotocol/tasks"
#: How often a client should ask.
POLL_MS = 2000
#: A cancellation is acknowledged by then, whether or not it came to an end.
_ACKNOWLEDGED_S = 1.0
_TOOLS = frozenset({"ring_promote", "ring_rollback"})
_KINDS = frozenset({Kind.PROMOTE, Kind.ROLLBACK})


class TaskParams(RequestParams):
    task_id: str


class Tasks(Extension):
    """What runs for long is answered with a task at once; what is refused or done at once is answered as ever."""

    identifier = IDENTIFIER

    def __init__(self, manager: RingManager, grant: Grant) -> None:
        self._manager = manager
        self._grant = grant

    def methods(self) -> Sequence[MethodBinding]:
        serves = {"tasks/get": self._get, "tasks/update": self._update, "tasks/cancel": self._cancel}
        modern = frozenset(MODERN_PROTOCOL_VERSIONS)
        return [MethodBinding(name, TaskParams, handler, modern) for name, handler in serves.items()]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        if params.name not in _TOOLS or not _declared(ctx):
            return await call_next(ctx)
        if isinstance((params.arguments or {}).get("wait_s", 0), int | float):
            params.arguments = {**(params.arguments or {}), "wait_s": 0}
        result = await call_next(ctx)
        answer = result.structured_content if isinstance(result, CallToolResult) else None
        if not answer or answer.get("outcome") != "running":
            return result
        return {"resultType": "task", **_task(await self._operation(str(answer["operation_id"])))}

    async def _get(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        _may_ask(ctx, params)
        op = await self._operation(params.task_id)
        task = _task(op)
        if task["status"] == "completed":
            result = refused_as(op.error) if op.error else rendered_as(op.result or {}, op.summary)
            task["result"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return task

    async def _update(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        """A task of ours never asks for input: whom an approval needs, answers elsewhere."""
        _may_ask(ctx, params)
        await self._operation(params.task_id)
        return {}

    async def _cancel(self, ctx: ServerRequestContext[Any, Any], params: TaskParams) -> HandlerResult:
        _may_ask(ctx, params)
        await self._operation(params.task_id)
        try:
            self._grant.to(IDENTITY.get()).change()
        except (ReadOnly, Forbidden) as error:
            raise failed(error, INVALID_REQUEST) from error
        with suppress(InvalidTransition), anyio.move_on_after(_ACKNOWLEDGED_S):
            actor = actor_of(Ctx(request_context=ctx))
            await self._manager.cancel(params.task_id, actor, "the client cancelled its task")
        return {}

    async def _operation(self, task_id: str) -> OperationAnswer:
        try:
            found = await self._manager.operation(task_id)
        except OperationNotFound as error:
            raise _no_task(error) from error
        except RingError as error:
            raise failed(error, INTERNAL_ERROR) from error
        if found.kind not in _KINDS:
            raise _no_task(OperationNotFound("that operation was not started here", "Use ring_operation to see it."))
        return found


def _may_ask(ctx: ServerRequestContext[Any, Any], params: TaskParams) -> None:
    """Returns for a client that declared tasks and whose `Mcp-Name` header, which proxies go by, names the same task.

    The SDK compares that header for its own methods only, and its client sends none for others: absent is no fault.
    """
    sent = ctx.request.headers.get(MCP_NAME_HEADER) if ctx.request else None
    if sent is not None and decode_header_value(sent) != params.task_id:
        raise MCPError(HEADER_MISMATCH, f"The header {MCP_NAME_HEADER} does not name the task of the request's body")
    require_client_extension(ctx, IDENTIFIER)


def _declared(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    return modern and IDENTIFIER in ((capabilities and capabilities.extensions) or {})


def _task(op: OperationAnswer) -> dict[str, Any]:
    """The operation as a task. What the tool would have answered, an error too, is a completed task's result."""
    status = "working" if op.status in {"running", "interrupted"} else "completed"
    return {
        "taskId": op.operation_id,
        "status": "cancelled" if op.phase is Phase.CANCELLED else status,
        "statusMessage": op.summary,
        "createdAt": op.started_at.isoformat(),
        "lastUpdatedAt": (op.steps[-1].at if op.steps else op.started_at).isoformat(),
        "ttlMs": None,
        "pollIntervalMs": POLL_MS,
    }


def _no_task(error: RingError) -> MCPError:
    return failed(error, INVALID_PARAMS, "There is no such task: ")
