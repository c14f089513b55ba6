"""Asking the person behind a client that started the server: a process of its own, files on disk, both eras."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.memory import quick_folder
from fakes.shop import Shop
from fakes.stories import with_approval
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import ElicitRequestFormParams, ElicitResult, Implementation

pytestmark = pytest.mark.promise(13)
REPO = Path(__file__).parents[2]
LIMIT_S = 60


@pytest.fixture(params=["auto", "legacy"])
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


async def promoted(folder: Path, era: str, answer: ElicitResult) -> tuple[dict[str, Any], list[str], Shop]:
    """What the promotion of v2 to prod came to, what the person was asked, and what the server left on disk."""
    asked: list[str] = []

    async def person(_ctx: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        asked.append(params.message)
        return answer

    server = StdioServerParameters(
        command=sys.executable,
        args=[str(REPO / "tests/doors/shop_server.py"), "--approval", str(folder), "deploy:v2", "stage"],
        env={"PYTHONPATH": os.pathsep.join((str(REPO), str(REPO / "tests")))},
    )
    who = Implementation(name="claude-code", version="2.1")
    async with (
        asyncio.timeout(LIMIT_S),
        Client(server, mode=era, client_info=who, elicitation_callback=person) as client,
    ):
        result = await client.call_tool("ring_promote", {"source": "staging", "target": "prod"})
    assert result.structured_content is not None, result.content
    (own,) = folder.iterdir()
    return result.structured_content, asked, Shop(own, config=with_approval())


def answers(shop: Shop) -> list[tuple[str, str]]:
    events, _ = shop.world.history.read(10, None, lambda event: event.event == "approval")
    return [(event.outcome, event.actor) for event in events]


async def test_who_declines_at_a_client_over_stdio_was_asked_once_and_changes_nothing(folder: Path, era: str) -> None:
    content, asked, shop = await promoted(folder, era, ElicitResult(action="decline"))
    assert (content["ok"], content["outcome"]) == (False, "declined_or_unavailable")
    (question,) = asked
    plan = content["approval"]
    assert plan["plan_id"] in question
    assert plan["plan_hash"] in question
    assert shop.record().release is None
    assert answers(shop) == []


async def test_who_accepts_at_a_client_over_stdio_is_not_the_agent_that_asked(folder: Path, era: str) -> None:
    yes = ElicitResult(action="accept", content={"decision": "approve"})
    content, asked, shop = await promoted(folder, era, yes)
    assert (content["ok"], content["outcome"]) == (True, "promoted")
    assert len(asked) == 1
    assert shop.record().release == content["release"]
    assert answers(shop) == [("approved", f"{getpass.getuser()} at claude-code (person via mcp)")]
    (event, *_) = (await shop.manager.history("prod", event="promote")).events
    assert event.actor == "claude-code (agent via mcp)"
