"""An agent that has only what the server tells it: the tool list, and the answers to its calls."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import jsonschema
from fakes.shop import ANN, Shop
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, Tool
from rest_site import served

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.entrypoints.mcp_server import build_server

Said = dict[str, Any]
#: What an answer may cost a model: usually, and at most. JSON of ids and short words has 3.5 characters a token.
USUAL, MOST = 1500, 8000
_FORMATS = jsonschema.FormatChecker()


def tokens(content: object) -> float:
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":"))) / 3.5


@dataclass(frozen=True)
class Turn:
    """One call, the words that made the agent do it, and what came of it."""

    tool: str
    arguments: Mapping[str, Any]
    because: str
    answer: Said
    refused: bool = False


@dataclass
class Agent:
    """Calls tools for reasons it can quote. Whatever it sends and gets has to fit what was published."""

    client: Client
    tools: dict[str, Tool]
    turns: list[Turn] = field(default_factory=list[Turn])

    @property
    def last(self) -> Turn:
        return self.turns[-1]

    def tool_for(self, *words: str) -> str:
        """The only tool whose title and description have all these words: how a model finds one."""
        found = [
            tool.name
            for tool in self.tools.values()
            if all(word in f"{tool.title} {tool.description}".lower() for word in words)
        ]
        assert len(found) == 1, (words, found)
        return found[0]

    async def call(self, tool: str, because: str, **arguments: Any) -> Said:
        """A call for a reason, which the agent has to have read: in the tool list, or in an answer to it."""
        assert because in self._read(), f"nothing says {because!r}"
        jsonschema.validate(arguments, self.tools[tool].input_schema, format_checker=_FORMATS)
        return await self._asked(tool, because, arguments)

    async def follow(self, tool: str) -> Said:
        """The call that the newest answer with one offers, exactly as it is given."""
        offered = next(
            action
            for turn in reversed(self.turns)
            for action in turn.answer.get("next_actions", ())
            if action["tool"] == tool
        )
        return await self.call(tool, offered["why"], **offered["arguments"])

    async def mistake(self, tool: str, **arguments: Any) -> Said:
        """A call that the published schema forbids."""
        fits = jsonschema.Draft202012Validator(self.tools[tool].input_schema).is_valid(arguments)
        assert not fits, "that is no mistake"
        return await self._asked(tool, "", arguments)

    async def _asked(self, tool: str, because: str, arguments: Mapping[str, Any]) -> Said:
        result = await self.client.call_tool(tool, dict(arguments))
        assert isinstance(result, CallToolResult)
        answer = _refusal(result) if result.is_error else result.structured_content or {}
        if not result.is_error:
            jsonschema.validate(answer, self.tools[tool].output_schema or {}, format_checker=_FORMATS)
        for action in answer.get("next_actions", ()):
            jsonschema.validate(action["arguments"], self.tools[action["tool"]].input_schema, format_checker=_FORMATS)
        assert tokens(answer) < MOST, tool
        self.turns.append(Turn(tool, arguments, because, answer, bool(result.is_error)))
        return answer

    def _read(self) -> str:
        listed = [said for tool in self.tools.values() for said in _strings(tool.model_dump(exclude={"output_schema"}))]
        return "\n".join([*listed, *(said for turn in self.turns for said in _strings(turn.answer))])


def _strings(content: object) -> list[str]:
    match content:
        case str():
            return [content]
        case Mapping():
            return [said for value in content.values() for said in _strings(value)]
        case list():
            return [said for value in content for said in _strings(value)]
        case _:
            return []


def _refusal(result: CallToolResult) -> Said:
    """An error as an agent reads it: one text, whose last line is JSON."""
    (block,) = result.content
    assert block.type == "text"
    text, _, facts = block.text.partition("\n")
    match = re.fullmatch(r"ERROR (\w+): (.+) Next: (.+)", text)
    assert match, text
    return {"error": match[1], "what": match[2], "next": match[3], **json.loads(facts)}


@asynccontextmanager
async def at_work(shop: Shop, way: str, name: str = "scout") -> AsyncGenerator[Agent]:
    """The agent connected to `shop`: over `http` with a token, or in this process in an era: `auto` or `legacy`."""
    itself = Implementation(name=name, version="1")
    if way != "http":
        async with Client(build_server(shop.manager), mode=way, client_info=itself) as client:
            yield await _ready(client)
        return
    token = (await shop.manager.create_token(name, Role.OPERATOR, ANN)).token
    async with (
        served(shop) as site,
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(f"{site.url}/mcp", http_client=http), client_info=itself) as client,
    ):
        yield await _ready(client)


async def _ready(client: Client) -> Agent:
    return Agent(client, {tool.name: tool for tool in (await client.list_tools()).tools})
