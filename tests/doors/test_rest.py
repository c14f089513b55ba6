"""REST: the same objects as at every door, and refusals that teach."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from fakes.shop import BOT, Shop
from fakes.stories import candidate
from rest_site import Site, served


@pytest.fixture
async def site(folder: Path) -> AsyncGenerator[Site]:
    """v1 and v2 went through prod; v3 waits in staging."""
    shop = Shop(folder / "shop")
    await candidate()(shop)
    async with served(shop) as site:
        yield site


async def test_the_article_s_curl_takes_prod_back(site: Site) -> None:
    before = site.shop.record()
    answer = await site.post("/rings/prod/rollback")
    assert answer.status_code == 200, answer.text
    assert answer.json()["outcome"] == "rolled_back"
    assert site.shop.record().release == before.rollback_release


async def test_bodies_are_what_the_manager_answers(site: Site) -> None:
    shown = (await site.get("/rings")).json()
    said = (await site.shop.manager.status()).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert {**shown, "as_of": 0} == {**said, "as_of": 0}
    assert [ring["name"] for ring in (await site.get("/rings/prod")).json()["rings"]] == ["prod"]


async def test_a_promotion_by_plan_is_that_plan(site: Site) -> None:
    plan = (await site.get("/rings/staging/plan/prod")).json()
    answer = await site.post("/rings/prod/promote", {"source": "staging", "plan_id": plan["plan_id"]})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "promoted")
    assert site.shop.record().release == plan["release"]


async def test_what_goes_on_by_itself_says_where_to_look(site: Site) -> None:
    site.shop.hands.held = True
    answer = await site.post("/rings/prod/promote", {"source": "staging", "wait_s": 0})
    assert (answer.status_code, answer.json()["outcome"]) == (202, "running")
    where = answer.headers["location"]
    assert (await site.get(where)).json()["status"] == "running"
    site.shop.hands.held = False
    assert (await site.get(where, wait_s=30)).json()["status"] == "done"


@pytest.mark.promise(17)
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    [
        ("GET", "/rings/prd", None, 404, "unknown_ring", "Did you mean 'prod'?"),
        ("GET", "/rings/prod/healht", None, 404, "invalid_arguments", "/openapi.json"),
        ("DELETE", "/rings/prod", None, 405, "invalid_arguments", "/openapi.json"),
        ("GET", "/rings/prod/history?limt=3", None, 422, "invalid_arguments", "did you mean 'limit'?"),
        ("GET", "/rings/prod/history?limit=0", None, 422, "invalid_arguments", "from 1 to 100"),
        ("GET", "/operations/op-1", None, 404, "operation_not_found", "ring-ctl"),
        ("GET", "/rings/dev/plan/prod", None, 409, "invalid_transition", "staging -> prod"),
        ("POST", "/rings/prod/promote", None, 400, "invalid_arguments", "JSON object"),
        ("POST", "/rings/prod/promote", {"source": "staging", "dryrun": True}, 422, "invalid_arguments", "'dry_run'?"),
        ("POST", "/rings/prod/promote", {"source": "staging", "force": 1}, 422, "invalid_arguments", "true or false"),
        ("POST", "/rings/prod/promote", {"source": "staging", "force": True}, 403, "forbidden", "--allow-force"),
        ("POST", "/rings/prod/promote", ["staging"], 400, "invalid_arguments", "JSON object"),
        ("POST", "/rings/staging/rollback", {}, 409, "invalid_transition", "gate"),
        ("POST", "/operations/op-1/cancel", {"reason": "x"}, 404, "operation_not_found", "ring-ctl"),
    ],
)
async def test_a_refusal_is_a_problem_that_names_the_next_step(
    site: Site, method: str, path: str, body: object, status: int, code: str, words: str
) -> None:
    before = site.shop.record(), len(site.shop.operations())
    answer = await site.http.request(method, path, json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in f"{problem['detail']} {problem['next']}"
    assert before == (site.shop.record(), len(site.shop.operations()))


async def test_what_is_not_json_is_refused_in_our_words(site: Site) -> None:
    for content, kind in ((b"{", "application/json"), (b'{"source":"staging"}', "text/plain")):
        answer = await site.http.post("/rings/prod/promote", content=content, headers={"content-type": kind})
        assert answer.status_code == 400, answer.text
        assert "JSON object, sent as application/json" in answer.json()["detail"]


async def test_the_server_says_how_it_is(site: Site) -> None:
    assert (await site.get("/healthz")).json()["ok"]
    assert (await site.get("/readyz")).status_code == 200
    site.shop.machine.away = True
    assert (await site.get("/readyz")).status_code == 503
    assert (await site.get("/healthz")).status_code == 200


async def test_metrics_count_what_happens(site: Site) -> None:
    first = (await site.get("/metrics")).text
    assert 'aither_rings_rollback_ready{ring="prod"} 1.0' in first
    assert "aither_rings_events_total{" not in first
    await site.shop.manager.rollback("prod", BOT, reason="to count it")
    second = (await site.get("/metrics")).text
    assert 'aither_rings_events_total{event="rollback",outcome="rolled_back",ring="prod"} 1.0' in second
    assert 'aither_rings_services{health="healthy",ring="prod"} 2.0' in second


async def test_the_dashboard_runs_nothing_from_elsewhere(site: Site) -> None:
    page = await site.get("/")
    assert "dashboard.js" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("dashboard.js", "dashboard.css"):
        assert (await site.get(f"/{name}")).status_code == 200
