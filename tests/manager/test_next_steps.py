"""What an answer offers next: calls that can be made as they stand, and how far the doctor looked."""

from __future__ import annotations

import pytest
from fakes.shop import ANN, Shop

from aither_rings_mcp.domain.answers import Progress
from aither_rings_mcp.domain.settings import Path


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
