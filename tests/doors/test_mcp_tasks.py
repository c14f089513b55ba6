"""Promotions and rollbacks as tasks (SEP-2663), for the clients that ask for them and for no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from fakes.shop import Shop
from mcp.client import Client
from mcp.client.extension import advertise
from mcp.shared.exceptions import MCPError
from mcp_fake_rings import FakeRings
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    Request,
    RequestParams,
    Result,
)
from pydantic import ConfigDict
from rest_site import served

from aither_rings_mcp.domain.errors import OperationNotFound, StateUnreadable
from aither_rings_mcp.entrypoints.mcp_server import build_server
from aither_rings_mcp.entrypoints.mcp_tasks import IDENTIFIER
from aither_rings_mcp.manager.ring_manager import RingManager

PROMOTE = {"source": "staging", "target": "prod", "wait_s": 300}


class Anything(Result):
    model_config = ConfigDict(extra="allow")


class TaskParams(RequestParams):
    task_id: str


class TaskRequest(Request[TaskParams, str]):
    method: str
    params: TaskParams


class CallParams(RequestParams):
    name: str
    arguments: dict[str, Any]


class CallRequest(Request[CallParams, Literal["tools/call"]]):
    method: Literal["tools/call"] = "tools/call"
    params: CallParams


def client_of(rings: FakeRings, mode: str = "auto", declares: bool = True, **options: Any) -> Client:
    extensions = [advertise(IDENTIFIER)] if declares else []
    return Client(build_server(rings, **options), mode=mode, extensions=extensions)


async def ask(client: Client, method: str, task_id: str) -> dict[str, Any]:
    request = TaskRequest(method=method, params=TaskParams(task_id=task_id))
    result = await client.session.send_request(request, Anything)
    return result.model_dump(by_alias=True, exclude_none=False)


async def begin(client: Client, tool: str = "ring_promote", **arguments: Any) -> dict[str, Any]:
    request = CallRequest(params=CallParams(name=tool, arguments=arguments))
    return (await client.session.send_request(request, Anything)).model_dump(by_alias=True)


async def test_a_promotion_is_answered_at_once_with_a_task_that_is_the_operation() -> None:
    rings = FakeRings()
    rings.slow = True
    async with client_of(rings) as client:
        task = await begin(client, **PROMOTE)
    assert {name: task[name] for name in ("resultType", "taskId", "status", "ttlMs", "pollIntervalMs")} == {
        "resultType": "task",
        "taskId": "op-1",
        "status": "working",
        "ttlMs": None,
        "pollIntervalMs": 2000,
    }
    assert task["createdAt"].endswith("+00:00")
    assert not {"task", "result", "error", "requestState"} & set(task)
    assert rings.changes == [("staging", "prod")]


async def test_a_task_that_ended_holds_what_the_tool_would_have_answered() -> None:
    rings = FakeRings()
    rings.slow = True
    async with client_of(rings) as client:
        await begin(client, **PROMOTE)
        assert (await ask(client, "tasks/get", "op-1"))["status"] == "working"
        rings.slow = False
        task = await ask(client, "tasks/get", "op-1")
    assert (task["resultType"], task["status"]) == ("complete", "completed")
    assert task["result"]["structuredContent"]["outcome"] == "promoted"
    assert task["result"]["content"][0]["text"] == "It is done."


async def test_another_server_knows_the_task() -> None:
    rings = FakeRings()
    rings.slow = True
    async with client_of(rings) as client:
        await begin(client, **PROMOTE)
    async with client_of(rings) as client:
        assert (await ask(client, "tasks/get", "op-1"))["status"] == "working"


async def test_a_task_that_is_cancelled_says_so_and_cancelling_again_is_acknowledged() -> None:
    rings = FakeRings()
    rings.slow = True
    async with client_of(rings) as client:
        await begin(client, **PROMOTE)
        for _ in range(2):
            acknowledged = await ask(client, "tasks/cancel", "op-1")
            assert acknowledged["resultType"] == "complete"
            assert not {"taskId", "status", "result", "error"} & set(acknowledged)
        assert (await ask(client, "tasks/get", "op-1"))["status"] == "cancelled"
    assert rings.cancelled[0] == ("op-1", "the client cancelled its task")


async def test_a_task_past_its_safe_point_goes_on_and_the_wish_is_acknowledged() -> None:
    rings = FakeRings()
    rings.slow = rings.past_the_safe_point = True
    async with client_of(rings) as client:
        await begin(client, **PROMOTE)
        assert (await ask(client, "tasks/cancel", "op-1"))["resultType"] == "complete"
        assert (await ask(client, "tasks/get", "op-1"))["status"] == "working"


@pytest.mark.parametrize(("option", "code"), [({"read_only": True}, "read_only"), ({"role": "viewer"}, "forbidden")])
async def test_who_may_not_change_may_not_cancel_but_may_look(option: dict[str, Any], code: str) -> None:
    rings = FakeRings()
    async with client_of(rings, **option) as client:
        assert (await ask(client, "tasks/get", "op-1"))["status"] == "completed"
        with pytest.raises(MCPError) as refused:
            await ask(client, "tasks/cancel", "op-1")
    assert (refused.value.code, refused.value.error.data["code"]) == (INVALID_REQUEST, code)
    assert rings.cancelled == []


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_an_unknown_task_is_an_error_that_teaches(method: str) -> None:
    async with client_of(FakeRings()) as client:
        with pytest.raises(MCPError, match=r"There is no such task: .* Next: ") as refused:
            await ask(client, method, "op-9")
    assert refused.value.code == INVALID_PARAMS


@pytest.mark.promise(16)
@pytest.mark.parametrize("kind", [StateUnreadable, OperationNotFound])
async def test_an_error_about_a_task_keeps_secrets_in(kind: type[StateUnreadable | OperationNotFound]) -> None:
    rings, secret = FakeRings(), "password=hunter2hunter2"
    rings.trouble = kind(f"no: {secret}", f"Not {secret}.", log_tail=[secret], seen={"env": secret})
    async with client_of(rings) as client:
        with pytest.raises(MCPError) as refused:
            await ask(client, "tasks/get", "op-1")
    assert refused.value.error.data["seen"] == {"env": "password=[redacted]"}
    assert "hunter2" not in refused.value.error.model_dump_json()


async def test_what_is_over_at_once_is_no_task() -> None:
    rings = FakeRings()
    async with client_of(rings) as client:
        status = await client.call_tool("ring_status", {})
        dry = await begin(client, source="staging", target="prod", dry_run=True)
        wrong = await begin(client, source="staging", target="prod", wait_s="soon")
        rings.gate_says_no = True
        blocked = await begin(client, source="staging", target="prod")
    assert not status.is_error
    assert (dry["resultType"], dry["structuredContent"]["outcome"]) == ("complete", "dry_run")
    assert (wrong["resultType"], wrong["isError"]) == ("complete", True)
    assert blocked["structuredContent"]["outcome"] == "blocked"


async def test_a_client_that_does_not_declare_tasks_gets_none() -> None:
    rings = FakeRings()
    async with client_of(rings, declares=False) as client:
        assert (await begin(client, source="staging", target="prod"))["resultType"] == "complete"
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            with pytest.raises(MCPError) as refused:
                await ask(client, method, "op-1")
            assert refused.value.code == MISSING_REQUIRED_CLIENT_CAPABILITY
            assert IDENTIFIER in refused.value.error.data["requiredCapabilities"]["extensions"]


async def test_a_client_of_the_handshake_era_never_meets_a_task() -> None:
    rings = FakeRings()
    async with client_of(rings, mode="legacy") as client:
        result = await client.call_tool("ring_promote", {"source": "staging", "target": "prod"})
        assert result.structured_content is not None
        with pytest.raises(MCPError) as refused:
            await ask(client, "tasks/get", "op-1")
    assert refused.value.code == METHOD_NOT_FOUND


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_what_the_extension_took_away_is_not_served(method: str) -> None:
    async with client_of(FakeRings()) as client:
        with pytest.raises(MCPError) as refused:
            await ask(client, method, "op-1")
    assert refused.value.code == METHOD_NOT_FOUND


async def test_the_extension_is_advertised() -> None:
    async with client_of(FakeRings()) as client:
        assert IDENTIFIER in (client.server_capabilities.extensions or {})


class TestOfRealOperations:
    """The same on the project's own manager, whose journals are the tasks."""

    @pytest.fixture
    async def shop(self, tmp_path: Path) -> AsyncIterator[Shop]:
        shop = Shop(tmp_path / "shop")
        await shop.deploy("v1")
        await shop.stage()
        shop.hands.held = True
        yield shop
        shop.close()

    def client(self, shop: Shop) -> Client:
        return Client(build_server(shop.manager), extensions=[advertise(IDENTIFIER)])

    @pytest.mark.promise(4)
    async def test_a_server_that_was_started_anew_still_knows_its_task(self, shop: Shop) -> None:
        async with self.client(shop) as client:
            task_id = (await begin(client, **PROMOTE))["taskId"]
        other = build_server(RingManager(shop.world))
        async with Client(other, extensions=[advertise(IDENTIFIER)]) as client:
            assert (await ask(client, "tasks/get", task_id))["status"] == "working"
            await shop.work()
            task = await ask(client, "tasks/get", task_id)
            directly = await client.call_tool("ring_operation", {"operation_id": task_id})
        assert task["status"] == "completed"
        assert directly.structured_content is not None
        result = task["result"]["structuredContent"]
        assert result["outcome"] == "promoted"
        assert {**result, "as_of": ""} == {**directly.structured_content["result"], "as_of": ""}

    async def test_a_task_is_cancelled_while_nothing_was_touched(self, shop: Shop) -> None:
        async with self.client(shop) as client:
            task_id = (await begin(client, **PROMOTE))["taskId"]
            shop.hands.held = False
            await ask(client, "tasks/cancel", task_id)
            assert (await ask(client, "tasks/get", task_id))["status"] == "cancelled"

    async def test_a_refusal_is_no_task(self, shop: Shop) -> None:
        async with self.client(shop) as client:
            await begin(client, **PROMOTE)
            busy = await begin(client, **PROMOTE)
        assert (busy["resultType"], busy["isError"]) == ("complete", True)
        assert busy["content"][0]["text"].startswith("ERROR ring_busy: ")

    async def test_what_was_started_elsewhere_is_no_task(self, shop: Shop) -> None:
        deployed = shop.manager.recent_operations()[-1]
        async with self.client(shop) as client:
            with pytest.raises(MCPError) as refused:
                await ask(client, "tasks/get", deployed)
        assert refused.value.code == INVALID_PARAMS

    @pytest.mark.parametrize(
        ("named", "code"), [("op-2", HEADER_MISMATCH), ("op-1", INVALID_PARAMS), (None, INVALID_PARAMS)]
    )
    async def test_a_header_that_names_another_task_than_the_body_is_refused(
        self, shop: Shop, named: str | None, code: int
    ) -> None:
        """Proxies go by the header: what they let through has to be what is done. No task of the three exists here."""
        envelope = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {IDENTIFIER: {}}},
        }
        headers = {"MCP-Protocol-Version": "2026-07-28", "Accept": "application/json, text/event-stream"}
        names = {"Mcp-Name": named} if named else {}
        async with served(shop) as site:
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"taskId": "op-1", "_meta": envelope}}
                answer = await site.http.post("/mcp", json=asked, headers={**headers, "Mcp-Method": method, **names})
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
