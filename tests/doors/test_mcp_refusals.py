"""Errors through MCP: one text block that teaches, no structured content, nothing leaked, nothing done."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp_asked import read
from mcp_fake_rings import FakeRings, troubles
from mcp_types import CallToolResult

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.entrypoints.mcp_server import build_server

EVERY_CALL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ring_status", {}),
    ("ring_health", {"ring": "prod"}),
    ("ring_plan", {"source": "dev", "target": "staging"}),
    ("ring_promote", {"source": "dev", "target": "staging"}),
    ("ring_rollback", {"ring": "prod"}),
    ("ring_history", {}),
    ("ring_operation", {"operation_id": "op-1"}),
    ("ring_evidence", {"operation_id": "op-1"}),
)
WAY = {"source": "dev", "target": "staging"}


async def refuse(rings: FakeRings, era: str, tool: str, arguments: dict[str, Any], **options: Any) -> tuple[str, Any]:
    async with Client(build_server(rings, **options), mode=era) as client:
        result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return read(result)


@pytest.mark.parametrize("trouble", troubles(), ids=lambda trouble: type(trouble).__name__)
async def test_every_error_of_the_manager_names_its_code_and_the_next_step(era: str, trouble: RingError) -> None:
    rings = FakeRings()
    rings.trouble = trouble
    first, facts = await refuse(rings, era, "ring_promote", {"source": "dev", "target": "staging"})
    assert first == f"ERROR {trouble.code}: it went wrong. Next: Try again."
    assert facts["operation_id"] == "op-9"


@pytest.mark.parametrize(("tool", "arguments"), EVERY_CALL)
async def test_a_crash_is_internal_and_tells_only_the_log(
    era: str, tool: str, arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    rings = FakeRings()
    rings.trouble = RuntimeError("the password is hunter2")
    with caplog.at_level(logging.ERROR):
        first, facts = await refuse(rings, era, tool, arguments)
    assert first.startswith(f"ERROR internal: {tool} failed inside the server. Next: ")
    assert "hunter2" not in first + json.dumps(facts)
    assert "hunter2" in caplog.text


async def test_a_misspelt_argument_does_nothing_and_names_the_right_one(era: str) -> None:
    rings = FakeRings()
    first, facts = await refuse(rings, era, "ring_promote", {"source": "dev", "target": "staging", "dryrun": True})
    assert first.startswith(
        "ERROR invalid_arguments: ring_promote: unknown argument 'dryrun' (did you mean 'dry_run'?)"
    )
    assert facts["did_you_mean"] == {"dryrun": "dry_run"}
    assert rings.changes == []


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("ring_promote", {"source": "dev"}, "'target' is missing; it has to be one of staging, prod"),
        ("ring_promote", {**WAY, "dry_run": "yes"}, "'dry_run' has to be true or false"),
        ("ring_promote", {**WAY, "dry_run": None}, "'dry_run' has to be true or false"),
        ("ring_promote", {**WAY, "wait_s": 301}, "'wait_s' has to be a number from 0 to 300"),
        ("ring_promote", {**WAY, "wait_s": -1}, "'wait_s' has to be a number from 0 to 300"),
        ("ring_history", {"limit": 0}, "'limit' has to be a whole number from 1 to 100"),
        ("ring_history", {"limit": "5"}, "'limit' has to be a whole number from 1 to 100"),
        ("ring_history", {"limit": True}, "'limit' has to be a whole number from 1 to 100"),
        ("ring_history", {"since": "yesterday"}, "'since' has to be a moment in ISO 8601"),
        ("ring_history", {"since": 12}, "'since' has to be a moment in ISO 8601"),
        ("ring_status", {"response_format": "short"}, "'response_format' has to be one of concise, detailed"),
        ("ring_status", {"ring": 5}, "'ring' has to be one of dev, staging, prod"),
        ("ring_health", {"ring": "prod", "services": ["veil", 3]}, "'services' has to be a list, each of it one of"),
        ("ring_health", {"ring": "prod", "services": "veil"}, "'services' has to be a list, each of it one of"),
        ("ring_operation", {"operation_id": ""}, "'operation_id' has to be a text of 1 to 200 characters"),
        ("ring_operation", {"operation_id": "op-1", "log_cursor": -1}, "has to be a whole number, at least 0"),
    ],
)  # fmt: skip
async def test_a_wrong_argument_is_told_what_it_has_to_be(tool: str, arguments: dict[str, Any], says: str) -> None:
    rings = FakeRings()
    first, facts = await refuse(rings, "auto", tool, arguments)
    assert facts["code"] == "invalid_arguments"
    assert says in first
    assert rings.changes == []


async def test_the_validators_own_text_and_the_given_value_stay_inside() -> None:
    first, facts = await refuse(FakeRings(), "auto", "ring_status", {"response_format": "sk-secret", "ring": 4711})
    for leak in ("pydantic", "http", "sk-secret", "4711", "input"):
        assert leak not in first + json.dumps(facts)


async def test_a_ring_nobody_knows_and_a_way_that_does_not_exist_are_told_apart() -> None:
    _, facts = await refuse(FakeRings(), "auto", "ring_health", {"ring": "qa"})
    assert facts["code"] == "unknown_ring"
    for source, target in (("dev", "prod"), ("prod", "dev"), ("staging", "staging")):
        _, facts = await refuse(FakeRings(), "auto", "ring_promote", {"source": source, "target": target})
        assert facts["code"] == "invalid_transition"


async def test_a_tool_nobody_knows_is_refused_with_the_nearest(era: str) -> None:
    first, _ = await refuse(FakeRings(), era, "ring_promotes", {})
    assert "there is no tool 'ring_promotes' (did you mean ring_promote?)" in first


@pytest.mark.parametrize(("options", "code"), [({"read_only": True}, "read_only"), ({"role": "viewer"}, "forbidden")])
async def test_a_server_that_only_looks_refuses_every_change(era: str, options: dict[str, Any], code: str) -> None:
    rings = FakeRings()
    for tool, arguments in EVERY_CALL:
        if tool in {"ring_promote", "ring_rollback"}:
            for dry_run in (False, True):
                _, facts = await refuse(rings, era, tool, {**arguments, "dry_run": dry_run}, **options)
                assert facts["code"] == code
        else:
            async with Client(build_server(rings, **options), mode=era) as client:
                assert not (await client.call_tool(tool, arguments)).is_error
    assert rings.changes == []


async def test_force_is_forbidden_where_the_server_was_not_started_with_it(era: str) -> None:
    arguments = {"source": "dev", "target": "staging", "force": True, "reason": "the site is down"}
    _, facts = await refuse(FakeRings(), era, "ring_promote", arguments)
    assert facts["code"] == "forbidden"


@pytest.mark.parametrize("reason", [None, "  ", "x"])
async def test_force_without_a_reason_is_refused(reason: str | None) -> None:
    rings = FakeRings()
    arguments = {"source": "dev", "target": "staging", "force": True, "reason": reason}
    first, facts = await refuse(rings, "auto", "ring_promote", arguments, allow_force=True)
    assert (facts["code"], rings.changes) == ("invalid_arguments", [])
    assert "reason" in first


async def test_force_with_a_reason_is_an_override_by_name(era: str) -> None:
    rings = FakeRings()
    rings.gate_says_no = True
    arguments = {"source": "dev", "target": "staging", "force": True, "reason": " the site is down "}
    async with Client(build_server(rings, allow_force=True), mode=era) as client:
        result = await client.call_tool("ring_promote", arguments)
    assert not result.is_error
    (override,) = rings.overrides
    assert override is not None
    assert (override.by, override.reason) == ("mcp (agent via mcp)", "the site is down")


NAMES = st.one_of(
    st.sampled_from(
        ["ring", "source", "target", "services", "limit", "wait_s", "since", "dry_run", "force", "reason", "tag",
         "operation_id", "cursor", "event", "response_format", "log_cursor", "include_log", "dryrun", "args", "ctx"]
    ),
    st.text(max_size=60),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=10**300, max_value=10**310),
        st.floats(),
        st.text(st.characters(), max_size=300),
        st.sampled_from(["dev", "staging", "prod", "op-1", "concise", "9999-12-31T23:59:59-23:59", "[[[[", "{}"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


SERVER = build_server(FakeRings(), allow_force=True)


@settings(max_examples=150)
@given(tool=st.sampled_from([tool for tool, _ in EVERY_CALL]), arguments=st.dictionaries(NAMES, VALUES, max_size=5))
async def test_no_argument_whatsoever_makes_an_internal_error(tool: str, arguments: dict[str, Any]) -> None:
    async with Client(SERVER, mode="auto") as client:
        results = [await client.call_tool(tool, each) for each in (arguments, {**dict(EVERY_CALL)[tool], **arguments})]
    for result in results:
        assert isinstance(result, CallToolResult)
        if result.is_error:
            assert read(result)[1]["code"] != "internal"
        result.model_dump_json()  # whatever was echoed can be written to the wire
