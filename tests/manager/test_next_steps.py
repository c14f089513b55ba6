"""What an answer offers next: calls that can be made as they stand, and how far the doctor looked."""

from __future__ import annotations

import pytest
from fakes.machine import Fault
from fakes.shop import ANN, Shop, settings

from aither_rings_mcp.domain.answers import HealthAnswer, Progress
from aither_rings_mcp.domain.settings import Path
from aither_rings_mcp.manager.world import MONITOR_CLAIM


async def test_a_new_candidate_offers_the_one_way_onward(shop: Shop) -> None:
    await shop.deploy("v1")
    answer = await shop.stage()
    path = {"source": "staging", "target": "prod"}
    assert [(action.tool, action.arguments) for action in answer.next_actions] == [
        ("ring_plan", path), ("ring_promote", path),
    ]  # fmt: skip
    seen = await shop.manager.operation(str(answer.operation_id))
    assert seen.next_actions == answer.next_actions


async def test_a_candidate_with_several_ways_onward_offers_none_of_them(shop: Shop) -> None:
    paths = (*shop.settings.paths, Path(source="staging", target="dev"))
    shop.settings = shop.settings.model_copy(update={"paths": paths})
    shop.boot()
    await shop.deploy("v1")
    assert (await shop.stage()).next_actions == ()


async def test_a_quick_doctor_looks_from_inside_no_container_and_says_what_it_left_out(
    shop: Shop, busy_shop: Shop
) -> None:
    quick, full = await busy_shop.manager.doctor("quick"), await shop.manager.doctor()
    assert quick.ok
    assert "left out: whether the rings are apart" in quick.summary
    assert not any(finding.check.startswith("isolation:") for finding in quick.findings)
    assert "left out" not in full.summary
    assert any(finding.check.startswith("isolation:") for finding in full.findings)


@pytest.mark.promise(4)
async def test_who_watches_is_told_how_long_each_line_came_after_the_start(busy_shop: Shop) -> None:
    told: list[Progress] = []

    async def watch(progress: Progress) -> None:
        told.append(progress)

    answer = await busy_shop.manager.promote("staging", "prod", ANN, watch=watch)
    live = {progress.message: progress.elapsed_s for progress in told}
    busy_shop.clock.seconds += 3600
    told.clear()
    await busy_shop.manager.operation(str(answer.operation_id), wait_s=None, watch=watch)
    late = {progress.message: progress.elapsed_s for progress in told}
    assert any("-> switching" in message for message in late)
    assert max(late.values()) < 3600, "a log that is read late tells its own times"
    assert {message: late[message] for message in live if message in late} == {
        message: elapsed for message, elapsed in live.items() if message in late
    }


async def test_who_looks_late_is_told_all_of_a_long_log_up_to_its_ending(busy_shop: Shop) -> None:
    told: list[str] = []

    async def watch(progress: Progress) -> None:
        told.append(progress.message)

    busy_shop.hands.held = True
    answer = await busy_shop.manager.promote("staging", "prod", ANN, wait_s=0)
    operation_id = str(answer.operation_id)
    for _ in range(120):
        busy_shop.world.logs.append(operation_id, "  compose | one of many lines")
    await busy_shop.work()
    lines, _ = busy_shop.world.logs.read(operation_id, 0, 1000)
    ending = next(number for number, line in enumerate(lines, 1) if line.endswith("-> done"))
    for _ in range(60):
        busy_shop.world.logs.append(operation_id, "tidied up")
    await busy_shop.manager.operation(operation_id, wait_s=None, watch=watch)
    assert told == list(lines[:ending])


# -- when going back is offered


SICK = Fault("never-healthy")


@pytest.fixture
async def sick(busy_shop: Shop) -> Shop:
    """Prod runs v2, which is not well, and could go back to v1; the backbone is."""
    await busy_shop.manager.up("shared", ANN)
    busy_shop.turn("v2", SICK)
    return busy_shop


async def look(shop: Shop) -> tuple[HealthAnswer, list[str]]:
    answer = await shop.manager.health("prod")
    assert (answer.state, answer.rollback_ready) == ("unhealthy", True)
    return answer, [action.tool for action in answer.next_actions]


async def test_going_back_is_offered_where_nothing_speaks_against_it(sick: Shop) -> None:
    answer, offered = await look(sick)
    assert offered == ["ring_rollback", "ring_history"]
    assert answer.summary.endswith("critical: api.")


