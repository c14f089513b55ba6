"""The SDK's side of the tools: results and errors as the protocol carries them, and who the client is."""

from __future__ import annotations

import getpass
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from mcp_types import Tool as ListedTool
from pydantic import Field, ValidationError

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.answers import Answer
from aither_rings_mcp.domain.approval import person_at
from aither_rings_mcp.domain.errors import InternalError, InvalidArguments, RingError, in_one_line
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.redact import redacted
from aither_rings_mcp.domain.value import Value
from aither_rings_mcp.entrypoints import arguments as said
from aither_rings_mcp.entrypoints import mcp_arguments as take
from aither_rings_mcp.entrypoints import mcp_bounds as bounds
from aither_rings_mcp.entrypoints.asking import IDENTITY

log = logging.getLogger(__name__)

Ctx = Context[Any, Any]
LONGEST_ACTOR = 64
#: Over HTTP one server has clients of every role, and lists these for those who may use them.
FOR_APPROVERS = frozenset({"ring_approve"})


def actor_of(ctx: Ctx) -> Actor:
    """Whoever the token names; else the client by the name it gave itself, or the account that runs this server."""
    name, (via, call) = _client(ctx), _told(ctx)
    identity = IDENTITY.get()
    if identity and identity.token:
        return identity.actor("mcp", via=via, call=call)
    return Actor(name=name or _account(), kind="agent", door="mcp", via=via, call=call)


def person_of(ctx: Ctx) -> Actor:
    """The person behind the client: whoever the token names, or the account that runs this server, at the client."""
    identity = IDENTITY.get()
    via, call = _told(ctx)
    person = person_at(identity.name if identity and identity.token else _account(), _client(ctx))
    return person.model_copy(update={"via": via, "call": call})


def attended() -> bool:
    """Whether a person may sit at the client: nobody does where its token says so."""
    identity = IDENTITY.get()
    return identity is None or identity.attended


def _told(ctx: Ctx) -> tuple[str | None, str | None]:
    """The client with its version, and the id of the call."""
    name, client = _client(ctx), ctx.session.client_params
    via = _printable(f"{name}/{client.client_info.version}") if client and name else None
    return via, _printable(str(ctx.request_id)) or None


def _client(ctx: Ctx) -> str:
    """The client by the name it gave itself."""
    client = ctx.session.client_params
    return _printable(client.client_info.name) if client else ""


def _printable(given: str) -> str:
    return "".join(c for c in given if c.isprintable()).strip()[:LONGEST_ACTOR]


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's arbitrary uid has no account
        return "unknown"


def hints(title: str, destructive: bool, again: bool | None = None) -> ToolAnnotations:
    """All four hints: to a client, a hint left out means destructive and open to the world.

    `again`: doing it twice is doing it once; by default so for what changes nothing.
    """
    return ToolAnnotations(
        title=title,
        read_only_hint=not destructive,
        destructive_hint=destructive,
        idempotent_hint=not destructive if again is None else again,
        open_world_hint=False,
    )


class RingTool(Tool):
    """A tool that makes the schema of its answers when it is listed, not while a client waits for the start."""

    answer: type[Answer] = Field(exclude=True)

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        return said.output_schema(self.answer)


def as_tool(
    fn: Callable[[Any, Ctx], Awaitable[Answer | InputRequiredResult]],
    arguments: type[take.Arguments],
    published: dict[str, Any],
    answer: type[Answer],
    annotations: ToolAnnotations,
) -> Tool:
    """The function as a tool of the SDK, under its own name and docstring."""

    async def call(args: take.Arguments, ctx: Ctx) -> CallToolResult | InputRequiredResult:
        answer = await fn(args, ctx)
        return answer if isinstance(answer, InputRequiredResult) else rendered(answer)

    return RingTool(
        fn=call,
        name=fn.__name__,
        title=annotations.title,
        description=" ".join((inspect.getdoc(fn) or "").split()),
        parameters=published,
        fn_metadata=FuncMetadata(arg_model=arguments),
        answer=answer,
        is_async=True,
        context_kwarg="ctx",
        annotations=annotations,
    )


