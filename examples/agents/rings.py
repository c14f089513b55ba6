"""The rings as an agent sees them: the tools of the MCP server, through the public MCP client, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation

Answer = dict[str, Any]
TOKEN_VARIABLE = "RINGS_TOKEN"
#: Clients lose patience after a minute; the operation does not mind, and is asked for again.
_WAIT_S = 45


class Refused(Exception):
    """A tool said no. `code` is for programs, the text is for whoever reads it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        facts = text.rpartition("\n")[2]
        self.facts: Answer = json.loads(facts) if facts.startswith("{") else {}
        self.code = str(self.facts.get("code", "internal"))


class Rings:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """The tool's structured answer; raises `Refused` where it gave an error."""
        result = await self._client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        if result.is_error or result.structured_content is None:
            raise Refused("\n".join(block.text for block in result.content if block.type == "text"))
        return result.structured_content

    async def change(self, tool: str, **arguments: Any) -> Answer:
        """The same for what may take long: with outcome `running` it is followed to its end."""
        answer = await self.call(tool, wait_s=_WAIT_S, **arguments)
        while answer.get("outcome") == "running":
            seen = await self.call("ring_operation", operation_id=answer["operation_id"], wait_s=_WAIT_S)
            if seen["status"] != "running":
                return seen.get("result") or {**seen, "outcome": seen["status"]}
        return answer


@asynccontextmanager
async def connected(where: str, name: str, more: list[str]) -> AsyncGenerator[Rings]:
    """The rings at `where`: the URL of a server, or a program (with `more` arguments) that speaks MCP over stdio.

    At a URL the token of the variable RINGS_TOKEN is shown, never one of the command line, which others can read.
    """
    async with AsyncExitStack() as stack:
        if where.startswith(("http://", "https://")):
            token = os.environ.get(TOKEN_VARIABLE)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=_WAIT_S + 30))
            transport: Any = streamable_http_client(where, http_client=http)
        else:
            transport = StdioServerParameters(command=where, args=more, env=dict(os.environ))
        itself = Implementation(name=name, version="1")
        yield Rings(await stack.enter_async_context(Client(transport, client_info=itself)))


def told(**facts: object) -> None:
    """One line of JSON for whoever watches this agent."""
    print(json.dumps({key: value for key, value in facts.items() if value is not None}), flush=True)
