"""What changed is seen by the files alone, ring by ring; and an operation's id is told before it is waited for."""

from __future__ import annotations

import pytest
from fakes.shop import ANN, Shop

from aither_rings_mcp.domain.errors import OperationNotFound


async def test_only_the_ring_that_changes_has_another_mark_and_its_operation_is_new(busy_shop: Shop) -> None:
    before = busy_shop.manager.standing()
    assert busy_shop.manager.standing(before) == before
    busy_shop.hands.held = True
    started: list[str] = []
    await busy_shop.manager.promote("staging", "prod", ANN, wait_s=0, started=started.append)
    (operation,) = started
    during = busy_shop.manager.standing(before)
    assert [ring for ring in before.rings if before.rings[ring] != during.rings[ring]] == ["prod"]
    assert set(during.operations) - set(before.operations) == {operation}
    assert set(during.logs) == {operation}
    await busy_shop.work()
    after = busy_shop.manager.standing(during)
    assert [ring for ring in before.rings if during.rings[ring] != after.rings[ring]] == ["prod"]
    assert after.operations[operation] != during.operations[operation]
    assert after.logs == {}


async def test_a_state_that_cannot_be_read_is_a_change_of_every_ring(busy_shop: Shop) -> None:
    before = busy_shop.manager.standing()
    (busy_shop.folder / "state" / "rings-state.json").write_text("{")
    after = busy_shop.manager.standing(before)
    assert all(before.rings[ring] != after.rings[ring] for ring in before.rings)


async def test_a_call_that_joins_an_operation_by_its_key_is_told_the_same_id(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    told: list[str] = []
    for _ in range(2):
        await busy_shop.manager.promote("staging", "prod", ANN, wait_s=0, idempotency_key="once", started=told.append)
    assert len(told) == 2
    assert len(set(told)) == 1


async def test_the_end_of_a_log_is_its_last_lines(busy_shop: Shop) -> None:
    newest = busy_shop.manager.recent_operations()[0]
    for number in range(2500):
        busy_shop.world.logs.append(newest, f"line {number}")
    tail = await busy_shop.manager.log_tail(newest, 3)
    assert [line.split(" ", 1)[1] for line in tail.lines] == ["line 2497", "line 2498", "line 2499"]
    with pytest.raises(OperationNotFound):
        await busy_shop.manager.log_tail("op-0", 3)
    with pytest.raises(OperationNotFound):
        await busy_shop.manager.log_tail("../../etc", 3)