def rendered(answer: Answer) -> CallToolResult:
    """The answer as structured content, and for clients without it the summary and the same JSON as text."""
    content = bounds.shortened(document(answer))
    return _result(content, content["summary"])


def rendered_as(content: dict[str, Any], summary: str) -> CallToolResult:
    """An answer that is JSON already."""
    return _result(bounds.shortened(content), summary)


def document(value: Value) -> dict[str, Any]:
    """An answer, or a part of one, as JSON, whole."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def too_long(answer: Answer) -> bool:
    """Whether it has to be paged or shortened."""
    return bounds.cost(document(answer)) > bounds.ANSWER_MOST


def _result(content: dict[str, Any], summary: str) -> CallToolResult:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(
        content=[TextContent(type="text", text=summary), TextContent(type="text", text=text)],
        structured_content=content,
    )


def refused(error: RingError) -> CallToolResult:
    """The error as one text block, which is all that some clients show their model."""
    return refused_as(error.as_dict())


def refused_as(error: Mapping[str, object]) -> CallToolResult:
    """An error that is JSON already, as `RingError.as_dict` gives it."""
    error = bounds.shortened(redacted(error), bounds.ANSWER_MOST // 2)  # most of it is told twice
    facts = json.dumps(error, ensure_ascii=False, separators=(",", ":"), default=str)
    text = f"ERROR {error['code']}: {in_one_line(error)}\n{facts}"
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def failed(error: RingError, code: int, before: str = "", **facts: object) -> MCPError:
    """The error where the protocol has no result for it: as one of JSON-RPC, with `facts` beside its own."""
    said = redacted(error.as_dict())
    return MCPError(code, before + in_one_line(said), {**facts, **said})


class RingServer(MCPServer[Any]):
    """An MCP server whose tool errors are ours: they name the next step, and leak nothing.

    `in_use` is called when a client lists the tools or calls one: not before, as it waits for the server to start.
    """

    def __init__(self, tools: list[Tool], in_use: Callable[[], None], **options: Any) -> None:
        super().__init__(tools=tools, **options)
        self._in_use = in_use
        self._published = {tool.name: tool.parameters for tool in tools}

    async def list_tools(self) -> list[ListedTool]:
        self._in_use()
        identity, listed = IDENTITY.get(), await super().list_tools()
        answers = identity is None or identity.role.may(Role.APPROVER)
        return [tool for tool in listed if answers or tool.name not in FOR_APPROVERS]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Ctx | None = None
    ) -> CallToolResult | InputRequiredResult:
        self._in_use()
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as error:
            if isinstance(error.__cause__, RingError):
                return refused(error.__cause__)
            log.exception("%s failed unexpectedly", name, exc_info=error.__cause__)
            return refused(
                InternalError(
                    f"{name} failed inside the server",
                    "This is a bug, described in the server's log on stderr. ring_status shows where things stand.",
                )
            )
        except ToolError as error:
            if name in self._published and isinstance(error.__cause__, ValidationError):
                return refused(said.refusal(name, _wrong(error.__cause__), self._published[name]))
            known = {tool.name: tool for tool in await self.list_tools()}
            if name not in known:
                return refused(_no_such_tool(name, known))
            raise


def _wrong(error: ValidationError) -> Iterator[tuple[str, str]]:
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        yield str(fault["loc"][0]) if fault["loc"] else "arguments", fault["type"]


def _no_such_tool(name: str, known: Mapping[str, object]) -> InvalidArguments:
    near = said.did_you_mean(name[: said.LONGEST_NAME], known)
    guess = f" (did you mean {near}?)" if near else ""
    return InvalidArguments(
        f"there is no tool {name[: said.LONGEST_NAME]!a}{guess}", f"The tools are {', '.join(known)}."
    )
