"""Leftovers go, within bounds; what a record holds, or another app, or an unfinished operation, never does."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.checks import at_rest, everything
from fakes.clock import START
from fakes.machine import Fault, image_id
from fakes.shop import ANN, Shop

from aither_rings_mcp.manager.retention import Retention

BAD = Fault("never-healthy")


@pytest.fixture
async def old_shop(busy_shop: Shop) -> Shop:
    """Many releases went through, good and bad, and all of it was some days ago."""
    for number in range(3, 8):
        await busy_shop.ship(f"v{number}")
        await busy_shop.ship(f"bad{number}", BAD)
    for saved in stored(busy_shop):
        os.utime(saved / "release.json", (START.timestamp(), START.timestamp()))
    busy_shop.clock.seconds += 3 * 86400
    return busy_shop


def stored(shop: Shop) -> list[Path]:
    return sorted((shop.folder / "state" / "releases").glob("r-*"))


def tags(shop: Shop, service: str, start: str) -> list[str]:
    return [tag for ref in shop.machine.tags if (tag := ref.removeprefix(f"shop-{service}:")).startswith(start)]


async def clear(shop: Shop) -> None:
    await Retention(shop.world, [].append).clear()


async def test_names_of_old_releases_go_but_for_the_newest_of_each_kind(old_shop: Shop) -> None:
    await clear(old_shop)
    for service in old_shop.settings.services:
        assert len(tags(old_shop, service, "forensic-prod-")) <= old_shop.settings.keep_releases
        assert f"shop-{service}:prod-7632000" not in old_shop.machine.tags
        for start in ("dev-latest", "prod-latest", "rollback-prod", "rollback-dev"):
            assert tags(old_shop, service, start) == [start]
    at_rest(old_shop)
    assert (await old_shop.rollback()).outcome == "rolled_back"
    at_rest(old_shop)


async def test_what_a_record_or_somebody_else_holds_keeps_its_names(old_shop: Shop) -> None:
    machine = old_shop.machine
    old = image_id("api", "v5")
    others = {
        "shop-api:mine",
        "shop-api:prod-latest2",
        "shopping-api:prod-7632000",
        "api:dev-7632000",
        "shop-x:dev-0000000",
    }
    for name in others:
        machine.tags[name] = image_id("web", "bad7")
    for number in range(5):
        machine.tags[f"shop-api:prod-000000{number}"] = old
    before = set(machine.tags)
    await clear(old_shop)
    assert others <= set(machine.tags)
    assert {name for name in before if name.startswith("shop-api:prod-000000")} <= set(machine.tags)


async def test_no_name_goes_while_a_release_that_is_kept_cannot_be_read(old_shop: Shop) -> None:
    old_shop.machine.tags["shop-api:prod-0000001"] = image_id("api", "v1")
    release = old_shop.record().deployments[-1].release
    (old_shop.folder / "state" / "releases" / release / "release.json").write_text("{")
    before = dict(old_shop.machine.tags)
    await clear(old_shop)
    assert old_shop.machine.tags == before


async def test_releases_that_nothing_names_go_once_they_are_old(old_shop: Shop) -> None:
    any_release = old_shop.world.releases.load(str(old_shop.record().release))
    named = {path.name for path in stored(old_shop)}
    for name, days in (("r-00000000001d", 0), ("r-00000000003d", 3)):
        old_shop.world.releases.save(any_release.model_copy(update={"id": name}), {})
        saved = (old_shop.clock.now() - timedelta(days=days)).timestamp()
        os.utime(old_shop.folder / "state/releases" / name / "release.json", (saved, saved))
    await clear(old_shop)
    assert {path.name for path in stored(old_shop)} == {*named, "r-00000000001d"}
    at_rest(old_shop)


async def test_a_release_that_is_saved_again_is_not_old_any_more(old_shop: Shop) -> None:
    release = old_shop.world.releases.load(str(old_shop.record().release))
    then = old_shop.clock.now()
    assert release.id in old_shop.world.releases.stale(then)
    old_shop.world.releases.save(release, {"other": "is not written"})
    # by the machine's own clock, which is past the story's
    assert release.id not in old_shop.world.releases.stale(then)
    assert "other" not in old_shop.world.releases.config(release.id)


async def test_an_unfinished_operation_stays_whatever_its_age(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    left = (await busy_shop.promote(wait_s=0)).operation_id
    busy_shop.hands.die()
    busy_shop.hands.held = False
    for number in range(4, 8):
        await busy_shop.deploy(f"v{number}")
    ended = [op.id for op in busy_shop.operations() if op.final]
    busy_shop.world.journals.prune(2)
    assert [op.id for op in busy_shop.operations()] == [*ended[:2], left]
    await busy_shop.recover()
    assert busy_shop.world.journals.load(left).final


async def test_plans_go_a_week_after_they_expired_with_what_was_said_of_them(busy_shop: Shop) -> None:
    plans = busy_shop.folder / "state" / "plans"
    old = (await busy_shop.manager.plan("staging", "prod", ANN)).plan_id
    busy_shop.clock.seconds += busy_shop.settings.limits.plan + timedelta(days=7).total_seconds()
    (plans / "half-gone.used").write_text("")
    (plans / "damaged.json").write_text("{")
    await clear(busy_shop)
    assert busy_shop.world.plans.load(old).id == old
    busy_shop.clock.seconds += 1
    await clear(busy_shop)
    assert [path.name for path in plans.iterdir()] == ["damaged.json"]


async def test_with_nothing_left_over_nothing_changes(busy_shop: Shop) -> None:
    busy_shop.boot()
    before = everything(busy_shop)
    await clear(busy_shop)
    assert (everything(busy_shop), busy_shop.power.effects) == (before, [])
