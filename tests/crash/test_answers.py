"""A person's answer, cut off at every effect: it counts when the history has it, once, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fakes.shop import BOT, EVE, Shop, Snapshot, reopened
from fakes.stories import candidate, with_approval

from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.domain.model import Event

pytestmark = [pytest.mark.promise(5), pytest.mark.promise(12), pytest.mark.promise(13)]


@pytest.fixture(scope="module")
def asked(memory: Path) -> Snapshot:
    """v3 waits for a person on its way to prod."""

    async def told() -> Snapshot:
        shop = Shop(memory / "asked", config=with_approval())
        await candidate()(shop)
        plan = await shop.manager.plan("staging", "prod", BOT)
        (shop.folder / "plan").write_text(plan.plan_id)
        return shop.snapshot()

    return asyncio.run(told())


def plan_of(shop: Shop) -> str:
    return (shop.folder / "plan").read_text()


async def answer(shop: Shop) -> None:
    await shop.manager.answer_plan(plan_of(shop), True, EVE, "go")


async def applied(shop: Shop) -> str:
    shop.clock.seconds += 10
    return (await shop.manager.promote("staging", "prod", BOT, plan_id=plan_of(shop))).outcome


def answers(shop: Shop) -> list[tuple[str, str, str | None]]:
    assert shop.world.history.verify()[2] is None
    events, _ = shop.world.history.read(1000, None, lambda event: event.event == "approval" and bool(event.operation))
    return [(event.operation, event.outcome, event.reason) for event in events]


@pytest.mark.parametrize("names_survive", [True, False])
@pytest.mark.parametrize("again", [True, False], ids=["who answered does so again", "nobody answers again"])
async def test_an_answer_that_was_cut_off_counts_only_with_its_event(
    asked: Snapshot, memory: Path, names_survive: bool, again: bool
) -> None:
    undisturbed = reopened(asked, memory / f"undisturbed {names_survive} {again}")
    await answer(undisturbed)
    effects = len(undisturbed.power.effects)
    undisturbed.close()
    assert effects > 5
    ends: set[str] = set()
    for at in range(1, effects + 1):
        shop = reopened(asked, memory / f"{at} {names_survive} {again}")
        shop.boot(at, names_survive=names_survive)
        await shop.until_cut(answer(shop))
        assert shop.power.dead
        shop.boot()
        if again:
            try:
                await answer(shop)
            except InvalidArguments as error:
                assert error.details["refused"] == "answered_already", at
        outcome = await applied(shop)
        assert outcome == "promoted" or not again, at
        assert answers(shop) == ([(plan_of(shop), "approved", "go")] if outcome == "promoted" else []), at
        ends.add(outcome)
        shop.close()
    assert ends == ({"promoted"} if again else {"promoted", "approval_required"})


async def test_an_answer_that_is_long_in_the_history_is_not_told_again(asked: Snapshot, memory: Path) -> None:
    """Cut off after its event, and carried on after so many others that the history itself does not notice."""
    shop = reopened(asked, memory / "long ago")
    plan = shop.world.plans.load(plan_of(shop))
    await answer(shop)
    path = shop.folder / "state" / "plans" / f"{plan.id}.answer.json"
    text = path.read_text()
    path.unlink()  # the snapshot may share it
    path.write_text(text.replace('"told": true', '"told": false'))
    assert shop.world.plans.approval(plan, shop.clock.now()) is None
    alert = Event(at=shop.clock.now(), ring="prod", event="alert", outcome="told", operation="", actor="monitor")
    for _ in range(300):
        shop.world.history.append(alert)
    assert await applied(shop) == "promoted"
    assert answers(shop) == [(plan.id, "approved", "go")]
    shop.close()
