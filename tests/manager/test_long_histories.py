"""A long history is searched beside everything else that a server answers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fakes.shop import ANN, EVE, Shop

LIMIT_S = 10


@pytest.fixture
async def searched(busy_shop: Shop) -> Shop:
    """A search of its history comes to an end once somebody else was answered."""
    loop, read = asyncio.get_running_loop(), busy_shop.world.history.read

    def slowly(*asked: Any) -> Any:
        answered = threading.Event()
        loop.call_soon_threadsafe(answered.set)
        assert answered.wait(LIMIT_S), "nobody is answered meanwhile"
        return read(*asked)

    busy_shop.world.history.read = slowly  # type: ignore[method-assign]
    return busy_shop


async def test_others_are_answered_while_somebody_searches_the_history(searched: Shop) -> None:
    assert (await searched.manager.history(event="deploy", limit=1)).events


async def test_others_are_answered_while_the_replies_to_a_plan_are_looked_for(searched: Shop) -> None:
    plan = await searched.manager.plan("staging", "prod", ANN)
    await searched.manager.answer_plan(plan.plan_id, True, EVE, "go")
    (reply,) = (await searched.manager.asked_plan(plan.plan_id)).replies
    assert (reply.outcome, reply.reason) == ("approved", "go")