@pytest.mark.promise(10)
async def test_no_way_back_is_offered_while_the_backbone_is_ill_but_who_asks_gets_it(sick: Shop) -> None:
    for container in sick.machine.of("shop-shared"):
        sick.machine.stop(container)
    answer, offered = await look(sick)
    assert offered == ["ring_health", "ring_history"]
    assert "the backbone is not well: redis" in answer.summary
    assert (await sick.rollback()).outcome == "rolled_back"


async def test_while_an_operation_is_under_way_following_it_is_what_is_offered(sick: Shop) -> None:
    sick.hands.held = True
    started = await sick.promote(wait_s=0)
    answer, offered = await look(sick)
    assert offered == ["ring_operation"]
    assert answer.next_actions[0].arguments["operation_id"] == started.operation_id
    sick.boot()  # its worker is gone
    answer, offered = await look(sick)
    assert offered == ["ring_operation"]
    assert "was interrupted" in answer.summary


@pytest.mark.promise(7)
async def test_what_the_monitor_will_take_back_is_left_to_it(sick: Shop) -> None:
    claim = sick.world.claims.take(MONITOR_CLAIM, "monitor")
    assert claim
    await sick.patrol(45)
    answer, offered = await look(sick)
    assert offered == ["ring_health", "ring_history"]
    assert "the monitor takes it back in 60 s if that goes on" in answer.summary
    sick.clock.seconds += 3600  # it has settled: from now on a monitor only tells
    assert (await look(sick))[1][0] == "ring_rollback"
    claim.release()
    await look(sick)


@pytest.mark.promise(10)
async def test_what_the_monitor_holds_is_not_offered_to_go_back(sick: Shop) -> None:
    claim = sick.world.claims.take(MONITOR_CLAIM, "monitor")
    assert claim
    sick.turn("v2", Fault())
    await sick.patrol(30)
    for source in ("v2", "v3"):
        sick.turn(source, Fault("never-healthy", frozenset({"shop-prod", "shop-dev"})))
    await sick.patrol(30)
    answer, offered = await look(sick)
    assert offered == ["ring_health", "ring_history"]
    assert "the monitor holds: dev went bad together with prod" in answer.summary
    claim.release()


@pytest.mark.promise(7)
async def test_what_just_came_back_is_not_offered_to_go_back_again(busy_shop: Shop) -> None:
    await busy_shop.manager.up("shared", ANN)
    await busy_shop.promote()
    await busy_shop.rollback()
    busy_shop.turn("v2", SICK)
    answer, (offered,) = await look(busy_shop)
    assert offered == "ring_history"
    assert "it came back from a release before" in answer.summary
    assert (await busy_shop.rollback()).outcome == "rolled_back", "who asks for it gets it"


@pytest.mark.promise(7)
async def test_a_way_back_that_only_a_person_may_go_is_not_offered(sick: Shop) -> None:
    sick.settings = settings(source={"schema": "contract"})
    sick.boot()
    await sick.ship("v4")
    sick.turn("v4", SICK)
    answer, (offered,) = await look(sick)
    assert offered == "ring_history"
    assert "a person decides whether to go back across r-" in answer.summary


@pytest.mark.promise(8)
async def test_a_candidate_that_was_taken_back_onward_is_not_offered_again(busy_shop: Shop) -> None:
    await busy_shop.deploy("bad", Fault("never-healthy", frozenset({"shop-prod"})))
    await busy_shop.stage()
    offered = (await busy_shop.manager.status()).next_actions
    assert "ring_plan" in [action.tool for action in offered]
    assert (await busy_shop.promote()).outcome == "rolled_back"
    offered = (await busy_shop.manager.status()).next_actions
    assert [action.arguments for action in offered if action.tool == "ring_history"] == [{"ring": "prod", "limit": 5}]
    assert "ring_plan" not in [action.tool for action in offered]


async def test_a_short_status_has_no_images(busy_shop: Shop) -> None:
    short, long = await busy_shop.manager.status("staging"), await busy_shop.manager.status("staging", True)
    assert short.rings[0].candidate
    assert short.rings[0].candidate.images is None
    assert long.rings[0].candidate
    assert long.rings[0].candidate.images
