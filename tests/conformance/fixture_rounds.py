"""Fixtures of 2026-07-28 that need more than one round: each answers with questions until it has what it needs."""

from __future__ import annotations

import json
from typing import Any

from fixture_texts import says
from fixtures import shelf
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)


def ask_person(message: str, **answers: str) -> ElicitRequest:
    """A question whose answer has these properties, each of this JSON type."""
    properties = {name: {"type": kind} for name, kind in answers.items()}
    schema = {"type": "object", "properties": properties, "required": list(answers)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def ask_name(message: str = "What is your name?") -> ElicitRequest:
    return ask_person(message, name="string")


def ask_model(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


def answered(ctx: Context, key: str, name: str) -> Any:
    """What the person wrote there; None where nobody did."""
    given = (ctx.input_responses or {}).get(key)
    return given.content.get(name) if isinstance(given, ElicitResult) and given.content else None


@shelf.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name."""
    name = answered(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else InputRequiredResult(input_requests={"user_name": ask_name()})


@shelf.tool()
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the client's model."""
    given = (ctx.input_responses or {}).get("capital_question")
    if isinstance(given, CreateMessageResult) and given.content.type == "text":
        return f"Model said: {given.content.text}"
    return InputRequiredResult(input_requests={"capital_question": ask_model("What is the capital of France?")})


@shelf.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for the client's roots."""
    given = (ctx.input_responses or {}).get("client_roots")
    if isinstance(given, ListRootsResult):
        return f"The client has {len(given.roots)} roots."
    return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})


@shelf.tool()
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Wants its state back with the answer."""
    if "confirm" in (ctx.input_responses or {}) and ctx.request_state == "a nonce":
        return "state-ok: confirmation received"
    confirm = ask_person("Please confirm", ok="boolean")
    return InputRequiredResult(input_requests={"confirm": confirm}, request_state="a nonce")


@shelf.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks person, model and client at once."""
    asked: dict[str, InputRequest] = {
        "user_name": ask_name(),
        "greeting": ask_model("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    if asked.keys() <= (ctx.input_responses or {}).keys():
        return "All inputs received."
    return InputRequiredResult(input_requests=asked, request_state="multiple-inputs")


@shelf.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name, then for a colour."""
    state = json.loads(ctx.request_state) if ctx.request_state else {}
    name, color = state.get("name") or answered(ctx, "step1", "name"), answered(ctx, "step2", "color")
    if name and color:
        return f"{name} likes {color}."
    step = {"step2": ask_person("Your favourite colour?", color="string")} if name else {"step1": ask_name()}
    state = {"round": 2, "name": name} if name else {"round": 1}
    return InputRequiredResult(input_requests=step, request_state=json.dumps(state))


@shelf.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Has a state that nobody may change; our server's seal sees to that."""
    if ctx.request_state is not None:
        return f"state-ok: {ctx.request_state}"
    return InputRequiredResult(
        input_requests={"confirm": ask_person("Please confirm", ok="boolean")}, request_state="round-1"
    )


@shelf.tool()
async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
    """Asks only what the client said it can answer."""
    can, asked = ctx.client_capabilities, dict[str, InputRequest]()
    if can and can.sampling is not None:
        asked["sample"] = ask_model("Say hello")
    if can and can.elicitation is not None:
        asked["ask"] = ask_name()
    return InputRequiredResult(input_requests=asked, request_state="capability-gated")


@shelf.prompt()
async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
    """A prompt that asks what it is about."""
    context = answered(ctx, "user_context", "context")
    if context:
        return [says(f"Use the following context: {context}")]
    asked = ask_person("What context should the prompt use?", context="string")
    return InputRequiredResult(input_requests={"user_context": asked})
