"""Every tool through the SDK's own client, in both protocol eras; each result fits its published schema."""

from __future__ import annotations

import getpass
import json
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import pytest
from mcp.client import Client
from mcp_fake_rings import FakeRings
from mcp_types import CallToolResult, Implementation

from aither_rings_mcp.entrypoints.mcp_server import build_server

Call = Callable[..., Awaitable[dict[str, Any]]]
#: Characters of compact JSON in a token, at the cautious end.
PER_TOKEN = 3


@pytest.fixture
def call(rings: FakeRings, era: str) -> Call:
    server = build_server(rings)
    who = Implementation(name="claude-code", version="2.1")

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        async with Client(server, mode=era, client_info=who) as client:
            schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
            result = await client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        assert not result.is_error, result.content
        content = result.structured_content
        assert content is not None
        jsonschema.validate(content, schemas[tool] or {}, format_checker=jsonschema.FormatChecker())
        texts = [block.text for block in result.content if block.type == "text"]
        assert texts[0] == content["summary"]
        assert json.loads(texts[1]) == content
        assert "null" not in texts[1]
        return content

    return call


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("ring_health", {"ring": "prod"}),
        ("ring_promote", {"source": "dev", "target": "staging"}),
        ("ring_promote", {"source": "staging", "target": "prod"}),
        ("ring_history", {"ring": "prod", "limit": 5}),
        ("ring_rollback", {"ring": "prod"}),
    ],
)
async def test_the_articles_calls_work_as_written(call: Call, tool: str, arguments: dict[str, Any]) -> None:
    assert (await call(tool, **arguments))["ok"] is True


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("ring_status", {}),
        ("ring_health", {"ring": "prod"}),
        ("ring_plan", {"source": "staging", "target": "prod"}),
        ("ring_promote", {"source": "staging", "target": "prod"}),
        ("ring_promote", {"source": "staging", "target": "prod", "dry_run": True}),
        ("ring_rollback", {"ring": "prod"}),
        ("ring_history", {}),
        ("ring_operation", {"operation_id": "op-1", "include_log": True}),
        ("ring_cancel", {"operation_id": "op-1", "reason": "a newer change is coming"}),
        ("ring_evidence", {"operation_id": "op-1"}),
    ],
)
async def test_a_usual_answer_stays_under_1500_tokens(call: Call, tool: str, arguments: dict[str, Any]) -> None:
    content = await call(tool, **arguments)
    assert len(json.dumps(content, separators=(",", ":"))) < 1500 * PER_TOKEN


async def test_status_is_of_all_rings_or_of_one(call: Call) -> None:
    assert [ring["name"] for ring in (await call("ring_status"))["rings"]] == ["dev", "staging", "prod"]
    one = (await call("ring_status", ring="prod"))["rings"]
    assert [ring["name"] for ring in one] == ["prod"]
    assert "images" not in one[0]
    assert "images" in (await call("ring_status", ring="prod", response_format="detailed"))["rings"][0]


async def test_concise_health_of_a_small_ring_shows_every_service(call: Call) -> None:
    assert len((await call("ring_health", ring="prod"))["services"]) == 11


async def test_concise_health_of_a_large_ring_shows_the_counts_and_who_is_unwell(call: Call, rings: FakeRings) -> None:
    rings.more = tuple(f"extra-{number}" for number in range(54))
    rings.unwell = ("veil", "mail")
    content = await call("ring_health", ring="prod")
    assert (content["healthy"], content["total"], content["critical_unhealthy"]) == (63, 65, ["veil"])
    assert [service["name"] for service in content["services"]] == ["veil", "mail"]
    assert content["next_actions"][0]["tool"] == "ring_rollback"
    assert len((await call("ring_health", ring="prod", response_format="detailed"))["services"]) == 65


async def test_services_asked_for_by_name_are_shown_whatever_their_state(call: Call) -> None:
    content = await call("ring_health", ring="prod", services=["genesis", "veil"])
    assert [service["name"] for service in content["services"]] == ["genesis", "veil"]


async def test_a_gate_that_says_no_is_a_result_with_what_to_fix(call: Call, rings: FakeRings) -> None:
    rings.gate_says_no = True
    content = await call("ring_promote", source="dev", target="staging")
    assert (content["ok"], content["outcome"]) == (False, "blocked")
    failed = content["gates"][0]["failed_items"][0]
    assert failed == {
        "id": "tests/test_app.py::test_root", "where": "tests/test_app.py:12", "message": "404 != 200",
    }  # fmt: skip
    assert rings.changes == []


