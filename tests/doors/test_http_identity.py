"""MCP over HTTP behind the guard: each call acts as its own token, in both eras."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from http_site import Site, served
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_fake_rings import FakeRings
from mcp_types import CallToolResult, Implementation

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.entrypoints.mcp_server import build_server

WAY = {"source": "dev", "target": "staging"}


@pytest.fixture
async def site(tmp_path: Path, rings: FakeRings) -> AsyncGenerator[Site]:
    async with served(tmp_path, app=build_server(rings, role="operator").streamable_http_app()) as made:
        yield made


@asynccontextmanager
async def client(site: Site, era: str, token: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as http:
        transport = streamable_http_client(f"{site.url}/mcp", http_client=http)
        named = Implementation(name="claude-code", version="2.1")
        async with Client(transport, mode=era, client_info=named) as connected:
            yield connected


async def call(connected: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await connected.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


async def test_a_call_acts_under_the_tokens_name_and_keeps_what_the_client_told(
    site: Site, rings: FakeRings, era: str
) -> None:
    async with client(site, era, site.token(Role.OPERATOR, name="demiurge")) as connected:
        assert not (await call(connected, "ring_promote", **WAY)).is_error
    (actor,) = rings.actors
    assert str(actor) == "demiurge (agent via mcp)"
    assert actor.via == "claude-code/2.1"
    assert actor.call


@pytest.mark.promise(17)
async def test_a_viewers_token_looks_and_changes_nothing(site: Site, rings: FakeRings, era: str) -> None:
    async with client(site, era, site.token(Role.VIEWER, name="atlas")) as connected:
        assert not (await call(connected, "ring_status")).is_error
        for tool, arguments in (("ring_promote", WAY), ("ring_rollback", {"ring": "prod"})):
            refused = await call(connected, tool, **arguments)
            assert refused.is_error
            facts = json.loads(refused.content[0].text.split("\n")[1])  # type: ignore[union-attr]
            assert (facts["code"], facts["role"], facts["needed"]) == ("forbidden", "viewer", "operator")
            assert "atlas" in facts["message"]
    assert rings.changes == []


async def test_clients_side_by_side_are_told_apart_call_by_call(site: Site, rings: FakeRings, era: str) -> None:
    one, other = site.token(Role.OPERATOR, name="one"), site.token(Role.VIEWER, name="other")
    async with client(site, era, one) as first, client(site, era, other) as second:
        for _ in range(3):
            assert not (await call(first, "ring_rollback", ring="prod")).is_error
            assert (await call(second, "ring_rollback", ring="prod")).is_error
    assert [actor.name for actor in rings.actors] == ["one"] * 3


async def test_a_revoked_token_ends_with_its_next_call(site: Site, rings: FakeRings) -> None:
    token = site.token(Role.OPERATOR)
    async with client(site, "legacy", token) as connected:
        assert not (await call(connected, "ring_status")).is_error
        site.tokens.revoke(token.split("_")[1], site.clock.now())
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            said = await http.post(f"{site.url}/mcp", headers={"Authorization": f"Bearer {token}"}, json={})
        assert said.status_code == 401


async def test_a_session_is_of_no_use_to_another_token(site: Site, rings: FakeRings) -> None:
    one, other = site.token(Role.OPERATOR, name="one"), site.token(Role.APPROVER, name="other")
    begin = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
    }  # fmt: skip
    accept = {"Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(trust_env=False, timeout=30, headers=accept) as http:
        mine = {"Authorization": f"Bearer {one}"}
        opened = await http.post(f"{site.url}/mcp", headers=mine, json=begin)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert (await http.post(f"{site.url}/mcp", headers={**mine, **session}, json=ping)).status_code == 200
        stolen = {"Authorization": f"Bearer {other}", **session}
        assert (await http.post(f"{site.url}/mcp", headers=stolen, json=ping)).status_code == 404
