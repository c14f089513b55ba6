"""The server as the Inspector's command line sees it: a client that finds fault with schemas, too."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors.rest_site import served
from doors.shop_server import told
from fakes.memory import quick_folder
from fakes.shop import ANN, Shop
from public_clients import Clients, installed
from test_public_clients import STEPS, TOOLS

from aither_rings_mcp.domain.access import Role

REPO = Path(__file__).parents[2]
FAKE = (sys.executable, str(REPO / "tests" / "doors" / "mcp_fake_server.py"))
LIMIT_S = 60
#: Exit code of the Inspector for a result with isError.
TOOL_ERROR = 5

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def clients() -> Clients:
    return installed()


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


async def inspect(clients: Clients, home: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        clients.node, clients.inspector, "--cli", *arguments,
        env={**os.environ, "HOME": str(home), "NO_COLOR": "1"}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == code, (out + errors).decode()
    return json.loads(out)


def over_stdio(*server: str, **environment: str) -> list[str]:
    given = {"PYTHONPATH": str(REPO), **environment}
    return [*(word for name, value in given.items() for word in ("-e", f"{name}={value}")), *server]


def call(tool: str, *arguments: str) -> list[str]:
    return ["--method", "tools/call", "--tool-name", tool, "--tool-arg", *arguments]


async def test_the_inspector_lists_the_tools_and_finds_their_schemas_portable(clients: Clients, folder: Path) -> None:
    listed = await inspect(clients, folder, *over_stdio(*FAKE), "--method", "tools/list", "--strict")
    assert [tool["name"] for tool in listed["tools"]] == TOOLS


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome"),
    [
        ("ring_health", ["ring=prod"], None),
        ("ring_promote", ["source=dev", "target=staging"], "candidate_tagged"),
        ("ring_promote", ["source=staging", "target=prod"], "promoted"),
        ("ring_history", ["ring=prod", "limit=5"], None),
        ("ring_rollback", ["ring=prod"], "rolled_back"),
    ],
)
async def test_the_inspector_makes_the_articles_calls(
    clients: Clients, folder: Path, tool: str, arguments: list[str], outcome: str | None
) -> None:
    result = await inspect(clients, folder, *over_stdio(*FAKE), *call(tool, *arguments))
    assert not result.get("isError")
    assert result["structuredContent"]["ok"] is True
    assert result["structuredContent"].get("outcome") == outcome


async def test_the_inspector_shows_a_blocked_gate_as_a_result(clients: Clients, folder: Path) -> None:
    server = over_stdio(*FAKE, FAKE_RINGS="blocked")
    content = (await inspect(clients, folder, *server, *call("ring_promote", "source=dev", "target=staging")))[
        "structuredContent"
    ]
    assert (content["ok"], content["outcome"]) == (False, "blocked")
    assert content["gates"][0]["failed_items"][0]["id"] == "tests/test_app.py::test_root"


async def test_the_inspector_shows_a_refusal_that_teaches(clients: Clients, folder: Path) -> None:
    result = await inspect(clients, folder, *over_stdio(*FAKE), *call("ring_health", "ring=qa"), code=TOOL_ERROR)
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith("ERROR unknown_ring: ")


async def test_the_inspector_does_the_same_over_http_with_a_token(clients: Clients, folder: Path) -> None:
    shop = Shop(folder / "shop")
    await told(shop, STEPS)
    token = (await shop.manager.create_token("inspector", Role.OPERATOR, ANN)).token
    async with served(shop, local=Role.VIEWER) as site:
        server = [f"{site.url}/mcp", "--transport", "http", "--header", f"Authorization: Bearer {token}"]
        listed = await inspect(clients, folder, *server, "--method", "tools/list", "--strict")
        assert [tool["name"] for tool in listed["tools"]] == TOOLS
        for source, target, outcome in (
            ("staging", "prod", "blocked"),
            ("dev", "staging", "candidate_tagged"),
            ("staging", "prod", "promoted"),
        ):
            asked = call("ring_promote", f"source={source}", f"target={target}")
            content = (await inspect(clients, folder, *server, *asked))["structuredContent"]
            assert (content["outcome"], content["ok"]) == (outcome, outcome != "blocked")
        result = await inspect(clients, folder, *server, *call("ring_rollback", "rign=prod"), code=TOOL_ERROR)
        assert "did you mean 'ring'?" in result["content"][0]["text"]
    (event, *_) = (await shop.manager.history("prod", event="promote")).events
    assert event.actor == "inspector (agent via mcp)"


async def test_the_inspector_reaches_the_projects_own_server(clients: Clients, folder: Path) -> None:
    own = (sys.executable, "-m", "aither_rings_mcp")
    server = over_stdio(*own, RINGS_CONFIG=f"{REPO}/rings.yaml", RINGS_STATE_DIR=str(folder))
    result = await inspect(clients, folder, *server, *call("ring_history", "ring=prod", "limit=5"))
    assert result["structuredContent"]["events"] == []
