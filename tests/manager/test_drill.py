"""The drill's own eyes: what it would not overlook, and that whatever happens to it is cleaned up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.machine import Fault, Spec, image_id
from fakes.shop import Shop

from aither_rings_mcp.domain.drill import Ware, not_told_once, taking_back
from aither_rings_mcp.domain.errors import DockerUnavailable
from aither_rings_mcp.domain.model import Event
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.manager.drill import Drill
from aither_rings_mcp.manager.drill_scratch import Scratch, Seen


class Site:
    """`ports.ScratchSite`: nowhere. `engine` is what `prepare` meets."""

    def __init__(self, engine: Exception | None = None, left: tuple[str, ...] = ()) -> None:
        self.engine, self.left, self.removed = engine, left, 0

    async def prepare(self) -> Path:
        if self.engine:
            raise self.engine
        return Path("rings.yaml")

    async def ship(self, ware: Ware) -> None:
        await anyio.sleep_forever()

    def worker(self, operation_id: str) -> Callable[[], None] | None:
        return None

    def start_monitor(self) -> None: ...
    def kill_monitor(self) -> None: ...

    async def remove(self) -> tuple[str, ...]:
        await anyio.sleep(0)  # where a cancelled drill would stop, were it not let
        self.removed += 1
        return self.left


def history_event(shop: Shop, **change: Any) -> None:
    (newest,), _ = shop.world.history.read(1)
    shop.world.history.append(Event(**{**newest.model_dump(exclude={"seq", "prev", "hash"}), **change}))


async def faults(shop: Shop, bad: str | None = None) -> str:
    return "; ".join(await Scratch(shop.world, Site()).broken_promises(Seen("", str(shop.record().release), bad)))


async def test_rings_at_rest_have_no_faults(busy_shop: Shop) -> None:
    assert await faults(busy_shop) == ""


async def test_a_bad_release_taken_back_once_has_no_faults(busy_shop: Shop) -> None:
    await busy_shop.ship("v4", Fault("crash-loop"))
    bad = busy_shop.operations()[0].release
    assert bad
    assert await faults(busy_shop, bad.id) == ""
    (before,) = taking_back(busy_shop.operations(), bad.id)
    twice = (before.model_copy(update={"id": "op-again"}), *busy_shop.operations())
    assert [op.id for op in taking_back(twice, bad.id)] == ["op-again", before.id]


async def test_another_image_than_recorded_is_seen(busy_shop: Shop) -> None:
    container = busy_shop.machine.of("shop-prod")[0]
    container.spec = Spec(image_id("web", "v1"), container.spec.labels)
    assert "but api has another image" in await faults(busy_shop)


async def test_a_container_of_another_release_is_seen(busy_shop: Shop) -> None:
    container = busy_shop.machine.of("shop-prod")[0]
    container.spec = Spec(container.spec.image, (("aither.rings.release", "r-other"),))
    assert "r-other runs too" in await faults(busy_shop)


async def test_a_stopped_container_is_seen(busy_shop: Shop) -> None:
    busy_shop.machine.of("shop-prod")[0].status = "exited"
    assert "is exited" in await faults(busy_shop)


@pytest.mark.promise(12)
async def test_an_operation_told_twice_or_never_is_seen(busy_shop: Shop) -> None:
    history_event(busy_shop, event="once more")
    assert "2 times" in await faults(busy_shop)
    assert list(not_told_once(busy_shop.operations()[:1], [])) != []


async def test_a_bad_release_that_is_not_quarantined_or_was_never_taken_back_is_seen(busy_shop: Shop) -> None:
    found = await faults(busy_shop, "r-000000000bad")
    assert "r-000000000bad is not quarantined" in found
    assert "r-000000000bad was taken back 0 times" in found


async def test_another_record_than_expected_is_seen(busy_shop: Shop) -> None:
    seen = await Scratch(busy_shop.world, Site()).broken_promises(Seen("", "r-0000expected"))
    assert any("r-0000expected should be" in fault for fault in seen)


async def test_an_operation_that_did_not_end_is_seen(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    await busy_shop.promote(wait_s=0)
    busy_shop.hands.die()
    assert "did not end: it is accepted" in await faults(busy_shop)


async def test_a_drill_that_is_cancelled_is_cleaned_up(busy_shop: Shop) -> None:
    site = Site()
    with anyio.move_on_after(0.05):
        await Drill(site, lambda _: busy_shop.world, busy_shop.clock).run(lambda _: None)
    assert site.removed == 1


async def test_a_drill_without_an_engine_is_refused_and_says_what_it_left(shop: Shop) -> None:
    site, said = Site(DockerUnavailable("gone", "Start it."), left=("the folder /tmp/x",)), list[str]()
    with pytest.raises(DockerUnavailable):
        await Drill(site, lambda _: shop.world, shop.clock).run(said.append)
    assert (site.removed, said) == (1, ["left behind: the folder /tmp/x"])


def test_an_operation_that_was_told_once_is_fine(busy_shop: Shop) -> None:
    ops: tuple[Operation, ...] = busy_shop.operations()
    assert list(not_told_once(ops, [op.id for op in ops])) == []
