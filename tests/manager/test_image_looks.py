"""Status and health look at all images only where nothing cheaper tells the same."""

from __future__ import annotations

import pytest
from fakes.machine import image_id
from fakes.shop import Shop

from aither_rings_mcp.ports import Images


@pytest.fixture
def looks(busy_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that all images are looked at."""
    asked, images = list[str](), busy_shop.world.engine.images

    async def counted() -> Images:
        asked.append("images")
        return await images()

    monkeypatch.setattr(busy_shop.world.engine, "images", counted)
    return asked


async def drift(shop: Shop) -> str | None:
    return (await shop.manager.status("prod")).rings[0].drift


async def later(shop: Shop) -> None:
    await shop.clock.sleep(1)


def move_tag(shop: Shop, source: str) -> None:
    """What a person does with `docker tag`."""
    shop.machine.tag(image_id("api", source), "shop-api:prod-latest")


async def test_a_way_back_that_stands_needs_no_look_at_all_images(busy_shop: Shop, looks: list[str]) -> None:
    health = await busy_shop.manager.health("prod")
    assert (health.rollback_ready, looks) == (True, [])


async def test_a_way_back_whose_pins_do_not_run_is_looked_for_among_all_images(
    busy_shop: Shop, looks: list[str]
) -> None:
    for pin in [c for c in busy_shop.machine.containers.values() if c.pin]:
        busy_shop.machine.stop(pin)
    health = await busy_shop.manager.health("prod")
    assert (health.rollback_ready, looks) == (True, ["images"])


async def test_fifty_looks_within_a_second_ask_for_all_images_once(busy_shop: Shop, looks: list[str]) -> None:
    for _ in range(50):
        assert (await busy_shop.manager.status()).ok
    assert looks == ["images"]
    await later(busy_shop)
    await busy_shop.manager.status()
    assert looks == ["images"] * 2


async def test_a_tag_that_somebody_moved_is_told_within_a_second(busy_shop: Shop, looks: list[str]) -> None:
    assert await drift(busy_shop) is None
    move_tag(busy_shop, "v3")
    await later(busy_shop)
    assert await drift(busy_shop) == "moved to another image: shop-api:prod-latest"
    assert looks == ["images"] * 2


async def test_what_was_put_right_is_not_told_any_more(busy_shop: Shop) -> None:
    right = str(busy_shop.record().release)
    move_tag(busy_shop, "v3")
    assert await drift(busy_shop) is not None
    busy_shop.machine.tag(busy_shop.world.releases.load(right).images["api"], "shop-api:prod-latest")
    assert await drift(busy_shop) is None


async def test_tags_that_a_rollout_moved_are_no_drift(busy_shop: Shop) -> None:
    assert await drift(busy_shop) is None
    await busy_shop.promote()
    assert await drift(busy_shop) is None
    await busy_shop.rollback()
    assert await drift(busy_shop) is None
