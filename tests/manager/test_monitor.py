"""The RingMonitor: what it takes back, what it holds, whom it tells, and that it does each once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fakes.checks import at_rest, images_running
from fakes.machine import Fault, image_id
from fakes.shop import ANN, BOT, Shop, settings

from aither_rings_mcp.domain.errors import EngineFailure, NoRollbackTarget, RingBusy, RingStuck
from aither_rings_mcp.domain.model import Override
from aither_rings_mcp.domain.watch import Call
from aither_rings_mcp.manager.monitor import Monitor
from aither_rings_mcp.manager.world import MONITOR_CLAIM

SICK = Fault("never-healthy")
BACKBONE = "shop-shared"


class Patrol:
    """A monitor whose rounds a test makes, and what came of them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    @property
    def monitor(self) -> Monitor:
        return self.shop.manager.monitor(self.shop.said.append)

    async def watch(self, seconds: float) -> dict[str, Call]:
        """Rounds for so long, and the work that they start; the last round's calls."""
        seen = await self.shop.patrol(seconds)
        return {ring.ring: ring.call for ring in seen.rings} if seen else {}

    def alerts(self) -> list[tuple[str, str]]:
        events, _ = self.shop.world.history.read(1000)
        return [(event.ring, event.outcome) for event in reversed(events) if event.event == "alert"]

    def rollbacks(self) -> list[str]:
        events, _ = self.shop.world.history.read(1000)
        return [event.outcome for event in reversed(events) if event.event == "rollback"]


@pytest.fixture
async def patrol(shop: Shop) -> Patrol:
    """Prod runs v2, and could go back to v1; the backbone is well."""
    await shop.ship("v1")
    await shop.manager.up("shared", ANN)
    await shop.ship("v2")
    return Patrol(shop)


def runs(source: str) -> dict[str, str]:
    return {service: image_id(service, source) for service in ("api", "web")}


@pytest.mark.promise(7, 8)
async def test_what_goes_bad_while_it_settles_is_taken_back_once_and_quarantined(patrol: Patrol) -> None:
    shop = patrol.shop
    assert await patrol.watch(30) == {"dev": Call.WELL, "prod": Call.WELL}
    bad = shop.record().release
    shop.turn("v2", SICK)
    assert (await patrol.watch(90))["prod"] is Call.SUSPECT
    assert patrol.rollbacks() == []
    await patrol.watch(45)
    assert patrol.rollbacks() == ["rolled_back"]
    assert images_running(shop) == runs("v1")
    assert shop.record().is_quarantined(str(bad))
    assert shop.record().taken_back == (bad,)
    assert [(event.event, event.outcome) for event in shop.alarm.events] == [("rollback", "rolled_back")]
    assert shop.operations()[0].actor.door == "monitor"
    assert await patrol.watch(300) == {"dev": Call.WELL, "prod": Call.WELL}
    assert patrol.rollbacks() == ["rolled_back"]
    at_rest(shop)


@pytest.mark.promise(7)
async def test_what_came_by_going_back_is_never_taken_back_itself(patrol: Patrol) -> None:
    shop = patrol.shop
    await shop.ship("v3")
    shop.turn("v3", SICK)
    await patrol.watch(135)
    assert images_running(shop) == runs("v2")
    shop.turn("v2", SICK)
    await patrol.watch(150)
    assert images_running(shop) == runs("v2")
    assert "came by going back" in str(shop.record().stuck)
    assert patrol.rollbacks() == ["rolled_back"]
    assert ("prod", "stuck") in patrol.alerts()
    assert [event.outcome for event in shop.alarm.events][-1] == "stuck"
    await patrol.watch(150)
    assert patrol.alerts().count(("prod", "stuck")) == 1


