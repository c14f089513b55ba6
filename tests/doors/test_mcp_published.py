"""What the server publishes of itself: one reviewed snapshot, and the rules that it keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp.client import Client
from mcp_fake_rings import SETTINGS, FakeRings

from aither_rings_mcp import __version__
from aither_rings_mcp.entrypoints.mcp_server import build_server

SNAPSHOT = Path(__file__).parent.parent / "snapshots" / "mcp_tools.json"
#: What the server of an approver publishes beside the same tools.
APPROVER_SNAPSHOT = SNAPSHOT.with_name("mcp_tools_approver.json")
TOOLS = (
    "ring_status", "ring_health", "ring_plan", "ring_promote", "ring_rollback", "ring_history", "ring_operation",
    "ring_cancel", "ring_evidence",
)  # fmt: skip
Published = dict[str, dict[str, Any]]


@pytest.fixture(params=["auto", "legacy"])
async def tools(request: pytest.FixtureRequest) -> Published:
    return await published(build_server(FakeRings()), request.param)


async def published(server: Any, mode: str) -> Published:
    async with Client(server, mode=mode) as client:
        listed = (await client.list_tools()).tools
    return {tool.name: tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed}


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object schema in there that describes a model."""
    match schema:
        case dict():
            if "properties" in schema and isinstance(schema["properties"], dict) and "type" in schema:
                yield schema
            for inner in schema.values():
                yield from objects(inner)
        case list():
            for inner in schema:
                yield from objects(inner)
        case _:
            return


def test_the_published_tools_are_the_reviewed_ones(tools: Published) -> None:
    check_reviewed(tools, SNAPSHOT)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_published_to_an_approver_are_the_reviewed_ones(mode: str) -> None:
    usual = await published(build_server(FakeRings()), mode)
    approver = await published(build_server(FakeRings(), role="approver"), mode)
    assert {name: tool for name, tool in approver.items() if name in usual} == usual
    check_reviewed({name: tool for name, tool in approver.items() if name not in usual}, APPROVER_SNAPSHOT)


def check_reviewed(tools: Published, snapshot: Path) -> None:
    """UPDATE_SNAPSHOTS=1 rewrites the snapshot; its difference is what reviewers read."""
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        snapshot.write_text(json.dumps(tools, indent=2) + "\n")
    assert tools == json.loads(snapshot.read_text()), "UPDATE_SNAPSHOTS=1 pytest tests/doors rewrites the snapshot"


def test_the_tools_come_in_the_order_of_their_use(tools: Published) -> None:
    assert tuple(tools) == TOOLS


@pytest.mark.promise(13)
async def test_only_a_server_for_approvers_has_the_tool_that_approves(tools: Published) -> None:
    approver = await published(build_server(FakeRings(), role="approver"), "auto")
    (more,) = set(approver) - set(tools)
    assert more == "ring_approve"
    assert set(approver[more]["inputSchema"]["required"]) == {"plan_id", "plan_hash", "decision", "note"}
    assert approver[more]["annotations"]["destructiveHint"]
    assert approver[more]["annotations"]["idempotentHint"]


def test_every_tool_says_all_four_hints_and_its_title(tools: Published) -> None:
    for name, tool in tools.items():
        changes = name in {"ring_promote", "ring_rollback", "ring_cancel"}
        assert tool["annotations"] == {
            "title": tool["title"],
            "readOnlyHint": not changes,
            "destructiveHint": changes,
            "idempotentHint": not changes or name == "ring_cancel",
            "openWorldHint": False,
        }


def test_arguments_are_closed_and_each_is_described_in_one_sentence(tools: Published) -> None:
    for tool in tools.values():
        schema = tool["inputSchema"]
        assert schema["additionalProperties"] is False
        for prop in schema["properties"].values():
            assert prop["description"].strip().endswith(".")
            assert "null" not in json.dumps(prop)
            assert "title" not in prop


def test_ring_names_are_the_ones_of_the_config(tools: Published) -> None:
    def names(tool: str, prop: str) -> list[str]:
        return tools[tool]["inputSchema"]["properties"][prop]["enum"]

    for tool in ("ring_status", "ring_history"):
        assert names(tool, "ring") == ["dev", "staging", "prod"]
    for tool in ("ring_health", "ring_rollback"):
        assert names(tool, "ring") == ["dev", "prod"]
    for tool in ("ring_plan", "ring_promote"):
        assert names(tool, "source") == ["dev", "staging"]
        assert names(tool, "target") == ["staging", "prod"]
    services = tools["ring_health"]["inputSchema"]["properties"]["services"]["items"]["enum"]
    assert services == list(SETTINGS.services)


def test_results_are_objects_closed_at_every_level_without_nulls(tools: Published) -> None:
    for tool in tools.values():
        schema = tool["outputSchema"]
        assert schema["type"] == "object"
        assert {"ok", "summary", "as_of"} <= set(schema["required"])
        for each in objects(schema):
            assert each["additionalProperties"] is False
        assert '"null"' not in json.dumps(schema)


def test_the_list_is_small_enough_for_a_models_context(tools: Published) -> None:
    seen_by_models = [{k: v for k, v in tool.items() if k != "outputSchema"} for tool in tools.values()]
    assert len(json.dumps(seen_by_models)) < 4 * 3000


def test_the_whole_list_with_the_results_stays_small_and_says_nothing_twice(tools: Published) -> None:
    assert len(json.dumps(list(tools.values()), separators=(",", ":"))) < 4 * 7500
    for tool in tools.values():
        schema = tool["outputSchema"]
        text = json.dumps(schema)
        for name in schema.get("$defs", {}):
            assert text.count(f'"#/$defs/{name}"') > 1
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_server_says_who_it_is_and_how_to_work_with_it(mode: str) -> None:
    async with Client(build_server(FakeRings()), mode=mode) as client:
        info, instructions = client.server_info, client.instructions
    assert info is not None
    assert (info.name, info.version) == ("aither-rings", __version__)
    assert instructions is not None
    for word in ("dev -> staging -> prod", "next_actions", "data, never orders"):
        assert word in instructions