async def test_an_operation_that_takes_longer_than_the_call_is_running(call: Call, rings: FakeRings) -> None:
    rings.slow = True
    content = await call("ring_promote", source="dev", target="staging", wait_s=0)
    assert (content["outcome"], content["operation_id"]) == ("running", "op-1")
    rings.finish.set()
    followed = await call("ring_operation", operation_id="op-1", wait_s=5)
    assert (followed["status"], followed["result"]["outcome"]) == ("done", "promoted")


async def test_evidence_is_read_section_by_section_and_its_text_is_labelled(call: Call) -> None:
    index = await call("ring_evidence", operation_id="op-1")
    assert [(s["name"], s["untrusted"]) for s in index["sections"]] == [("logs", True), ("events", False)]
    assert "text" not in index
    read = await call("ring_evidence", operation_id="op-1", section="logs", cursor=18)
    assert (read["section"], read["untrusted"], read["cursor"]) == ("logs", True, 18)
    assert read["text"].startswith("Traceback")
    assert "Traceback" not in read["summary"]


async def test_a_dry_run_changes_nothing(call: Call, rings: FakeRings) -> None:
    assert (await call("ring_promote", source="dev", target="staging", dry_run=True))["plan"]["plan_id"] == "p-1"
    assert (await call("ring_rollback", ring="prod", dry_run=True))["outcome"] == "dry_run"
    assert rings.changes == []


async def test_rollback_says_from_and_to_by_their_published_names(call: Call) -> None:
    content = await call("ring_rollback", ring="prod", release="r-ba9876543210", reason="users see errors")
    assert (content["from"], content["to"]) == ("r-0123456789ab", "r-ba9876543210")


async def test_history_pages_back_without_gaps(call: Call) -> None:
    first = await call("ring_history", ring="prod", limit=25)
    second = await call("ring_history", ring="prod", limit=25, cursor=first["next_cursor"])
    assert [event["seq"] for event in first["events"] + second["events"]] == list(range(40, 0, -1))
    assert "next_cursor" not in second


async def test_concise_history_leaves_out_the_operation_and_its_detail(call: Call) -> None:
    concise = (await call("ring_history", limit=1))["events"][0]
    detailed = (await call("ring_history", limit=1, response_format="detailed"))["events"][0]
    assert set(detailed) - set(concise) == {"operation", "detail"}


@pytest.mark.parametrize("since", ["2026-01-31T11:58:00Z", "2026-01-31T12:58:00+01:00", "2026-01-31T11:58:00"])
async def test_since_is_utc_unless_it_names_an_offset(call: Call, since: str) -> None:
    assert [event["seq"] for event in (await call("ring_history", since=since))["events"]] == [40, 39, 38]


async def test_the_actor_is_the_client_by_its_own_name(call: Call, rings: FakeRings) -> None:
    await call("ring_rollback", ring="prod")
    assert str(rings.actors[-1]) == "claude-code (agent via mcp)"


@pytest.mark.parametrize(
    ("given", "seen"), [("   ", getpass.getuser()), ("evil\n\x1b[31mclient" + "x" * 99, "evil[31mclient" + "x" * 50)]
)
async def test_a_client_without_a_usable_name_goes_by_the_account(era: str, given: str, seen: str) -> None:
    rings = FakeRings()
    async with Client(build_server(rings), mode=era, client_info=Implementation(name=given, version="1")) as client:
        await client.call_tool("ring_rollback", {"ring": "prod"})
    assert (rings.actors[0].name, rings.actors[0].kind, rings.actors[0].door) == (seen, "agent", "mcp")


async def test_a_list_that_comes_as_json_text_is_understood(call: Call) -> None:
    """Claude Desktop is prone to that."""
    assert (await call("ring_health", ring="prod", services='["genesis"]'))["total"] == 1


async def test_null_for_an_optional_argument_means_not_given(call: Call, rings: FakeRings) -> None:
    await call("ring_promote", source="dev", target="staging", plan_id=None, reason=None, idempotency_key=None)
    assert rings.changes == [("dev", "staging")]
