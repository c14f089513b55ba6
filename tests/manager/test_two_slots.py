"""A ring with two slots: users never meet a release that is not well, and going back is one step."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.checks import at_rest
from fakes.machine import Fault, image_id
from fakes.shop import ANN, Shop, reopened, twins
from fakes.stories import settled, two_in_prod

from aither_rings_mcp.domain.errors import ConfigInvalid, EngineFailure, InvalidTransition
from aither_rings_mcp.domain.rollout import Phase
from aither_rings_mcp.domain.settings import Service
from aither_rings_mcp.domain.slots import Route, Slot, Traffic
from aither_rings_mcp.manager import routes
from aither_rings_mcp.manager.alerts import Alerts
from aither_rings_mcp.manager.looks import Looks
from aither_rings_mcp.manager.observer import judge
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.restorer import Restorer
from aither_rings_mcp.manager.settling import Settle, overdue

BLUE, GREEN = "shop-prod", "shop-prod-green"
NEVER = Fault("never-healthy")


@pytest.fixture
def shop(folder: Path) -> Shop:
    return Shop(folder / "shop", config=twins())


def served(shop: Shop) -> tuple[str, ...]:
    return shop.machine.routed["prod"]


def statuses(shop: Shop, project: str) -> set[str]:
    return {container.status for container in shop.machine.of(project)}


async def test_the_first_release_comes_to_the_rings_own_project(shop: Shop) -> None:
    assert (await shop.ship("v1")).outcome == "promoted"
    assert served(shop) == (BLUE,)
    assert shop.machine.of(GREEN) == []
    at_rest(shop)


async def test_a_promotion_leaves_the_slot_before_warm_until_the_release_has_settled(shop: Shop) -> None:
    await two_in_prod()(shop)
    assert served(shop) == (GREEN,)
    assert statuses(shop, BLUE) == statuses(shop, GREEN) == {"running"}
    assert shop.record().settling
    await shop.patrol(330)
    assert statuses(shop, BLUE) == {"exited"}
    assert shop.record().settling is None
    assert [(e.event, e.outcome) for e in (await shop.manager.history("prod", limit=1)).events] == [
        ("settle", "settled")
    ]
    at_rest(shop)


@pytest.mark.parametrize("fault", ["never-healthy", "crash-loop", "refuses-to-start"])
async def test_users_never_meet_a_release_that_does_not_become_well(shop: Shop, fault: str) -> None:
    await shop.ship("v1")
    shop.machine.met.clear()
    answer = await shop.ship("v2", Fault(fault))  # type: ignore[arg-type]
    assert (answer.ok, answer.outcome) == (False, "rolled_back")
    assert "no user met it" in answer.summary
    assert shop.machine.met == {image_id(service, "v1") for service in ("api", "web")}
    assert statuses(shop, GREEN) <= {"exited", "created"}
    # what could not be started at all may be the machine's fault
    assert shop.record().is_quarantined(str(answer.release)) == (fault != "refuses-to-start")
    assert not shop.record().returned, "what serves was never left"
    at_rest(shop)


async def test_users_never_meet_a_front_whose_port_is_not_open_though_nothing_else_asks_it(folder: Path) -> None:
    services = {"api": {"critical": True, "probe": {"http": "/health", "port": 8000}}, "web": {"probe": {"port": 8000}}}
    shop = Shop(folder / "shop", config=twins().model_copy(update={"services": parsed(services)}))
    await shop.ship("v1")
    shop.machine.images[image_id("web", "v2")] = NEVER
    assert (await shop.ship("v2")).outcome == "rolled_back"
    assert image_id("web", "v2") not in shop.machine.met
    at_rest(shop)


async def test_a_healthcheck_says_whether_a_front_is_well_where_no_probe_is_given(shop: Shop) -> None:
    """An open port says less."""
    services = parsed({"web": {"probe": {"port": 8000}}})
    world = replace(shop.world, settings=shop.settings.model_copy(update={"services": services}))
    await shop.ship("v1")
    (one,) = [c for c in await world.engine.containers(BLUE) if c.service == "web"]
    (seen,) = await judge(world, [one.model_copy(update={"health": "unhealthy"})], ["web"])
    assert seen.reason == "Docker's healthcheck fails"


def parsed(services: Mapping[str, object]) -> dict[str, Service]:
    return {name: Service.model_validate(service) for name, service in services.items()}


async def test_a_bad_first_release_meets_nobody_either(shop: Shop) -> None:
    answer = await shop.ship("v1", NEVER)
    assert answer.outcome == "rolled_back"
    assert shop.machine.met == set()
    assert not shop.record().running


async def test_going_back_while_it_settles_starts_nothing(shop: Shop) -> None:
    await two_in_prod()(shop)
    made = shop.machine.made
    effects = len(shop.machine.power.effects)
    answer = await shop.rollback(reason="users complain")
    assert answer.outcome == "rolled_back"
    switched = shop.machine.power.effects[effects:]
    before = switched[: switched.index("edge prod")]
    assert [name for name in before if name not in {"disk", "sync_folder"}] == ["edge file prod"]
    assert shop.machine.made == made
    assert served(shop) == (BLUE,)
    assert answer.forensics
    await shop.patrol(30)
    assert statuses(shop, GREEN) == {"exited"}, "it need not wait: nobody goes back to it"
    at_rest(shop)


async def test_what_was_stopped_is_started_and_proves_itself_before_it_is_gone_back_to(shop: Shop) -> None:
    await settled(shop)
    made = shop.machine.made
    assert (await shop.rollback()).outcome == "rolled_back"
    assert shop.machine.made == made, "the same containers"
    assert served(shop) == (BLUE,)
    at_rest(shop)


async def test_nobody_is_refused_because_a_slot_is_being_stopped(shop: Shop) -> None:
    await two_in_prod()(shop)
    shop.machine.clock.seconds += shop.settings.rollback.settle
    (begun,) = await overdue(shop.world, Operations(shop.world))
    assert shop.record().settling, "its worker has not come to it yet"
    assert (await shop.rollback(reason="users complain")).outcome == "rolled_back"
    assert shop.world.journals.load(begun.id).phase is Phase.DONE
    at_rest(shop)


async def test_a_rollback_to_what_turned_bad_leaves_users_where_they_are(shop: Shop) -> None:
    await settled(shop)
    shop.turn("v1", NEVER)
    with pytest.raises(EngineFailure, match="stays on"):
        await shop.rollback()
    assert served(shop) == (GREEN,)
    assert not shop.record().stuck
    at_rest(shop)


async def test_bad_answers_while_it_settles_take_it_back(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    shop.machine.traffic[GREEN] = Traffic(requests=100, errors=50)
    await shop.patrol(2, 1)
    assert served(shop) == (BLUE,)
    event = (await shop.manager.history("prod", event="rollback")).events[0]
    assert event.outcome == "rolled_back"
    assert "50 of 100 answers were errors" in str(event.reason)
    at_rest(shop)


async def test_what_the_release_before_answered_badly_too_is_not_held_against_it(shop: Shop) -> None:
    shop.machine.users, shop.machine.answers_badly = 100, {BLUE, GREEN}
    await two_in_prod()(shop)
    await shop.patrol(5, 0.5)
    assert served(shop) == (GREEN,)
    assert shop.record().settling


async def test_a_canary_with_bad_answers_goes_no_further(folder: Path) -> None:
    shop = Shop(folder / "shop", config=twins(canary={"steps": [5, 100], "hold": "10s"}))
    await shop.ship("v1")
    shop.machine.users, shop.machine.answers_badly = 30, {GREEN}
    answer = await shop.ship("v2")
    assert answer.outcome == "rolled_back"
    assert "with 5 % of the requests" in str(answer.verification and answer.verification.reason)
    assert served(shop) == (BLUE,)
    at_rest(shop)


async def test_a_canary_without_requests_is_judged_by_its_probes(folder: Path) -> None:
    shop = Shop(folder / "shop", config=twins(canary={"steps": [5, 100], "hold": "10s"}))
    await shop.ship("v1")
    answer = await shop.ship("v2")
    assert answer.outcome == "promoted"
    log = await shop.manager.operation(str(answer.operation_id), include_log=True)
    assert any("too few to judge by: probes decide" in line for line in (log.log.lines if log.log else ()))


@pytest.mark.promise(11)
@pytest.mark.parametrize(("bad_looks", "outcome"), [(1, "promoted"), (100, "rolled_back")])
async def test_a_canary_is_not_condemned_by_one_bad_look(folder: Path, bad_looks: int, outcome: str) -> None:
    shop = Shop(folder / "shop", config=twins(canary={"steps": [5, 100], "hold": "10s"}))
    await shop.ship("v1")
    assert (await shop.ship("v2", Fault("stumbles", after=bad_looks))).outcome == outcome
    at_rest(shop)


async def test_errors_of_earlier_releases_in_its_slot_are_no_measure_for_the_next_one(shop: Shop) -> None:
    shop.machine.traffic[BLUE] = Traffic(requests=2000, errors=500)
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    shop.machine.traffic[GREEN] = Traffic(requests=2000, errors=1000)
    await shop.patrol(2, 1)
    assert served(shop) == (BLUE,)
    event = (await shop.manager.history("prod", event="rollback")).events[0]
    assert "nothing to compare with" in str(event.reason)


async def test_with_few_users_a_release_is_measured_by_all_that_the_one_before_gave_in_its_time(shop: Shop) -> None:
    shop.machine.traffic[BLUE] = Traffic(requests=2000, errors=1000)
    await shop.ship("v1")
    shop.machine.traffic[BLUE] = Traffic(requests=3000, errors=1100)
    await shop.ship("v2")
    settling = shop.record().settling
    assert settling
    assert (settling.baseline.requests, settling.baseline.errors) == (1000, 100)


async def test_a_promotion_that_is_refused_leaves_what_settles_under_watch(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    first = shop.record().settling
    assert first
    assert (await shop.ship("v3", NEVER)).outcome == "rolled_back"
    assert shop.record().settling == first.model_copy(update={"release": None}), "v1 made room for v3"
    shop.machine.traffic[GREEN] = Traffic(requests=100, errors=50)
    await shop.patrol(2, 1)
    assert served(shop) == (BLUE,)
    assert {c.spec.image for c in shop.machine.of(BLUE)} == {image_id(service, "v1") for service in ("api", "web")}
    at_rest(shop)


async def test_a_hook_does_not_keep_users_waiting_for_what_is_bad_to_be_taken_back(shop: Shop) -> None:
    await shop.ship("v1")
    await shop.manager.up("shared", ANN)
    hook = {"argv": [sys.executable, "-c", "import signal; signal.pause()"], "limit": "20s"}
    shop.settings = twins(hooks={"post_promote": hook})
    shop.boot()
    shop.machine.users, shop.machine.answers_badly = 100, {GREEN}
    answer = await shop.ship("v2")
    log = await shop.manager.operation(str(answer.operation_id), include_log=True)
    assert any("post_promote is stopped: 50 of 100 answers" in line for line in (log.log.lines if log.log else ()))
    await shop.patrol(2, 1)
    assert served(shop) == (BLUE,)
    at_rest(shop)


async def test_what_is_still_at_its_gates_makes_way_for_taking_back_what_is_bad(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    await shop.deploy("v3")
    await shop.stage()
    operations, said = Operations(shop.world), shop.said.append
    alerts = Alerts(shop.world, said, {}, lambda: None)
    settle = Settle(
        shop.world, operations, Restorer(shop.world, operations, alerts, said), Looks(shop.world, alerts), said
    )
    shop.hands.held = True
    begun = await shop.promote(wait_s=0)
    shop.machine.traffic[GREEN] = Traffic(requests=100, errors=50)
    assert await settle.look("prod", probing=False)
    await shop.work()
    assert shop.world.journals.load(str(begun.operation_id)).phase is Phase.CANCELLED
    assert await settle.look("prod", probing=False)
    await shop.work()
    assert served(shop) == (BLUE,)
    at_rest(shop)


async def test_what_is_replaced_in_place_behind_an_edge_is_judged_by_its_users_too(shop: Shop) -> None:
    await settled(shop)
    await shop.manager.up("shared", ANN)
    shop.machine.memory = 10
    v2 = shop.record().release
    assert (await shop.ship("v3")).outcome == "promoted"
    shop.machine.traffic[GREEN] = Traffic(requests=100, errors=50)
    await shop.patrol(2, 1)
    assert shop.record().release == v2
    assert shop.record().returned
    at_rest(shop)


async def test_without_room_for_two_it_is_replaced_in_place_and_the_plan_says_so(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.patrol(330)
    shop.machine.memory = 10
    await shop.deploy("v3")
    await shop.stage()
    plan = await shop.manager.plan("staging", "prod", ANN)
    assert plan.strategy == "recreate"
    assert any("of memory, and" in warning for warning in plan.warnings)
    assert (await shop.promote()).outcome == "promoted"
    assert served(shop) == (GREEN,)
    assert shop.record().slot is Slot.GREEN
    assert shop.machine.of(BLUE) == [], "what it could have gone back to in one step is out of date"
    at_rest(shop)


async def test_what_nobody_could_measure_is_told_in_the_plan(shop: Shop) -> None:
    await settled(shop)
    await shop.deploy("v3")
    await shop.stage()
    shop.machine.unmeasured = 1
    plan = await shop.manager.plan("staging", "prod", ANN)
    assert plan.strategy == "blue_green"
    assert "nobody can tell how much memory 1 of prod's containers use: they are not counted" in plan.warnings
    shop.machine.unmeasured = 2
    plan = await shop.manager.plan("staging", "prod", ANN)
    assert "nobody can tell how much memory prod uses: whether there is enough is not checked" in plan.warnings


async def test_a_port_that_nobody_listens_on_any_more_is_told_in_the_plan(shop: Shop) -> None:
    await shop.deploy("v1")
    await shop.stage()
    plan = await shop.manager.plan("staging", "prod", ANN)
    assert (
        "api is not published on 20200, as its Compose file says: people reach it on 9001, by the edge" in plan.warnings
    )


async def test_without_an_edge_nothing_begins(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.deploy("v3")
    await shop.stage()
    shop.machine.edge_away = True
    with pytest.raises(InvalidTransition, match="the edge does not answer"):
        await shop.promote()
    at_rest(shop)


@pytest.mark.promise(9)
async def test_what_the_edge_refuses_keeps_new_releases_out_and_no_way_back_closed(shop: Shop) -> None:
    await settled(shop)
    await shop.deploy("v3")
    await shop.stage()
    shop.machine.edge_refuses, shop.machine.store = True, 0
    with pytest.raises(InvalidTransition, match="0 MB are free where Docker keeps images"):
        await shop.promote()
    shop.machine.store = 2**40
    with pytest.raises(ConfigInvalid, match="HAProxy refuses"):
        await shop.promote()
    shop.machine.store = 0
    answer = await shop.rollback()
    assert (answer.outcome, served(shop)) == ("rolled_back", (BLUE,))
    log = await shop.manager.operation(str(answer.operation_id), include_log=True)
    said = [line for line in (log.log.lines if log.log else ()) if "going back all the same" in line]
    assert len(said) == 2, "told, both of it"
    at_rest(shop)


@pytest.mark.promise(9)
async def test_the_monitor_takes_back_past_a_configuration_that_the_edge_refuses(folder: Path) -> None:
    shop = Shop(folder / "shop", config=twins(strategy="recreate", green=None))
    first = str((await shop.ship("v1")).release)
    await shop.ship("v2")
    await shop.manager.up("shared", ANN)
    shop.machine.edge_refuses = True
    shop.turn("v2", NEVER)
    await shop.patrol(135)
    assert (shop.record().release, shop.record().stuck) == (first, None)
    at_rest(shop)


async def test_users_stay_where_they_are_when_somebody_removes_the_edges_map(shop: Shop) -> None:
    await settled(shop)
    await shop.deploy("v3", NEVER)
    await shop.stage()
    shop.machine.on_file.clear()
    await shop.manager.up("shared", ANN)
    assert served(shop) == (GREEN,)
    shop.machine.on_file.clear()
    assert (await shop.promote()).outcome == "rolled_back"
    assert served(shop) == (GREEN,)
    at_rest(shop)


async def test_nobody_meets_a_release_that_starts_where_the_edge_has_strayed_to(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.deploy("v3", NEVER)
    await shop.stage()
    await shop.world.edge.route("prod", Route(slot=Slot.BLUE))
    assert (await shop.promote()).outcome == "rolled_back"
    assert served(shop) == (GREEN,)
    at_rest(shop)


async def test_users_are_not_sent_back_from_a_switch_whose_worker_died_before_the_record(
    shop: Shop, folder: Path
) -> None:
    """The monitor looked before that worker died, and finds users elsewhere than recorded after it."""
    await two_in_prod()(shop)
    undisturbed, cut = (reopened(shop.snapshot(), folder / name) for name in ("undisturbed", "cut"))
    await undisturbed.rollback()
    cut.boot(undisturbed.power.effects.index("users of prod") + 1)
    await cut.until_cut(cut.rollback())
    cut.boot()
    assert (served(cut), cut.record().slot) == ((BLUE,), Slot.GREEN)
    assert await routes.kept(cut.world, {"prod": cut.record()}, cut.said.append) is None
    assert (served(cut), cut.said) == ((BLUE,), [])
    await cut.recover()
    assert (served(cut), cut.record().slot) == ((BLUE,), Slot.BLUE)
    at_rest(cut)


async def test_the_monitor_sends_strayed_users_back(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.world.edge.route("prod", Route(slot=Slot.BLUE))
    found = {finding.check: finding for finding in (await shop.manager.doctor("quick")).findings}
    assert not found["edge"].ok
    assert found["edge"].detail == "users of prod are sent to blue instead of green"
    await shop.patrol(15)
    assert served(shop) == (GREEN,)
    at_rest(shop)


@pytest.mark.promise(10)
async def test_bad_answers_while_the_backbone_is_down_are_held_against_nobody(shop: Shop) -> None:
    await two_in_prod()(shop)
    shop.machine.traffic[GREEN] = Traffic(requests=100, errors=50)
    await shop.patrol(60, 5)
    assert served(shop) == (GREEN,)
    assert any("but held: the backbone is down" in line for line in shop.said)
    at_rest(shop)


async def test_what_was_taken_down_while_it_settled_stays_down(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    await shop.down()
    shop.machine.traffic[GREEN] = Traffic(requests=100, errors=100)
    await shop.patrol(60, 5)
    assert not shop.record().running
    assert not shop.record().quarantine
    at_rest(shop)


async def test_what_is_replaced_in_place_is_not_judged_by_its_gap(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    shop.machine.memory = 10
    await shop.deploy("v3")
    await shop.stage()

    async def nobody_there() -> None:
        if any(container.spec.image == image_id("web", "v3") for container in shop.machine.of(GREEN)):
            shop.machine.traffic[GREEN] = Traffic(requests=100, errors=100)
        await shop.work()

    shop.clock.meanwhile = nobody_there
    assert (await shop.promote()).outcome == "promoted"
    assert shop.machine.traffic[GREEN].errors == 100
    await shop.patrol(60, 5)
    assert not shop.record().returned
    await shop.patrol(300)
    assert shop.record().settling is None
    at_rest(shop)


async def test_a_rollback_past_another_release_of_the_same_images_brings_that_very_one(shop: Shop) -> None:
    first = str((await shop.ship("v1")).release)
    shop.machine.environment["COLOUR"] = "red"
    await shop.promote()
    await shop.ship("v2")
    assert (await shop.rollback(release=first)).release == first
    assert {c.labels["aither.rings.release"] for c in shop.machine.of(served(shop)[0])} == {first}
    at_rest(shop)


async def test_a_second_slot_that_rings_yaml_lost_is_told_and_what_serves_is_left_alone(
    shop: Shop, folder: Path
) -> None:
    await two_in_prod()(shop)
    snapshot = shop.snapshot()
    lost = reopened(replace(snapshot, settings=twins(green=None)), folder / "lost")
    with pytest.raises(ConfigInvalid, match="runs in its slot green"):
        await lost.promote()
    assert statuses(lost, GREEN) == {"running"}
    assert served(lost) == (GREEN,)


async def test_a_slot_that_died_with_its_worker_is_not_switched_to_and_users_stay(shop: Shop, folder: Path) -> None:
    """The worker of a rollback dies just before the switch; what waited is ill when it is carried on."""
    await two_in_prod()(shop)
    undisturbed, cut = (reopened(shop.snapshot(), folder / name) for name in ("undisturbed", "cut"))
    await undisturbed.rollback()
    cut.boot(undisturbed.power.effects.index("edge file prod") + 1)
    await cut.until_cut(cut.rollback())
    cut.boot()
    cut.turn("v1", NEVER)
    await cut.recover()
    assert served(cut) == (GREEN,)
    assert not cut.record().stuck
    at_rest(cut)


async def test_recover_ends_what_nobody_watched(shop: Shop) -> None:
    await two_in_prod()(shop)
    assert (await shop.manager.recover()).resumed == ()
    shop.clock.seconds += 330
    (settled_by,) = (await shop.manager.recover()).resumed
    assert (await shop.manager.operation(settled_by)).result
    assert statuses(shop, BLUE) == {"exited"}
    at_rest(shop)


async def test_down_leaves_no_slot(shop: Shop) -> None:
    await two_in_prod()(shop)
    assert (await shop.down()).outcome == "down"
    assert shop.machine.of(BLUE) == shop.machine.of(GREEN) == []
    assert (await shop.up()).outcome == "up"
    assert served(shop) == (BLUE,)
    at_rest(shop)


@pytest.fixture
def rolling(folder: Path) -> Shop:
    return Shop(folder / "rolling", config=twins(strategy="rolling"))


async def test_service_by_service_never_needs_more_than_one_of_them_twice(rolling: Shop) -> None:
    await rolling.ship("v1")
    effects = len(rolling.machine.power.effects)
    answer = await rolling.ship("v2")
    assert answer.outcome == "promoted"
    assert answer.verification
    assert (answer.verification.images_match, answer.verification.healthy) == (True, 2)
    told = [name for name in rolling.machine.power.effects[effects:] if name.split()[0] in {"start", "stop"}]
    assert [name for name in told if "shop-prod" in name] == [
        f"start {GREEN}/api", f"stop {BLUE}/api", f"start {GREEN}/web", f"stop {BLUE}/web",
    ]  # fmt: skip
    assert served(rolling) == (GREEN,)
    at_rest(rolling)


async def test_where_no_service_more_has_room_all_are_replaced_in_place(rolling: Shop) -> None:
    await rolling.ship("v1")
    rolling.machine.memory = 130 * 2**20
    await rolling.ship("v2")
    assert served(rolling) == (GREEN,), "125 MB are enough for one service more"
    rolling.machine.memory = 120 * 2**20
    await rolling.deploy("v3")
    await rolling.stage()
    plan = await rolling.manager.plan("staging", "prod", ANN)
    assert plan.strategy == "recreate"
    assert any("one more service needs about 125 MB of memory" in warning for warning in plan.warnings)


async def test_the_first_service_that_is_not_well_stops_it_and_what_moved_returns(rolling: Shop) -> None:
    await rolling.ship("v1")
    await rolling.deploy("v2")
    rolling.machine.images[image_id("web", "v2")] = NEVER
    rolling.machine.met.clear()
    await rolling.stage()
    answer = await rolling.promote()
    assert answer.outcome == "rolled_back"
    assert "web: " in str(answer.verification and answer.verification.reason)
    assert served(rolling) == (BLUE,)
    assert statuses(rolling, BLUE) == {"running"}
    assert image_id("web", "v2") not in rolling.machine.met
    at_rest(rolling)


async def test_a_rollback_goes_service_by_service_too(rolling: Shop) -> None:
    await two_in_prod()(rolling)
    assert (await rolling.rollback()).outcome == "rolled_back"
    assert served(rolling) == (BLUE,)
    assert statuses(rolling, GREEN) == {"exited"}
    at_rest(rolling)


async def test_a_rollback_that_gets_stuck_half_way_returns_to_what_served(rolling: Shop) -> None:
    await two_in_prod()(rolling)
    rolling.turn("v1", NEVER)
    with pytest.raises(EngineFailure, match="stays on"):
        await rolling.rollback()
    assert served(rolling) == (GREEN,)
    assert statuses(rolling, GREEN) == {"running"}


async def test_images_for_another_machine_are_told_in_the_plan(shop: Shop) -> None:
    await shop.deploy("v1")
    await shop.stage()
    shop.machine.architecture = "arm64"
    plan = await shop.manager.plan("staging", "prod", ANN)
    assert "the image of api is for amd64, and this machine is arm64" in plan.warnings
