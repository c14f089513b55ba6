"""The way back is always open: whatever is pruned, by whom, and how long ago the ways were made."""

from __future__ import annotations

import pytest
from fakes.checks import at_rest, images_running
from fakes.machine import Fault, image_id
from fakes.shop import Shop

from aither_rings_mcp.domain.errors import ImageMissing, NoRollbackTarget
from aither_rings_mcp.domain.policy import standing_releases
from aither_rings_mcp.manager.marks import Marks

pytestmark = pytest.mark.promise(9)


def images_of(*sources: str) -> set[str]:
    return {image_id(service, source) for service in ("api", "web") for source in sources}


def standing(shop: Shop) -> set[str]:
    return {c.spec.image for c in shop.machine.containers.values() if c.pin and c.status == "running"}


def marks(shop: Shop, said: list[str] | None = None) -> Marks:
    return Marks(shop.world, [].append if said is None else said.append)


async def repaired(shop: Shop, said: list[str] | None = None) -> tuple[str, ...]:
    return await marks(shop, said).repair((await shop.world.engine.images()).ids)


def lose(shop: Shop, source: str) -> None:
    """Somebody takes the images of a release away by force, pins and all."""
    gone = images_of(source)
    shop.machine.containers = {i: c for i, c in shop.machine.containers.items() if c.spec.image not in gone}
    for image in gone:
        del shop.machine.images[image]


async def status(shop: Shop, ring: str = "prod") -> tuple[str | None, bool | None]:
    view = (await shop.manager.status(ring)).rings[0]
    return view.rollback_release, view.rollback_ready


async def test_after_every_rollout_exactly_the_next_ways_back_stand(busy_shop: Shop) -> None:
    # v3 is staging's candidate, v2 dev's way back, v1 prod's
    assert standing(busy_shop) == images_of("v1", "v2", "v3")
    await busy_shop.promote()
    assert standing(busy_shop) == images_of("v2", "v3")
    await busy_shop.down()
    assert busy_shop.record().release in standing_releases(busy_shop.record())
    assert standing(busy_shop) == images_of("v2", "v3")


async def test_the_way_back_survives_a_prune_of_everything_that_does_not_run(busy_shop: Shop) -> None:
    await busy_shop.promote()
    busy_shop.machine.prune_system()
    assert (await busy_shop.rollback()).outcome == "rolled_back"
    assert images_running(busy_shop) == {service: image_id(service, "v2") for service in ("api", "web")}


async def test_so_does_the_candidate(busy_shop: Shop) -> None:
    await busy_shop.deploy("v4")
    await busy_shop.deploy("v5")
    busy_shop.machine.prune_system()
    assert (await busy_shop.promote()).outcome == "promoted"


async def test_so_does_a_ring_that_is_down(busy_shop: Shop) -> None:
    await busy_shop.down()
    busy_shop.machine.prune_system()
    assert (await busy_shop.up()).outcome == "up"


async def test_standing_again_changes_nothing(busy_shop: Shop) -> None:
    busy_shop.boot()
    await marks(busy_shop).stand()
    assert await repaired(busy_shop) == ()
    assert busy_shop.power.effects == []


async def test_pins_that_were_killed_or_removed_stand_again(busy_shop: Shop) -> None:
    pins = [c for c in busy_shop.machine.containers.values() if c.pin]
    pins[0].status = "exited"
    del busy_shop.machine.containers[pins[1].id]
    await marks(busy_shop).stand()
    assert standing(busy_shop) == images_of("v1", "v2", "v3")


async def test_what_is_lost_is_passed_over_and_the_next_way_stands(busy_shop: Shop) -> None:
    await busy_shop.promote()
    v2, v1 = (d.release for d in busy_shop.record().deployments[1:])
    assert await status(busy_shop) == (v2, True)
    lose(busy_shop, "v2")
    assert await status(busy_shop) == (v1, True)
    assert v2 in await repaired(busy_shop)
    await marks(busy_shop).stand()
    assert images_of("v1") <= standing(busy_shop)
    assert (await busy_shop.rollback(dry_run=True)).to == v1
    with pytest.raises(ImageMissing):
        await busy_shop.rollback(release=v2)
    busy_shop.machine.prune_system()
    assert (await busy_shop.rollback()).to == v1


async def test_a_restore_passes_over_what_is_lost_too(busy_shop: Shop) -> None:
    await busy_shop.promote()
    await busy_shop.deploy("v4", Fault("never-healthy"))
    await busy_shop.stage()
    v1 = busy_shop.record().deployments[-1].release
    lose_in_the_switch(busy_shop, "v2", "v3")
    answer = await busy_shop.promote()
    assert (answer.outcome, answer.rolled_back_to) == ("rolled_back", v1)
    assert busy_shop.record().release == v1


def lose_in_the_switch(shop: Shop, *sources: str) -> None:
    """The images go while the ring changes over, after it was checked that they are there."""
    start = shop.machine.start

    def losing(container: object) -> None:
        shop.machine.start = start  # type: ignore[method-assign]
        for source in sources:
            for image in images_of(source):
                shop.machine.images.pop(image, None)
        start(container)  # type: ignore[arg-type]

    shop.machine.start = losing  # type: ignore[method-assign]


async def test_when_every_way_is_lost_a_rollback_is_refused_and_status_says_so(busy_shop: Shop) -> None:
    v1 = busy_shop.record().deployments[-1].release
    lose(busy_shop, "v1")
    assert await status(busy_shop) == (v1, False)
    with pytest.raises(NoRollbackTarget, match="images of every release"):
        await busy_shop.rollback()


async def test_a_restore_to_which_nothing_is_left_ends_stuck_and_never_just_down(busy_shop: Shop) -> None:
    for service in ("api", "web"):
        busy_shop.machine.images[image_id(service, "v3")] = Fault("never-healthy")
    lose_in_the_switch(busy_shop, "v1", "v2")
    assert (await busy_shop.promote()).outcome == "stuck"


async def test_a_release_that_cannot_be_read_is_said_and_passed_over(busy_shop: Shop) -> None:
    await busy_shop.promote()
    v2, v1 = (d.release for d in busy_shop.record().deployments[1:])
    (busy_shop.folder / "state" / "releases" / v2 / "release.json").write_text("{")
    said: list[str] = []
    assert await repaired(busy_shop, said) == ()
    assert any("cannot be understood" in line for line in said)
    await marks(busy_shop, said).stand()
    assert images_of("v1") <= standing(busy_shop)
    assert (await busy_shop.rollback()).to == v1


async def test_trouble_with_pins_spoils_no_rollout(busy_shop: Shop) -> None:
    before = busy_shop.operations()
    busy_shop.machine.dies_in = None
    busy_shop.hands.held = True
    answer = await busy_shop.promote(wait_s=0)
    start = busy_shop.machine.start

    def leaving(container: object) -> None:
        if container.pin:  # type: ignore[attr-defined]
            busy_shop.machine.away = True
        start(container)  # type: ignore[arg-type]

    busy_shop.machine.start = leaving  # type: ignore[method-assign]
    busy_shop.machine.containers = {i: c for i, c in busy_shop.machine.containers.items() if not c.pin}
    await busy_shop.work()
    busy_shop.machine.away = False
    op = busy_shop.operations()[0]
    assert (len(busy_shop.operations()), op.id, op.phase) == (len(before) + 1, answer.operation_id, "done")
    lines, _ = busy_shop.world.logs.read(op.id, 0, 1000)
    assert any("left for the next time" in line for line in lines)
    at_rest(busy_shop)