@pytest.mark.promise(7)
async def test_a_restore_to_a_release_that_is_broken_too_ends_stuck_and_is_not_tried_again(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.turn("v1", SICK)
    shop.turn("v2", SICK)
    await patrol.watch(300)
    assert patrol.rollbacks() == ["stuck"]
    assert shop.record().stuck
    for actor in (BOT,):
        with pytest.raises(RingStuck):
            await shop.manager.rollback("prod", actor)


@pytest.mark.promise(7)
async def test_a_restore_that_came_to_nothing_calls_a_person_and_is_not_tried_again(patrol: Patrol) -> None:
    """Whatever the trouble is called at the next look."""
    shop = patrol.shop
    hold = shop.world.pins.hold

    async def no_room(images: Mapping[str, str], release: str) -> None:
        raise EngineFailure("the Docker engine refused: no space left on device", "Make room.")

    shop.turn("v2", SICK)
    await patrol.watch(90)
    shop.world.pins.hold = no_room  # type: ignore[method-assign]
    await patrol.watch(60)
    assert patrol.rollbacks() == ["failed"]
    assert "could not take it back" in str(shop.record().stuck)
    shop.world.pins.hold = hold  # type: ignore[method-assign]
    await patrol.watch(60)
    assert patrol.rollbacks() == ["failed"]
    assert patrol.alerts().count(("prod", "stuck")) == 1


@pytest.mark.promise(7)
async def test_a_release_that_a_person_forced_back_is_not_taken_back_a_second_time(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.turn("v2", SICK)
    await patrol.watch(135)
    shop.turn("v2", Fault())
    await shop.promote(override=Override(by="ann", reason="it was the database"))
    assert images_running(shop) == runs("v2")
    shop.turn("v2", SICK)
    await patrol.watch(150)
    assert "taken back before" in str(shop.record().stuck)
    assert patrol.rollbacks() == ["rolled_back"]


@pytest.mark.promise(10)
async def test_once_it_has_settled_ill_health_is_told_and_nothing_is_rolled_back(patrol: Patrol) -> None:
    shop = patrol.shop
    await patrol.watch(330)
    shop.turn("v2", SICK)
    assert (await patrol.watch(150))["prod"] is Call.CONDEMNED
    assert patrol.rollbacks() == []
    assert patrol.alerts() == [("prod", "unhealthy")]
    shop.turn("v2", Fault())
    await patrol.watch(60)
    assert patrol.alerts() == [("prod", "unhealthy"), ("prod", "unhealthy_over")]


async def test_trouble_that_began_before_the_release_had_settled_counts_to_its_end(patrol: Patrol) -> None:
    await patrol.watch(270)
    patrol.shop.turn("v2", SICK)
    await patrol.watch(150)
    assert patrol.rollbacks() == ["rolled_back"]


@pytest.mark.promise(10)
async def test_a_backbone_that_is_not_well_holds_the_rollback_and_is_told_by_name(patrol: Patrol) -> None:
    shop = patrol.shop
    (redis,) = shop.machine.of(BACKBONE)
    redis.status = "exited"
    shop.turn("v2", SICK)
    assert (await patrol.watch(180))["prod"] is Call.HELD
    assert patrol.rollbacks() == []
    assert patrol.alerts() == [("shared", "backbone"), ("prod", "held")]
    told, _ = shop.world.history.read(10)
    assert "redis" in str(told[1].detail)
    redis.status = "running"
    shop.turn("v2", Fault())
    assert (await patrol.watch(60))["prod"] is Call.WELL
    assert patrol.alerts()[2:] == [("shared", "backbone_over"), ("prod", "held_over")]
    assert patrol.rollbacks() == []


@pytest.mark.promise(10)
async def test_a_probe_of_the_backbone_knows_before_docker_does(patrol: Patrol) -> None:
    shop = patrol.shop
    redis = {"redis": {"tcp": True, "port": 6379}}
    shop.settings = settings(backbone={"project": BACKBONE, "compose": ["s.yml"], "probes": redis})
    shop.boot()
    (container,) = shop.machine.of(BACKBONE)
    shop.machine.images[container.spec.image] = Fault("never-healthy", frozenset({BACKBONE}))
    shop.turn("v2", SICK)
    assert (await patrol.watch(180))["prod"] is Call.HELD
    assert container.status == "running"
    assert patrol.rollbacks() == []


@pytest.mark.promise(10)
async def test_rings_that_go_bad_together_have_the_same_trouble(patrol: Patrol) -> None:
    shop = patrol.shop
    await patrol.watch(30)
    shop.turn("v2", Fault("never-healthy", frozenset({"shop-prod", "shop-dev"})))
    assert await patrol.watch(150) == {"dev": Call.HELD, "prod": Call.HELD}
    assert patrol.rollbacks() == []


@pytest.mark.promise(10)
async def test_a_dev_that_was_ill_before_is_no_excuse_for_prod(patrol: Patrol) -> None:
    shop = patrol.shop
    await shop.deploy("v3", Fault("never-healthy", frozenset({"shop-dev"})))
    await patrol.watch(150)
    shop.turn("v2", SICK)
    await patrol.watch(135)
    assert patrol.rollbacks() == ["rolled_back"]


@pytest.mark.promise(10)
async def test_nor_is_a_dev_that_went_bad_a_minute_before(patrol: Patrol) -> None:
    shop = patrol.shop
    await shop.deploy("v3")
    await patrol.watch(15)
    shop.turn("v3", Fault("never-healthy", frozenset({"shop-dev"})))
    await patrol.watch(60)
    shop.turn("v2", SICK)
    await patrol.watch(135)
    assert patrol.rollbacks() == ["rolled_back"]


@pytest.mark.promise(10)
async def test_an_engine_that_is_away_is_no_reason_to_roll_back(patrol: Patrol) -> None:
    shop = patrol.shop
    await patrol.watch(15)
    shop.machine.away = True
    assert await patrol.watch(180) == {"dev": Call.HELD, "prod": Call.HELD}
    assert patrol.alerts() == [("shared", "engine")]
    shop.machine.away = False
    assert await patrol.watch(30) == {"dev": Call.WELL, "prod": Call.WELL}
    assert patrol.alerts() == [("shared", "engine"), ("shared", "engine_over")]
    assert patrol.rollbacks() == []


@pytest.mark.promise(10, 11)
async def test_nor_does_its_absence_make_a_bad_release_a_good_one(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.turn("v2", SICK)
    await patrol.watch(75)
    shop.machine.away = True
    await patrol.watch(60)
    shop.machine.away = False
    assert (await patrol.watch(15))["prod"] is Call.SUSPECT
    await patrol.watch(105)
    assert patrol.rollbacks() == ["rolled_back"]


@pytest.mark.promise(10)
async def test_what_an_engine_left_down_is_started_again_and_nothing_is_rolled_back(patrol: Patrol) -> None:
    shop = patrol.shop
    release = shop.record().release
    await patrol.watch(15)
    shop.machine.away = True
    await patrol.watch(15)
    shop.machine.away = False
    for container in shop.machine.containers.values():
        if container.project == "shop-prod":  # alone, so that no other ring or service excuses it
            container.status = "exited"
    assert await patrol.watch(15) == {"dev": Call.WELL, "prod": Call.HELD}
    assert {container.status for container in shop.machine.of("shop-prod")} == {"running"}
    assert await patrol.watch(240) == {"dev": Call.WELL, "prod": Call.WELL}
    assert (shop.record().release, shop.record().quarantine, patrol.rollbacks()) == (release, (), [])
    assert patrol.alerts()[2:] == [("prod", "held"), ("prod", "held_over")]
    assert shop.operations()[0].request.kind == "up"


async def test_drift_is_told_and_never_put_right_in_silence(patrol: Patrol) -> None:
    shop = patrol.shop
    for container in shop.machine.of("shop-prod"):
        container.spec = type(container.spec)(image_id(container.service, "v1"), container.spec.labels)
    before = images_running(shop)
    await patrol.watch(45)
    assert patrol.alerts() == [("prod", "drift")]
    assert images_running(shop) == before
    status = await shop.manager.status("prod")
    assert not status.ok
    assert "does not run" in str(status.rings[0].drift)
    shop.turn("v1", SICK)
    assert (await patrol.watch(150))["prod"] is Call.HELD
    assert patrol.rollbacks() == []


async def test_a_tag_that_somebody_moved_is_told_and_excuses_nothing(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.machine.tags["shop-api:prod-latest"] = image_id("api", "v1")
    await patrol.watch(15)
    assert patrol.alerts() == [("prod", "tags")]
    assert "shop-api:prod-latest" in str((await shop.manager.status("prod")).rings[0].drift)
    shop.turn("v2", SICK)
    await patrol.watch(135)
    assert patrol.rollbacks() == ["rolled_back"]
    assert ("prod", "tags_over") in patrol.alerts()


@pytest.mark.promise(9)
async def test_pins_that_somebody_removed_come_back_and_a_lost_way_back_is_told_at_once(patrol: Patrol) -> None:
    shop = patrol.shop
    await shop.ship("v3")
    pins = shop.machine.pins()
    shop.machine.containers = {i: c for i, c in shop.machine.containers.items() if not c.pin}
    await patrol.watch(15)
    assert shop.machine.pins() == pins
    assert patrol.alerts() == []
    shop.machine.prune_system()
    await patrol.watch(15)
    assert patrol.alerts() == [("dev", "way_back"), ("prod", "way_back")]
    told, _ = shop.world.history.read(2)
    assert not [event for event in told if "none is left" in str(event.detail)]
    assert (await shop.rollback()).outcome == "rolled_back"
    assert images_running(shop) == runs("v2")


@pytest.mark.promise(4, 5)
async def test_what_a_dead_worker_left_is_carried_on(patrol: Patrol) -> None:
    shop = patrol.shop
    await shop.deploy("v3")
    await shop.stage()
    shop.hands.held = True
    await shop.manager.promote("staging", "prod", ANN, wait_s=0)
    shop.hands.die()
    shop.hands.held = False
    await patrol.watch(15)
    assert images_running(shop) == runs("v3")
    at_rest(shop)


async def test_an_operation_that_does_not_get_any_further_is_left_to_a_person(patrol: Patrol) -> None:
    shop = patrol.shop
    await shop.deploy("v3")
    await shop.stage()
    shop.hands.held = True
    await shop.manager.promote("staging", "prod", ANN, wait_s=0)
    shop.hands.die()
    monitor = patrol.monitor
    for _ in range(5):
        await monitor.round()
        shop.hands.die()
    assert patrol.alerts() == [("prod", "interrupted")]
    shop.hands.held = False
    await shop.manager.recover()
    await monitor.round()
    assert patrol.alerts() == [("prod", "interrupted"), ("prod", "interrupted_over")]


async def test_a_healer_that_a_dead_worker_left_suspended_goes_on(patrol: Patrol) -> None:
    patrol.shop.machine.healer_suspended = True
    await patrol.watch(15)
    assert not patrol.shop.machine.healer_suspended


@pytest.mark.promise(6)
async def test_there_is_one_monitor(patrol: Patrol) -> None:
    claim = patrol.shop.world.claims.take(MONITOR_CLAIM, "monitor")
    assert claim
    with pytest.raises(RingBusy):
        await patrol.monitor.run()
    assert (await patrol.shop.manager.health("prod")).monitor.armed
    claim.release()
    assert not (await patrol.shop.manager.health("prod")).monitor.armed


async def test_health_says_what_the_monitor_makes_of_it_and_when_it_will_act(patrol: Patrol) -> None:
    shop = patrol.shop
    claim = shop.world.claims.take(MONITOR_CLAIM, "monitor")
    assert claim
    await patrol.watch(15)
    shop.turn("v2", SICK)
    await patrol.watch(45)
    seen = (await shop.manager.health("prod")).monitor
    assert (seen.unhealthy_for_s, seen.rollback_in_s) == (30, 60)
    assert seen.settling_until
    claim.release()


async def test_a_person_unlocks_what_is_stuck_and_says_why(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.turn("v1", SICK)
    shop.turn("v2", SICK)
    await patrol.watch(300)
    answer = await shop.manager.unlock("prod", ANN, "mended by hand")
    assert answer.lifted
    assert not shop.record().stuck
    assert (await shop.manager.unlock("prod", ANN, "mended by hand")).lifted == ()
    told, _ = shop.world.history.read(1)
    assert (told[0].event, told[0].reason) == ("unlock", "mended by hand")


# -- contracts: behind them the release before would not find its data


def contracting() -> Any:
    return settings(source={"schema": "contract"})


@pytest.mark.promise(7)
async def test_nothing_automatic_goes_back_across_a_contract(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.settings = contracting()
    shop.boot()
    await shop.ship("v3")
    shop.turn("v3", SICK)
    await patrol.watch(150)
    assert images_running(shop) == runs("v3")
    assert "schema: contract" in str(shop.record().stuck)
    with pytest.raises(RingStuck):
        await shop.manager.rollback("prod", BOT)
    await shop.manager.unlock("prod", ANN, "looked at it")
    with pytest.raises(NoRollbackTarget, match="contract"):
        await shop.manager.rollback("prod", BOT)
    assert (await shop.rollback()).outcome == "rolled_back"
    assert images_running(shop) == runs("v2")


@pytest.mark.promise(7)
async def test_a_contract_that_never_gets_healthy_stays_and_calls_a_person(patrol: Patrol) -> None:
    shop = patrol.shop
    shop.settings = contracting()
    shop.boot()
    answer = await shop.ship("v3", SICK)
    assert answer.outcome == "stuck"
    assert "`ring-ctl unlock prod --reason TEXT`" in answer.summary
    assert [action.tool for action in answer.next_actions] == ["ring_health", "ring_evidence"]
    assert images_running(shop) == runs("v3")
    assert shop.record().deployments[0].proven_at is None
    assert [event.outcome for event in shop.alarm.events] == ["stuck"]
    assert (await shop.rollback()).outcome == "rolled_back"
    assert images_running(shop) == runs("v2")
