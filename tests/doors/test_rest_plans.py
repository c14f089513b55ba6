"""REST shows a person what waits for them, so that they can answer exactly that."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.memory import quick_folder
from fakes.shop import ANN, BOT, Shop
from fakes.stories import candidate, with_approval
from rest_site import Site, served

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.settings import AskedOf
from aither_rings_mcp.manager.ring_manager import RingManager

pytestmark = pytest.mark.promise(13)


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
async def site(folder: Path) -> AsyncGenerator[Site]:
    """An agent asks for v1 in prod; whoever looks is an approver."""
    shop = Shop(folder / "shop", config=with_approval())
    await shop.deploy("v1")
    await shop.stage()
    token = (await shop.manager.create_token("desk", Role.APPROVER, ANN, kind="person")).token
    async with served(shop) as site:
        site.http.headers["Authorization"] = f"Bearer {token}"
        yield site


async def asked(site: Site) -> str:
    answer = await site.shop.manager.promote("staging", "prod", BOT)
    assert answer.approval
    assert answer.approval.plan_id
    return answer.approval.plan_id


async def test_what_waits_is_shown_and_can_be_answered_as_it_was_shown(site: Site) -> None:
    assert (await site.get("/plans")).json()["plans"] == []
    planned = await site.shop.manager.plan("staging", "prod", ANN)
    plan_id = await asked(site)
    shown = (await site.get("/plans")).json()
    (plan,) = shown["plans"]
    assert (shown["may_answer"], plan["plan_id"], plan["state"]) == (True, plan_id, "open")
    assert plan["plan_id"] != planned.plan_id, "nobody was asked about that one"
    assert plan["asked_by"] == str(BOT)
    assert plan["blast_radius"]["critical"] == ["api"]
    assert [change["service"] for change in plan["changes"]] == ["api", "web"]
    wrong = await site.post(f"/plans/{plan_id}/approve", {"plan_hash": "0" * 64})
    assert wrong.status_code == 422, wrong.text
    right = await site.post(f"/plans/{plan_id}/approve", {"plan_hash": plan["plan_hash"], "note": "go"})
    assert right.status_code == 200, right.text
    assert (await site.get("/plans")).json()["plans"] == []
    one = (await site.get(f"/plans/{plan_id}")).json()
    assert one["state"] == "approved"
    assert [(reply["outcome"], reply["reason"]) for reply in one["replies"]] == [
        ("approved", "go"),
        ("refused", "other_hash"),
    ]


async def test_asking_twice_waits_once(site: Site) -> None:
    await asked(site)
    second = await asked(site)
    assert [plan["plan_id"] for plan in (await site.get("/plans")).json()["plans"]] == [second]


async def test_what_says_something_else_by_now_waits_no_more(site: Site) -> None:
    plan_id = await asked(site)
    await site.shop.deploy("v2")
    await site.shop.stage()
    assert (await site.get("/plans")).json()["plans"] == []
    stale = await site.get(f"/plans/{plan_id}")
    assert (stale.status_code, stale.json()["code"]) == (409, "plan_stale")


async def asked_to_go_back(site: Site) -> str:
    """v2 comes to dev, where an agent's way back waits for a person, too."""
    shop = site.shop
    await shop.deploy("v2")
    dev = shop.settings.rings["dev"].model_copy(update={"rollback_approval": AskedOf.AGENTS})
    rules = shop.settings.model_copy(update={"rings": {**shop.settings.rings, "dev": dev}})
    answer = await RingManager(replace(shop.world, settings=rules)).rollback("dev", BOT)
    assert answer.approval
    return str(answer.approval.plan_id)


async def candidate_expired(site: Site) -> None:
    site.shop.clock.seconds += site.shop.settings.rings["staging"].candidate_ttl + 1


async def image_gone(site: Site) -> None:
    candidate = site.shop.record("staging").candidate
    assert candidate
    del site.shop.machine.images[candidate.images["web"]]


async def candidate_dropped(site: Site) -> None:
    state = site.shop.world.state.load()
    record = state.ring("staging").model_copy(update={"candidate": None})
    site.shop.world.state.save(state.with_ring("staging", record))


@pytest.mark.parametrize("happens", [candidate_expired, image_gone, candidate_dropped])
async def test_a_plan_that_cannot_be_shown_any_more_hides_no_other(
    site: Site, happens: Callable[[Site], Awaitable[None]]
) -> None:
    plan_id = await asked(site)
    way_back = await asked_to_go_back(site)
    both = (await site.get("/plans")).json()["plans"]
    assert {plan["plan_id"] for plan in both} == {plan_id, way_back}
    await happens(site)
    answer = await site.get("/plans")
    assert answer.status_code == 200, answer.text
    assert [plan["plan_id"] for plan in answer.json()["plans"]] == [way_back]
    assert (await site.get(f"/plans/{plan_id}")).status_code >= 400


async def test_an_engine_that_is_away_does_not_mean_that_nothing_waits(site: Site) -> None:
    await asked(site)
    site.shop.machine.away = True
    assert (await site.get("/plans")).status_code == 503


@pytest.mark.parametrize("plan_id", ["plan-00000000", "..", "no such plan"])
async def test_an_unknown_plan_is_not_found(site: Site, plan_id: str) -> None:
    answer = await site.http.get(f"/plans/{plan_id.replace('.', '%2e')}")
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_viewer_sees_what_waits_and_is_not_offered_to_answer(folder: Path) -> None:
    shop = Shop(folder / "shop", config=with_approval())
    await candidate()(shop)
    async with served(shop, local=Role.VIEWER) as site:
        await asked(site)
        shown = (await site.get("/plans")).json()
        assert (len(shown["plans"]), shown["may_answer"]) == (1, False)
        (plan,) = shown["plans"]
        refused = await site.post(f"/plans/{plan['plan_id']}/approve", {"plan_hash": plan["plan_hash"]})
        assert refused.status_code == 403
