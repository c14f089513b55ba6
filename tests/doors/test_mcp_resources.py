"""What a client can read without calling a tool, and that it hears when that changed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_asked import Asked
from mcp_fake_rings import SETTINGS, FakeRings
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, ResourceUpdatedNotification, TextResourceContents

from aither_rings_mcp.domain.errors import OperationNotFound, StateUnreadable
from aither_rings_mcp.domain.settings import Alerts, GateSpec, Hook, Hooks, Path
from aither_rings_mcp.domain.shown_settings import shown_settings
from aither_rings_mcp.domain.standing import Standing
from aither_rings_mcp.entrypoints.mcp_resources import LOG_LINES
from aither_rings_mcp.entrypoints.mcp_server import build_server
from aither_rings_mcp.entrypoints.mcp_updates import changed

LIMIT_S = 10
pytestmark = pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")
LISTED = (
    "ring://status", "ring://dev/state", "ring://staging/state", "ring://prod/state", "ring://plans", "ring://config",
)  # fmt: skip


@pytest.fixture
def client(rings: FakeRings, era: str) -> Asked:
    return Asked(build_server(rings), era)


async def read(client: Asked, uri: str) -> Any:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (str(content.uri), content.mime_type) == (uri, "application/json")
    return json.loads(content.text)


async def test_every_ring_of_the_config_is_listed_with_a_title_and_what_it_tells(client: Asked) -> None:
    listed = (await client.list_resources()).resources
    assert tuple(str(resource.uri) for resource in listed) == LISTED
    for resource in listed:
        assert resource.title
        assert resource.description
        assert resource.mime_type == "application/json"


async def test_the_templates_name_operations_their_logs_and_rings(client: Asked) -> None:
    templates = (await client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == [
        "ring://{ring}/state",
        "ring://plans/{id}",
        "ring://operations/{id}",
        "ring://operations/{id}/log",
    ]
    assert "untrusted" in (templates[-1].title or "")


async def test_all_that_is_listed_can_be_read(client: Asked) -> None:
    for resource in (await client.list_resources()).resources:
        await read(client, str(resource.uri))


async def test_a_resource_is_the_object_that_the_tool_gives(client: Asked) -> None:
    assert await read(client, "ring://status") == (await client.call_tool("ring_status", {})).structured_content
    (prod,) = (await read(client, "ring://prod/state"))["rings"]
    assert prod["name"] == "prod"
    operation = await client.call_tool("ring_operation", {"operation_id": "op-1"})
    assert await read(client, "ring://operations/op-1") == operation.structured_content


async def test_a_log_is_bounded_and_labelled_as_untrusted_data(client: Asked, rings: FakeRings) -> None:
    rings.log_lines = tuple(f"line {number}" for number in range(LOG_LINES * 3))
    (content,) = (await client.read_resource("ring://operations/op-1/log")).contents
    assert (content.meta or {})["untrusted"] is True
    log = json.loads(content.text)  # type: ignore[union-attr]
    assert log["untrusted"] is True
    assert log["lines"] == list(rings.log_lines[-LOG_LINES:])


@pytest.mark.parametrize(
    ("uri", "teaches"),
    [
        ("ring://prodd/state", "The rings are dev, staging, prod"),
        ("ring://operations/op-9", "ring_status shows"),
        ("ring://operations/op-9/log", "ring_status shows"),
        ("ring://operations/..%2f..%2fetc/log", "ring_status shows"),
        ("ring://plans/plan-9", "ring://plans lists them"),
        ("ring://plans/state", "The rings are dev, staging, prod"),
        ("ring://secrets", "read one of ring://status"),
        ("ring://prod/state/more", "read one of ring://status"),
        ("file:///etc/passwd", "read one of ring://status"),
    ],
)
async def test_what_is_not_there_is_a_protocol_error_that_teaches(client: Asked, uri: str, teaches: str) -> None:
    with pytest.raises(MCPError) as refused:
        await client.read_resource(uri)
    assert refused.value.code == INVALID_PARAMS
    assert teaches in str(refused.value)
    assert refused.value.error.data["uri"] == uri


async def test_a_state_that_cannot_be_read_is_told_as_such(client: Asked, rings: FakeRings) -> None:
    rings.trouble = StateUnreadable("rings-state.json is not JSON", "Put rings-state.json.bak in its place.")
    with pytest.raises(MCPError) as refused:
        await client.read_resource("ring://status")
    assert refused.value.code == INTERNAL_ERROR
    assert refused.value.error.data["code"] == "state_unreadable"


@pytest.mark.promise(16)
@pytest.mark.parametrize("kind", [StateUnreadable, OperationNotFound])
async def test_an_error_of_a_resource_keeps_secrets_in(
    client: Asked, rings: FakeRings, kind: type[StateUnreadable | OperationNotFound]
) -> None:
    secret = "password=hunter2hunter2"
    rings.trouble = kind(f"no: {secret}", f"Not {secret}.", log_tail=[secret], seen={"env": secret})
    with pytest.raises(MCPError) as refused:
        await client.read_resource("ring://operations/op-1")
    assert refused.value.error.data["seen"] == {"env": "password=[redacted]"}
    assert "hunter2" not in refused.value.error.model_dump_json()


async def test_a_crash_inside_tells_the_client_nothing_of_itself(client: Asked, rings: FakeRings) -> None:
    rings.trouble = RuntimeError("password=hunter2")
    with pytest.raises(MCPError) as refused:
        await client.read_resource("ring://status")
    assert "hunter2" not in str(refused.value.error)


def test_the_config_is_shown_without_environment_values_and_secrets() -> None:
    hook = Hook(argv=("notify", "--token", "hunter2", "https://bot:pa55w0rd@chat.example"), env={"CHANNEL": "quiet"})
    prod = SETTINGS.rings["prod"].model_copy(update={"hooks": Hooks(post_promote=hook)})
    gate = GateSpec(gate="command", env={"PLAIN": "also quiet"}, **{"with": {"argv": ["x"], "api_key": "hunter2"}})
    settings = SETTINGS.model_copy(
        update={
            "rings": {**SETTINGS.rings, "prod": prod},
            "paths": (Path(source="dev", target="staging", gates=(gate,)),),
            "alerts": Alerts(command=("call", "--password=hunter2")),
        }
    )
    text = json.dumps(shown_settings(settings))
    for secret in ("hunter2", "pa55w0rd", "quiet"):
        assert secret not in text
    for name in ("CHANNEL", "PLAIN", "notify", "chat.example", "genesis", "secrets"):
        assert name in text


def test_only_what_differs_is_told_of() -> None:
    before = Standing(rings={"dev": "1", "prod": "1"}, operations={"op-1": "gating"}, logs={"op-1": 10})
    assert changed(before, before) == ()
    assert changed(before, before.model_copy(update={"logs": {"op-1": 20}})) == ("ring://operations/op-1/log",)
    now = Standing(rings={"dev": "1", "prod": "2"}, operations={"op-1": "done"}, logs={})
    assert changed(before, now) == (
        "ring://status",
        "ring://prod/state",
        "ring://operations/op-1",
        "ring://operations/op-1/log",
    )


async def test_nothing_promises_to_tell_of_lists_that_never_change(rings: FakeRings, era: str) -> None:
    async with Client(build_server(rings), mode=era) as client:
        capabilities = client.server_capabilities
    assert capabilities.resources is not None
    assert capabilities.resources.subscribe is True
    for part in (capabilities.resources, capabilities.tools, capabilities.prompts):
        assert part is not None
        assert not part.list_changed


async def test_only_the_handshake_era_has_a_level_of_logging_and_any_will_do(rings: FakeRings, era: str) -> None:
    async with Client(build_server(rings), mode=era) as client:
        assert (client.server_capabilities.logging is not None) == (era == "legacy")
        if era == "legacy":
            await client.set_logging_level("debug")


def change(rings: FakeRings) -> None:
    rings.stands = rings.stands.model_copy(update={"rings": {**rings.stands.rings, "prod": "1"}})


async def looked(rings: FakeRings, more: int) -> None:
    count = rings.looks + more
    async with asyncio.timeout(LIMIT_S):
        while rings.looks < count:
            await asyncio.sleep(0.01)


async def test_a_stream_of_a_later_client_hears_of_its_ring_and_of_no_other(rings: FakeRings) -> None:
    async with Client(build_server(rings, look_s=0.02)) as client:
        assert rings.looks == 0, "nobody is subscribed"
        async with (
            asyncio.timeout(LIMIT_S),
            client.listen(resource_subscriptions=["ring://dev/state", "ring://prod/state"]) as heard,
        ):
            change(rings)
            assert (await anext(heard)).uri == "ring://prod/state"  # type: ignore[union-attr]
            await looked(rings, 3)


async def test_nobody_looks_once_the_last_subscriber_has_gone(rings: FakeRings) -> None:
    async with Client(build_server(rings, look_s=0.02), mode="legacy") as client:
        await client.subscribe_resource("ring://prod/state")
        await client.subscribe_resource("ring://prod/state")
        await looked(rings, 2)
        await client.unsubscribe_resource("ring://prod/state")
        looks = rings.looks
        await asyncio.sleep(0.1)
        assert rings.looks == looks


async def test_a_client_of_the_handshake_era_hears_of_what_it_subscribed_to(rings: FakeRings) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.put_nowait(str(message.params.uri))

    server = build_server(rings, look_s=0.02)
    async with Client(server, mode="legacy", message_handler=on_message) as client, asyncio.timeout(LIMIT_S):
        await client.subscribe_resource("ring://prod/state")
        change(rings)
        assert await heard.get() == "ring://prod/state"
        with pytest.raises(MCPError) as refused:
            await client.subscribe_resource("ring://prodd/state")
    assert refused.value.code == INVALID_PARAMS
    assert heard.empty()
    looks = rings.looks
    await asyncio.sleep(0.1)
    assert rings.looks == looks, "a closed connection is still subscribed"
