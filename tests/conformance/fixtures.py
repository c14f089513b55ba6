"""The tools that the official conformance suite asks a server to have.

Names, texts and pictures are the suite's; see the descriptions of its scenarios. Tools of several rounds are in
`fixture_rounds`, tools that become tasks in `fixture_tasks`, resources and prompts in `fixture_texts`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from aither_rings_mcp.entrypoints.mcp_server import _without

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
with _without("rich"):  # it would have logging its way for the whole process
    shelf = MCPServer[Any]("fixtures", log_level="WARNING")


# ---- what a tool can answer with ----


@shelf.tool()
def test_simple_text() -> str:
    """Answers with text."""
    return "This is a simple text response for testing."


@shelf.tool()
def test_image_content() -> list[ImageContent]:
    """Answers with a picture."""
    return [ImageContent(type="image", data=PIXEL, mime_type="image/png")]


@shelf.tool()
def test_audio_content() -> list[AudioContent]:
    """Answers with sound."""
    return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )  # fmt: skip


@shelf.tool()
def test_embedded_resource() -> list[EmbeddedResource]:
    """Answers with a resource."""
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@shelf.tool()
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Answers with text, a picture and a resource."""
    return [
        TextContent(type="text", text="Multiple content types test:"),
        ImageContent(type="image", data=PIXEL, mime_type="image/png"),
        embedded("test://mixed-content-resource", '{"test": "data", "value": 123}', "application/json"),
    ]


@shelf.tool()
def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


# ---- what a tool can say meanwhile ----


@shelf.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
        await asyncio.sleep(0.05)
    return "Tool with logging executed successfully"


@shelf.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Tells of its progress three times."""
    for done in (0, 50, 100):
        await ctx.report_progress(progress=done, total=100, message=f"Completed step {done} of 100")
        await asyncio.sleep(0.05)
    return "done"


@shelf.tool()
async def test_reconnection(ctx: Context) -> str:
    """Closes its stream halfway; the client has to come back for the rest."""
    await ctx.info("Before disconnect")
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)  # the suite comes back meanwhile; what is said before is kept for it
    await ctx.info("After reconnect")
    return "Reconnection test completed"


@shelf.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Tells that the list of tools has changed."""
    await ctx.notify_tools_changed()
    return "tool list changed"


@shelf.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Tells that the list of prompts has changed."""
    await ctx.notify_prompts_changed()
    return "prompt list changed"


# ---- what a tool can ask for, in the handshake era ----


@shelf.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    asked = [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))]
    result = await ctx.session.create_message(messages=asked, max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {result.content.text if result.content.type == 'text' else ''}"


async def _ask(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    result = await ctx.elicit(message=message, schema=schema)
    content = result.data.model_dump_json() if result.action == "accept" else "{}"
    return f"action={result.action}, content={content}"


class UserResponse(BaseModel):
    response: str = Field(description="User's response")


@shelf.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the person."""
    return f"User response: {await _ask(ctx, message, UserResponse)}"


STATUSES = {"enum": ["active", "inactive", "pending"]}


class Defaults(BaseModel):
    name: str = Field(default="John Doe", description="User name")
    age: int = Field(default=30, description="User age")
    score: float = Field(default=95.5, description="User score")
    status: str = Field(default="active", description="User status", json_schema_extra={**STATUSES})
    verified: bool = Field(default=True, description="Verification status")


@shelf.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks the person with a default for every primitive type."""
    return f"Elicitation completed: {await _ask(ctx, 'Please review and update the form fields', Defaults)}"


def _titled(**options: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in options.items()]


class Enums(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})
    titledSingle: str = Field(
        json_schema_extra={"oneOf": _titled(value1="First Option", value2="Second Option", value3="Third Option")}
    )
    legacyEnum: str = Field(
        json_schema_extra={
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        }
    )
    untitledMulti: list[str] = Field(
        json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2", "option3"]}}
    )
    titledMulti: list[str] = Field(
        json_schema_extra={
            "items": {"anyOf": _titled(value1="First Choice", value2="Second Choice", value3="Third Choice")}
        }
    )


@shelf.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks the person to choose, in the five ways that the protocol has for it."""
    return f"Elicitation completed: {await _ask(ctx, 'Please select options from the enum fields', Enums)}"


# ---- schemas and headers ----


@shelf.tool()
def test_x_mcp_header(
    region: Annotated[str, Field(description="Also a header", json_schema_extra={"x-mcp-header": "Region"})] = "none",
) -> str:
    """Has an argument that clients repeat as a header."""
    return f"region={region}"


@shelf.tool()
def test_missing_capability(ctx: Context) -> str:
    """Needs a client that can sample."""
    can = ctx.client_capabilities
    if can is None or can.sampling is None:
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs a client that can sample",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return "The client can sample."


@shelf.tool()
def json_schema_2020_12_tool() -> str:
    """Has arguments that take all of JSON Schema 2020-12 to describe."""
    return "json_schema_2020_12_tool"


shelf._tool_manager._tools["json_schema_2020_12_tool"].parameters = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
