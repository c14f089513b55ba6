"""The suite's resources and prompts, and the way of all fixtures into our server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any

from fixtures import PIXEL, embedded, shelf
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import GetPromptResult, ImageContent, InputRequiredResult, ResourceTemplate, TextContent
from mcp_types import Prompt as ListedPrompt
from mcp_types import Resource as ListedResource
from pydantic import AnyUrl

#: What there is to read; `test://` of anything else is for our server to refuse.
READABLE = re.compile(r"test://(static-text|static-binary|watched-resource|template/[^/]+/data)")


def put_into(server: MCPServer[Any]) -> None:
    """Adds the fixtures to a server of ours, which goes on answering for everything else."""
    server._tool_manager._tools.update(shelf._tool_manager._tools)
    ours, subscribable = _Ours(server), server._resources.check

    async def list_resources() -> list[ListedResource]:
        return [*await ours.list_resources(), *await shelf.list_resources()]

    async def list_resource_templates() -> list[ResourceTemplate]:
        return [*await ours.list_resource_templates(), *await shelf.list_resource_templates()]

    async def read_resource(uri: AnyUrl | str, context: Context | None = None) -> Iterable[ReadResourceContents]:
        read = shelf.read_resource if READABLE.fullmatch(str(uri)) else ours.read_resource
        return await read(uri, context)

    async def list_prompts() -> list[ListedPrompt]:
        return [*await ours.list_prompts(), *await shelf.list_prompts()]

    async def get_prompt(
        name: str, arguments: dict[str, Any] | None = None, context: Context | None = None
    ) -> GetPromptResult | InputRequiredResult:
        get = shelf.get_prompt if name.startswith("test_") else ours.get_prompt
        return await get(name, arguments, context)

    def check(uri: str) -> None:
        if not READABLE.fullmatch(uri):
            subscribable(uri)

    for replaced in (list_resources, list_resource_templates, read_resource, list_prompts, get_prompt):
        setattr(server, replaced.__name__, replaced)
    server._resources.check = check


class _Ours:
    """The server's methods as they were before."""

    def __init__(self, server: MCPServer[Any]) -> None:
        self.list_resources, self.read_resource = server.list_resources, server.read_resource
        self.list_resource_templates = server.list_resource_templates
        self.list_prompts, self.get_prompt = server.list_prompts, server.get_prompt


# ---- resources ----


@shelf.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Text to read."""
    return "This is the content of the static text resource."


@shelf.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """A picture to read."""
    return base64.b64decode(PIXEL)


@shelf.resource("test://watched-resource", mime_type="text/plain")
def watched_resource() -> str:
    """Text to subscribe to."""
    return "Watched resource content"


@shelf.resource("test://template/{id}/data", mime_type="application/json")
def template_data(id: str) -> str:
    """Data of an id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


# ---- prompts ----


def says(text: str) -> UserMessage:
    return UserMessage(content=TextContent(type="text", text=text))


@shelf.prompt()
def test_simple_prompt() -> list[UserMessage]:
    """Takes nothing."""
    return [says("This is a simple prompt for testing.")]


@shelf.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """Takes two arguments."""
    return [says(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


@shelf.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    """Brings a resource along."""
    brought = embedded(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(content=brought), says("Please process the embedded resource above.")]


@shelf.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """Brings a picture along."""
    picture = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    return [UserMessage(content=picture), says("Please analyze the image above.")]
