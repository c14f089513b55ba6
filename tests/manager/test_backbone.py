"""A backbone that is not well is nobody's fault: a rollout waits for it, and condemns no release for it."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.checks import at_rest, images_running
from fakes.machine import Fault, image_id
from fakes.shop import ANN, Shop, settings

from aither_rings_mcp.domain.errors import EngineFailure, InvalidTransition, RingError
from aither_rings_mcp.domain.rollout import Phase

SICK = Fault("never-healthy")


@pytest.fixture
async def shop(busy_shop: Shop) -> Shop:
    """Prod runs v2, v3 waits in staging, and the backbone is well."""
    await busy_shop.manager.up("shared", ANN)
    return busy_shop


def runs(source: str) -> dict[str, str]:
    return {service: image_id(service, source) for service in ("api", "web")}


def backbone(shop: Shop, status: Any) -> None:
    (redis,) = shop.machine.of("shop-shared")
    redis.status = status


def needing_it() -> Any:
    rings = {name: ring.model_dump() for name, ring in settings().rings.items()}
    rings["prod"] |= {"shared_network": "shop-prod-shared"}
    return settings(rings=rings)


@pytest.mark.promise(10)
async def test_a_release_that_is_ill_while_the_backbone_is_gets_another_chance_once_that_is_well(shop: Shop) -> None:
    shop.turn("v3", SICK)
    backbone(shop, "exited")
    ill_until = shop.clock.seconds + 20

    async def mended() -> None:
        if shop.clock.seconds > ill_until:
            backbone(shop, "running")
            shop.turn("v3", Fault())

    shop.clock.meanwhile, working = mended, shop.clock.meanwhile
    assert working
    shop.hands.held = True
    asked = await shop.manager.promote("staging", "prod", ANN, wait_s=0)
    await shop.work()
    op = shop.world.journals.load(str(asked.operation_id))
    assert (op.phase, images_running(shop)) == (Phase.DONE, runs("v3"))
    assert shop.record().quarantine == ()
    at_rest(shop)


@pytest.mark.promise(10)
async def test_while_it_stays_ill_the_rollout_is_left_for_later_and_then_carried_on(shop: Shop) -> None:
    shop.turn("v3", SICK)
    backbone(shop, "exited")
    assert (await shop.promote()).outcome == "running"
    assert shop.record().quarantine == ()
    backbone(shop, "running")
    await shop.recover()
    # by itself it is bad after all
    assert images_running(shop) == runs("v2")
    assert len(shop.record().quarantine) == 1
    at_rest(shop)


@pytest.mark.promise(7, 10)
async def test_a_way_back_that_is_ill_with_the_backbone_is_not_stuck_but_waited_for(shop: Shop) -> None:
    shop.turn("v3", SICK)
    shop.turn("v2", SICK)
    told: list[str] = []

    async def falls_ill() -> None:
        if any(op.phase is Phase.RESTORE_VERIFYING for op in shop.operations()) and not told:
            backbone(shop, "exited")
            told.append("ill")

    shop.clock.meanwhile = falls_ill
    shop.hands.held = True
    asked = await shop.manager.promote("staging", "prod", ANN, wait_s=0)
    await shop.work()
    assert shop.world.journals.load(str(asked.operation_id)).phase is Phase.RESTORE_VERIFYING
    backbone(shop, "running")
    shop.turn("v2", Fault())
    shop.boot()
    await shop.recover()
    assert shop.world.journals.load(str(asked.operation_id)).phase is Phase.ROLLED_BACK
    assert images_running(shop) == runs("v2")
    at_rest(shop)


@pytest.mark.promise(17)
@pytest.mark.parametrize("state", ["down", "ill"])
async def test_a_ring_that_needs_a_backbone_takes_nothing_new_without_one(busy_shop: Shop, state: str) -> None:
    busy_shop.settings = needing_it()
    busy_shop.boot()
    if state == "ill":
        await busy_shop.manager.up("shared", ANN)
        backbone(busy_shop, "exited")
    with pytest.raises(InvalidTransition, match="prod needs the backbone") as refused:
        await busy_shop.promote()
    assert "ring-ctl up shared" in refused.value.next_step
    assert images_running(busy_shop) == runs("v2")


# -- what else must not stand in the way


@pytest.mark.promise(9)
async def test_a_healer_that_cannot_be_paused_does_not_stand_in_the_way_of_going_back(shop: Shop) -> None:
    async def refuses() -> None:
        raise EngineFailure("this engine cannot pause", "Use cgroups with a freezer.")

    shop.world.healer.suspend = refuses  # type: ignore[method-assign]
    shop.turn("v3", SICK)
    assert (await shop.promote()).outcome == "rolled_back"
    assert images_running(shop) == runs("v2")


@pytest.mark.promise(6)
async def test_an_owner_whose_epoch_is_over_does_nothing_more(shop: Shop) -> None:
    """Somebody removed the lock's file by hand, and another owner came."""
    shop.hands.held = True
    asked = await shop.manager.promote("staging", "prod", ANN, wait_s=0)
    (shop.folder / "state/claims/prod.lock").unlink()
    other = shop.world.claims.take("prod", "op-other")
    assert other
    with pytest.raises(RingError):
        await shop.work()
    assert shop.world.journals.load(str(asked.operation_id)).phase is Phase.ACCEPTED
    assert images_running(shop) == runs("v2")
    other.release()
