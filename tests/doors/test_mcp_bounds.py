"""No result of a tool is longer than a model takes: what has a cursor is paged, the rest is shortened, and says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.machine import Fault, image_id
from fakes.memory import quick_folder
from fakes.shop import ANN, Shop, Snapshot, reopened, settings
from mcp.client import Client
from mcp_fake_rings import FakeRings
from mcp_types import CallToolResult, TextResourceContents

from aither_rings_mcp.domain.errors import EngineFailure
from aither_rings_mcp.domain.model import Event, Quarantine
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.verdict import Evidence, FailedItem, GateResult, Verdict
from aither_rings_mcp.entrypoints.mcp_bounds import ANSWER_MOST, cost, fitting, shortened
from aither_rings_mcp.entrypoints.mcp_server import build_server

#: 8,000 tokens, of three characters of JSON each: the cautious end.
MOST = 8000 * 3
MANY, FEW = 200, 2
TO_PROD = {"source": "staging", "target": "prod"}
LAST = f"service-{MANY - 1:03}-of-a-large-installation"
#: What a gate may show of a test: quotes, backslashes and letters that cost more than they look.
LONG_LINE = ('E  assert "naïve\\path" == ' * 40)[:499]
LONG_TEXT = "\n".join([LONG_LINE] * 12)
LOUD = tuple(
    GateResult(
        name=f"gate-{number}",
        status=Verdict.FAILED,
        summary=LONG_LINE,
        reason_code="tests_failed",
        evidence=(Evidence(kind="output", ref=LONG_LINE, value=LONG_TEXT),) * 20,
        failed_items=(FailedItem(id=LONG_LINE, where=LONG_LINE, message=LONG_TEXT),) * 10,
        log_tail=(LONG_LINE,) * 20,
        fix_hint=LONG_TEXT,
    )
    for number in range(5)
)


def large(services: int = MANY) -> Settings:
    probe = {"http": "/health", "port": 8000}
    names = [f"service-{number:03}-of-a-large-installation" for number in range(services)]
    return settings(services={name: {"critical": True, "probe": probe} for name in names})


async def two_releases(shop: Shop) -> None:
    await shop.ship("v1")
    await shop.deploy("v2")
    await shop.stage()


@pytest.fixture(scope="module")
def installation() -> Iterator[Snapshot]:
    with quick_folder() as folder:
        shop = Shop(folder / "large", config=large())
        asyncio.run(two_releases(shop))
        yield shop.snapshot()
        shop.close()


@pytest.fixture
def shop(installation: Snapshot, folder: Path) -> Shop:
    """200 services run in prod; the next release waits in staging."""
    return reopened(installation, folder / "large", tampering=True)


@pytest.fixture
async def blocked(folder: Path) -> Shop:
    """A promotion was blocked by gates that had much to say; its key is `again`."""
    shop = Shop(folder / "shop")
    await shop.deploy("v1", Fault("refused"))
    await shop.stage()
    answer = await shop.promote(idempotency_key="again")
    assert answer.outcome == "blocked"
    told(shop, gates=LOUD)
    return shop


def told(shop: Shop, **update: Any) -> Operation:
    """The newest operation, as if it had been told so."""
    op = shop.operations()[0].model_copy(update=update)
    shop.world.journals.save(op)
    return op


async def call(shop: Shop, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """The answer, which fits its schema and a model."""
    async with Client(build_server(shop.manager)) as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    content = result.structured_content
    assert content is not None, result.content
    jsonschema.validate(content, schemas[tool] or {}, format_checker=jsonschema.FormatChecker())
    assert len(json.dumps(content, separators=(",", ":"))) <= ANSWER_MOST < MOST
    summary, text = [block.text for block in result.content if block.type == "text"]
    assert (summary, json.loads(text)) == (content["summary"], content)
    return content


async def test_what_fits_is_left_as_it_is(shop: Shop, blocked: Shop) -> None:
    assert "shortened" not in await call(blocked, "ring_status", response_format="detailed")
    assert "shortened" not in await call(shop, "ring_health", ring="prod")


@pytest.mark.parametrize("detail", ["concise", "detailed"])
async def test_a_long_quarantine_is_shortened_in_the_status_and_whole_elsewhere(shop: Shop, detail: str) -> None:
    state = shop.world.state.load()
    condemned = tuple(Quarantine(release=f"r-{n:012}", since=shop.clock.now(), reason="é" * 1000) for n in range(100))
    for ring in ("dev", "prod"):
        state = state.with_ring(ring, state.ring(ring).model_copy(update={"quarantine": condemned}))
    shop.world.state.save(state)
    answer = await call(shop, "ring_status", response_format=detail)
    assert [ring["name"] for ring in answer["rings"]] == ["dev", "staging", "prod"]
    assert answer["rings"][0]["quarantine"][0]["reason"].endswith("é…")
    assert "ring_status of one ring" in answer["shortened"]
    assert len((await call(shop, "ring_status", ring="prod"))["rings"][0]["quarantine"]) > FEW
    whole = await shop.manager.status()
    assert whole.shortened is None
    assert [len(ring.quarantine or ()) for ring in whole.rings] == [100, 0, 100]


async def test_detailed_health_of_many_services_shows_the_unwell_first(shop: Shop) -> None:
    shop.machine.images[image_id(LAST, "v1")] = Fault("never-healthy")
    answer = await call(shop, "ring_health", ring="prod", response_format="detailed")
    assert (answer["healthy"], answer["total"]) == (MANY - 1, MANY)
    assert answer["services"][0]["name"] == LAST
    assert len(answer["services"]) < MANY
    assert "ring_health with `services`" in answer["shortened"]


async def test_health_of_many_services_that_are_all_unwell_fits(shop: Shop) -> None:
    shop.turn("v1", Fault("never-healthy"))
    for asked in ({}, {"response_format": "detailed"}, {"services": list(shop.settings.services)}):
        answer = await call(shop, "ring_health", ring="prod", **asked)
        assert answer["healthy"] == 0
        assert answer["next_actions"]


async def test_a_plan_of_many_services_fits_and_can_be_applied(shop: Shop) -> None:
    for tool, more in (("ring_plan", {}), ("ring_promote", {"dry_run": True})):
        answer = await call(shop, tool, **TO_PROD, **more)
        plan = answer.get("plan", answer)
        assert "changes" in plan
        assert plan["next_actions"][0]["arguments"]["plan_id"] == plan["plan_id"]
        assert "shortened" in answer
    promoted = await call(shop, "ring_promote", **plan["next_actions"][0]["arguments"])
    assert promoted["outcome"] == "promoted"


async def test_a_blocked_promotion_with_much_to_say_fits_and_tells_every_gate(blocked: Shop) -> None:
    answer = await call(blocked, "ring_promote", **TO_PROD, idempotency_key="again")
    assert answer["outcome"] == "blocked"
    assert [gate["name"] for gate in answer["gates"]] == [gate.name for gate in LOUD]
    assert all(gate["failed_items"] for gate in answer["gates"])
    assert "ring_evidence, section gates," in answer["shortened"]
    operation = await call(blocked, "ring_operation", operation_id=answer["operation_id"])
    assert [gate["name"] for gate in operation["result"]["gates"]] == [gate.name for gate in LOUD]
    gates = await call(blocked, "ring_evidence", operation_id=answer["operation_id"], section="gates")
    assert LONG_LINE in gates["text"]
    assert gates["next_cursor"]


async def test_what_was_observed_of_many_services_fits_in_a_rollback(shop: Shop) -> None:
    await shop.promote()
    await shop.rollback(idempotency_key="again")
    names = tuple(shop.settings.services)
    seen = {"images_match": False, "healthy": 0, "total": MANY, "unhealthy": names, "mismatched": names}
    told(shop, verification={**seen, "reason": "é" * 9000})
    answer = await call(shop, "ring_rollback", ring="prod", idempotency_key="again")
    assert answer["verification"]["total"] == MANY
    assert answer["shortened"]


@pytest.mark.parametrize("beside", [(), LOUD])
async def test_a_long_log_is_read_page_by_page_and_nothing_is_lost(
    blocked: Shop, beside: tuple[GateResult, ...]
) -> None:
    op = told(blocked, gates=beside)
    for number in range(40):
        blocked.world.logs.append(op.id, f"{number} " + ('"\\é' * 700)[: 40 * number])
    lines: list[str] = []
    cursor: int | None = None
    while True:
        more = {} if cursor is None else {"log_cursor": cursor}
        answer = await call(blocked, "ring_operation", operation_id=op.id, include_log=True, **more)
        lines += answer["log"]["lines"]
        cursor = answer["log"].get("next_cursor")
        if cursor is None:
            break
    assert lines == (blocked.folder / "state" / "operations" / op.id / "log.txt").read_text().splitlines()
    whole = await blocked.manager.operation(op.id, include_log=True)
    assert whole.log is not None
    assert len(whole.log.lines) > len(answer["log"]["lines"])


async def test_the_log_of_an_operation_as_a_resource_is_as_much_of_its_end_as_fits(blocked: Shop) -> None:
    op = told(blocked)
    for number in range(300):
        blocked.world.logs.append(op.id, f"{number} {'x' * 500}")
    async with Client(build_server(blocked.manager)) as client:
        for uri in (f"ring://operations/{op.id}/log", f"ring://operations/{op.id}"):
            (content,) = (await client.read_resource(uri)).contents
            assert isinstance(content, TextResourceContents)
            assert cost(json.loads(content.text)) <= ANSWER_MOST
            if uri.endswith("log"):
                assert json.loads(content.text)["lines"][-1].endswith(f"299 {'x' * 500}")


async def test_a_long_history_is_read_page_by_page_and_every_event_comes_once(folder: Path) -> None:
    shop = Shop(folder / "shop")
    for number in range(130):
        shop.world.history.append(
            Event(at=shop.clock.now(), ring="prod", event="promote", outcome="blocked", operation=f"op-{number:06}",
                  actor=str(ANN), reason="because of é " * 70, detail="x" * 500)
        )  # fmt: skip
    for detail in ("concise", "detailed"):
        seen: list[int] = []
        more: dict[str, Any] = {}
        while True:
            answer = await call(shop, "ring_history", limit=100, response_format=detail, **more)
            seen += [event["seq"] for event in answer["events"]]
            assert all(event["reason"].endswith("é ") for event in answer["events"])
            assert ("shortened" in answer) == (len(answer["events"]) < 100 and "next_cursor" in answer)
            if "next_cursor" not in answer:
                break
            more = {"cursor": answer["next_cursor"]}
        assert seen == list(range(130, 0, -1))
    assert len((await shop.manager.history(limit=100)).events) == 100


async def test_an_error_with_much_to_say_fits_and_still_names_the_next_step() -> None:
    rings = FakeRings()
    rings.trouble = EngineFailure("it " + "broke " * 900, "Start it.", log_tail=["é" * 500] * 50, operation_id="op-1")
    async with Client(build_server(rings)) as client:
        (block,) = (await client.call_tool("ring_status", {})).content
    assert block.type == "text"
    assert cost(block.text) < MOST
    first, facts = block.text.split("\n")
    assert first.endswith(" Next: Start it.")
    assert json.loads(facts)["operation_id"] == "op-1"


# -- the order of it


def test_tails_of_logs_go_before_texts_and_texts_before_the_ends_of_lists() -> None:
    gate = {"log_tail": ["t" * 100] * 20, "message": "m" * 1400, "items": ["i"] * 60}
    assert shortened(gate, 10_000) == gate
    tail = shortened(gate, 2600)
    assert (len(tail["log_tail"]), len(tail["message"]), len(tail["items"])) == (5, 1400, 60)
    text = shortened(gate, 1400)
    assert (text["log_tail"], text["message"][-1], len(text["items"])) == ([], "…", 60)
    ends = shortened(gate, 450)
    assert (ends["log_tail"], len(ends["items"])) == ([], 20)
    assert shortened(gate, 450) == ends


def test_what_is_to_be_repeated_or_passed_on_stays_as_it_is() -> None:
    action = {"tool": "ring_promote", "arguments": {"reason": "r" * 900, "plan_id": "plan-1"}, "why": "w" * 200}
    approval = {"words": "p" * 2000, "ways": ["a way " * 30] * 4}
    less = shortened({"next_actions": [action], "approval": approval, "reason": "x" * 50_000}, 6000)
    assert (less["next_actions"], less["approval"]) == ([action], approval)
    assert less["reason"].endswith("…")


def test_one_item_fits_in_any_case_and_no_more_than_there_are() -> None:
    assert fitting(["x" * 100], 10) == 1
    assert fitting(["x" * 8] * 5, 22) == FEW
    assert fitting(["x"], 1000) == 1
    assert fitting([], 1000) == 0
