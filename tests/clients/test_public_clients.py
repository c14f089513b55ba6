"""The server as public SDKs see it, over stdio and HTTP: they list, promote, go back, and throw at nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doors.rest_site import served
from doors.shop_server import told
from fakes.memory import quick_folder
from fakes.shop import ANN, Shop
from public_clients import installed, python_v1

from aither_rings_mcp.domain.access import Role

HERE = Path(__file__).parent
REPO = HERE.parents[1]
#: A refused release waits in staging, a good one in dev.
STEPS = ["ship:v1", "ship:v2", "deploy:v3:refused", "stage", "deploy:v4"]
CALLS: list[tuple[str, dict[str, Any], str | None]] = [
    ("ring_status", {}, None),
    ("ring_health", {"ring": "prod"}, None),
    ("ring_promote", {"source": "staging", "target": "prod"}, "blocked"),
    ("ring_promote", {"source": "dev", "target": "staging"}, "candidate_tagged"),
    ("ring_plan", {"source": "staging", "target": "prod"}, None),
    ("ring_promote", {"source": "staging", "target": "prod"}, "promoted"),
    ("ring_history", {"ring": "prod", "limit": 5}, None),
    ("ring_rollback", {"ring": "prod"}, "rolled_back"),
]
MISSPELT = ("ring_promote", {"source": "dev", "target": "staging", "dryrun": True})
TOOLS = [
    "ring_status", "ring_health", "ring_plan", "ring_promote", "ring_rollback", "ring_history", "ring_operation",
    "ring_cancel", "ring_evidence",
]  # fmt: skip
#: Which protocol the SDK that can choose ends up with.
SPOKEN = {"auto": "2026-07-28", "legacy": "2025-11-25"}
#: The first time, the clients are installed.
pytestmark = pytest.mark.timeout(900)
LIMIT_S = 120


def typescript(program: str) -> list[str]:
    clients = installed()
    return [clients.node, shutil.copy(HERE / program, clients.folder)]  # imports resolve from where it lies


CLIENTS: dict[str, Callable[[], list[str]]] = {
    "typescript-v1": lambda: typescript("typescript_v1.mjs"),
    "typescript-v2": lambda: typescript("typescript_v2.mjs"),
    "python-v1": lambda: [python_v1(), str(HERE / "python_v1.py")],
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


async def seen_by(client: str, folder: Path, *where: str, **environment: str) -> dict[str, Any]:
    """What the client's program tells of the calls; it ends well only if nothing was thrown."""
    calls = json.dumps([call[:2] for call in (*CALLS, MISSPELT)])
    process = await asyncio.create_subprocess_exec(
        *CLIENTS[client](), calls, *where, env={**os.environ, "HOME": str(folder), **environment},
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


def check(seen: dict[str, Any]) -> None:
    assert seen["server"]["name"] == "aither-rings"
    assert seen["tools"] == TOOLS
    assert seen["progress"] > 0
    *results, misspelt = seen["results"]
    for (tool, _, outcome), result in zip(CALLS, results, strict=True):
        assert not result.get("isError"), (tool, result["content"])
        content = result["structuredContent"]
        assert (content["ok"], content.get("outcome")) == (outcome != "blocked", outcome), (tool, content["summary"])
    (gate,) = (gate for gate in results[2]["structuredContent"]["gates"] if gate["status"] == "failed")
    assert (gate["name"], gate["reason_code"]) == ("audit", "refused")
    assert misspelt["isError"] is True
    assert "did you mean 'dry_run'?" in misspelt["content"][0]["text"]
    assert "structuredContent" not in misspelt


@pytest.mark.parametrize(
    ("client", "era"),
    [("typescript-v1", ""), ("typescript-v2", "auto"), ("typescript-v2", "legacy"), ("python-v1", "")],
)
async def test_public_sdks_make_the_articles_calls_over_stdio(client: str, era: str, folder: Path) -> None:
    server = [sys.executable, str(REPO / "tests/doors/shop_server.py"), str(folder), *STEPS]
    seen = await seen_by(client, folder, "stdio", *server, ERA=era, PYTHONPATH=f"{REPO}{os.pathsep}{REPO / 'tests'}")
    check(seen)
    assert seen.get("protocol") == SPOKEN.get(era)


@pytest.mark.parametrize(
    ("client", "era", "door"),
    [
        ("typescript-v1", "", "http"),
        ("typescript-v1", "", "sse"),
        ("typescript-v2", "auto", "http"),
        ("typescript-v2", "legacy", "http"),
        ("python-v1", "", "http"),
        ("python-v1", "", "sse"),
    ],
)
async def test_public_sdks_make_the_articles_calls_over_http_with_a_token(
    client: str, era: str, door: str, folder: Path
) -> None:
    shop = Shop(folder / "shop")
    await told(shop, STEPS)
    token = (await shop.manager.create_token("article", Role.OPERATOR, ANN)).token
    async with served(shop, local=Role.VIEWER) as site:
        path = {"http": "/mcp", "sse": "/sse"}[door]
        seen = await seen_by(client, folder, door, site.url + path, ERA=era, RINGS_TOKEN=token)
    check(seen)
    assert seen.get("protocol") == SPOKEN.get(era)
    (event, *_) = (await shop.manager.history("prod", event="rollback")).events
    assert event.actor == "article (agent via mcp)"


@pytest.mark.parametrize("lock", ["package-lock.json", "python-v1.lock"])
def test_the_lock_files_name_no_host(lock: str) -> None:
    assert "://" not in (HERE / lock).read_text()
