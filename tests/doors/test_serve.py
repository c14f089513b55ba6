"""`ring-ctl serve`: every door over HTTP in one process, also by way of the edge."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from fakes.shop import ANN, BOT, Shop
from fakes.stories import candidate
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from rest_site import Site, served

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.errors import ConfigInvalid, Forbidden, RingBusy
from aither_rings_mcp.entrypoints.listening import at_the_edge, bound

RINGS = """\
app: shop
services: {web: {critical: true}}
rings: {prod: {kind: runtime, project: shop-prod, compose: [c.yml]}}
"""


@pytest.fixture
async def shop(folder: Path) -> Shop:
    shop = Shop(folder / "shop")
    await candidate()(shop)
    return shop


@pytest.fixture
async def site(shop: Shop, folder: Path) -> AsyncGenerator[Site]:
    async with served(shop, controller=folder / "run/controller.sock") as site:
        yield site


async def token(shop: Shop, role: Role = Role.OPERATOR, name: str = "demiurge") -> str:
    return (await shop.manager.create_token(name, role, ANN)).token


@pytest.mark.parametrize("way", ["auto", "legacy", "sse"])
async def test_the_same_tools_answer_over_http_and_sse(site: Site, way: str) -> None:
    async with AsyncExitStack() as stack:
        if way == "sse":
            transport: Any = sse_client(f"{site.url}/sse")
        else:
            http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=30))
            transport = streamable_http_client(f"{site.url}/mcp", http_client=http)
        client = await stack.enter_async_context(Client(transport, mode="auto" if way == "auto" else "legacy"))
        assert "ring_promote" in {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("ring_rollback", {"ring": "prod"})
        assert result.structured_content["outcome"] == "rolled_back"  # type: ignore[union-attr]


async def test_only_an_approver_s_client_is_offered_to_answer_plans(site: Site) -> None:
    for role in Role:
        headers = {"Authorization": f"Bearer {await token(site.shop, role, role.value)}"}
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30, headers=headers) as http,
            Client(streamable_http_client(f"{site.url}/mcp", http_client=http), mode="auto") as client,
        ):
            offered = {tool.name for tool in (await client.list_tools()).tools}
        assert ("ring_approve" in offered) == (role is Role.APPROVER)


@pytest.mark.promise(3)
async def test_by_way_of_the_edge_the_article_s_curl_works_with_a_token_alone(site: Site, folder: Path) -> None:
    by_edge = httpx.AsyncHTTPTransport(uds=str(folder / "run/controller.sock"))
    async with httpx.AsyncClient(transport=by_edge, base_url="http://localhost:9001", timeout=20) as http:
        refused = await http.post("/rings/prod/rollback")
        assert refused.status_code == 401
        assert "ring-ctl token create" in refused.json()["next"]
        mine = {"Authorization": f"Bearer {await token(site.shop)}"}
        assert (await http.post("/rings/prod/rollback", headers=mine)).json()["outcome"] == "rolled_back"
        elsewhere = await http.get("/rings", headers={**mine, "Host": "rings.example.org"})
        assert elsewhere.status_code == 421


async def test_one_server_takes_the_edge_s_socket_over_only_from_one_that_is_gone(folder: Path) -> None:
    path = folder / "run/controller.sock"
    with at_the_edge(path):
        with pytest.raises(RingBusy, match="another server listens"), at_the_edge(path):
            pass
        assert path.exists(), "the other one's way in stays"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with at_the_edge(path) as taken:
        assert taken.fileno() > 0
    assert not path.exists()


async def test_a_port_that_is_taken_is_said_so() -> None:
    with bound("127.0.0.1", 0) as first, pytest.raises(ConfigInvalid, match="cannot listen on"):
        bound("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_it_listens_to_the_world_only_with_tokens(shop: Shop, host: str) -> None:
    with pytest.raises(Forbidden, match="no token exists") as refused:
        async with served(shop, host=host):
            pass
    assert "ring-ctl token create" in refused.value.next_step


@pytest.mark.promise(17)
async def test_bound_to_the_world_it_asks_for_host_origin_token_and_role(shop: Shop) -> None:
    looks = {"Authorization": f"Bearer {await token(shop, Role.VIEWER, 'atlas')}"}
    before = shop.record(), len(shop.operations())
    async with served(shop, host="0.0.0.0", hosts=("rings.example.org",)) as site:
        at = site.url.replace("0.0.0.0", "127.0.0.1")
        async with httpx.AsyncClient(base_url=at, timeout=20) as http:
            for path in ("/rings", "/mcp", "/sse", "/", "/healthz", "/metrics", "/openapi.json"):
                foreign = await http.get(path, headers={**looks, "Host": "evil.example.org"})
                assert (foreign.status_code, foreign.json()["status"]) == (421, 421)
                page = await http.get(path, headers={**looks, "Origin": "https://evil.example.org"})
                assert page.status_code == 403
            for path in ("/rings", "/mcp", "/sse", "/metrics", "/openapi.json"):
                none = await http.get(path)
                assert none.status_code == 401
                assert none.headers["www-authenticate"].startswith("Bearer ")
            assert (await http.get("/rings", headers={**looks, "Host": "rings.example.org"})).status_code == 200
            changes = await http.post("/rings/prod/rollback", headers=looks)
            assert (changes.status_code, changes.json()["needed"]) == (403, "operator")
    assert before == (shop.record(), len(shop.operations()))


async def test_without_a_token_this_machine_may_look_unless_more_was_said(shop: Shop) -> None:
    async with served(shop, local=Role.VIEWER) as site:
        assert (await site.get("/rings")).status_code == 200
        assert (await site.post("/rings/prod/rollback")).status_code == 403


@pytest.mark.promise(13)
async def test_who_shows_no_token_answers_no_plan_under_another_name(shop: Shop) -> None:
    plan = await shop.manager.plan("staging", "prod", BOT)
    answer = {"plan_id": plan.plan_id, "plan_hash": plan.plan_hash, "decision": "approved", "note": "looks fine"}
    async with served(shop, role=Role.APPROVER, local=Role.APPROVER) as site:
        assert any("who shows no token is an operator here at most" in line for line in site.said)
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30) as http,
            Client(
                streamable_http_client(f"{site.url}/mcp", http_client=http), mode="legacy",
                client_info=Implementation(name="somebody-else", version="1"),
            ) as client,
        ):  # fmt: skip
            assert "ring_approve" not in {tool.name for tool in (await client.list_tools()).tools}
            refused = await client.call_tool("ring_approve", answer)
            assert refused.is_error
            assert "ERROR forbidden" in refused.content[0].text  # type: ignore[union-attr]
        way, yes = f"/plans/{plan.plan_id}/approve", {"plan_hash": plan.plan_hash, "decision": "approved"}
        rest = await site.post(way, yes)
        assert (rest.status_code, rest.json()["needed"]) == (403, "approver")
        mine = {"Authorization": f"Bearer {await token(shop, Role.APPROVER, 'ann')}"}
        said = await site.http.post(way, json=yes, headers=mine)
        assert said.status_code == 200, said.text


@contextmanager
def process(folder: Path, *options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A real `ring-ctl serve`, and where it answers."""
    (folder / "rings.yaml").write_text(RINGS)
    (folder / "c.yml").write_text("services: {web: {image: none}}\n")
    argv = [sys.executable, "-m", "aither_rings_mcp.entrypoints.cli", "serve", "--port", "0", "--no-monitor", *options]
    started = subprocess.Popen(argv, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ})
    try:
        assert started.stderr
        line = started.stderr.readline()
        found = re.search(r"serving at (http://\S+)", line)
        assert found, line + started.stderr.read()
        yield started, found[1]
    finally:
        started.kill()
        started.wait(10)


def test_asked_to_stop_it_leaves_although_a_client_listens(folder: Path) -> None:
    with process(folder) as (server, url), httpx.stream("GET", f"{url}/sse", timeout=20) as listening:
        assert listening.status_code == 200
        assert httpx.get(f"{url}/healthz").json()["ok"]
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")


@pytest.mark.promise(16)
def test_no_token_reaches_the_servers_log_where_a_client_sends_it_astray(folder: Path) -> None:
    secret = "rings_0123456789ab_" + "s3cr3tS3cr3t" * 3
    with process(folder) as (server, url):
        sent = httpx.post(f"{url}/messages/?session_id={secret}", json={})
        assert sent.status_code == 400
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
    assert "Received invalid session ID: [redacted]" in log
    assert "s3cr3t" not in log.lower()
