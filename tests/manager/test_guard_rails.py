"""Freezes and what agents may spend: what they stop, what they never stop, and that nothing is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.checks import at_rest, everything
from fakes.machine import Fault
from fakes.shop import ANN, BOT, EVE, Shop, Snapshot, reopened, settings

from aither_rings_mcp.domain.budget import guarded
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, RingFrozen, UnknownRing
from aither_rings_mcp.domain.model import Actor, Event, Override
from aither_rings_mcp.domain.rollout import Phase
from aither_rings_mcp.manager.budgeting import Budget

OTTO = Actor(name="otto", kind="agent", door="mcp")
NEVER = Fault("never-healthy", "shop-prod")


def told(shop: Shop, *events: str) -> list[tuple[str, str, str, str | None]]:
    """Oldest first."""
    found, _ = shop.world.history.read(100, where=lambda event: event.event in events)
    return [(event.event, event.ring, event.actor, event.reason) for event in reversed(found)]


def windowed(so_far: Snapshot, folder: Path, ring: str = "prod") -> Shop:
    """The busy shop; the clock starts at noon on a Saturday."""
    rings = settings().model_dump(mode="json", by_alias=True, exclude_unset=True)["rings"]
    window = {"cron": "0 12 * * sat", "for": "2h", "reason": "stock-taking"}
    rings[ring] = {**rings[ring], "freeze": [window]}
    return reopened(Snapshot(so_far.machine, so_far.folder, settings(rings=rings)), folder / "shop", tampering=True)


async def refused(shop: Shop, asked: Any, kind: type[Exception] = RingFrozen, match: str | None = None) -> Any:
    before = everything(shop)
    with pytest.raises(kind, match=match) as caught:
        await asked
    assert everything(shop) == before
    return caught.value


# -- freezes


async def test_a_frozen_ring_takes_no_promotion_and_says_who_why_and_until_when(busy_shop: Shop) -> None:
    answer = await busy_shop.manager.freeze("prod", ANN, "stock-taking", for_s=7200)
    assert (answer.ring, answer.changed) == ("prod", True)
    for actor in (ANN, EVE, BOT):
        asked = busy_shop.manager.promote("staging", "prod", actor)
        error = await refused(busy_shop, asked, match=r"prod is frozen by ann .* until .*: stock-taking")
        assert error.exit_code == 4
        assert error.details["until"] == (busy_shop.clock.now() + timedelta(hours=2)).isoformat()
    busy_shop.clock.seconds += 7200
    assert (await busy_shop.ship("v4")).outcome == "promoted"
    at_rest(busy_shop)


async def test_thaw_lets_new_releases_in_again_and_both_are_told(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    await refused(busy_shop, busy_shop.promote())
    await busy_shop.manager.thaw("prod", EVE, "all counted")
    assert (await busy_shop.promote()).outcome == "promoted"
    assert told(busy_shop, "freeze", "thaw") == [
        ("freeze", "prod", str(ANN), "stock-taking"),
        ("thaw", "prod", str(EVE), "all counted"),
    ]
    at_rest(busy_shop)


async def test_a_gate_can_be_frozen_and_so_can_the_ring_that_builds(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("staging", ANN, "audit of the candidate")
    await refused(busy_shop, busy_shop.stage(), match="staging is frozen")
    assert (await busy_shop.promote()).outcome == "promoted", "what is in it already may go on"
    await busy_shop.manager.freeze("dev", ANN, "demo at three")
    busy_shop.machine.source = "v4"
    await refused(busy_shop, busy_shop.manager.deploy("dev", ANN), match="dev is frozen")


async def test_freezing_what_is_frozen_and_thawing_what_is_not_says_so_and_changes_nothing(busy_shop: Shop) -> None:
    before = everything(busy_shop)
    thawed = await busy_shop.manager.thaw("prod", ANN)
    assert (thawed.ok, thawed.changed, thawed.summary) == (True, False, "prod is not frozen; nothing was changed.")
    assert everything(busy_shop) == before
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    before = everything(busy_shop)
    again = await busy_shop.manager.freeze("prod", EVE, "another reason")
    assert again.changed is False
    assert "frozen already, by ann" in again.summary
    assert everything(busy_shop) == before


async def test_going_back_starting_stopping_healing_and_recovering_are_never_stopped(busy_shop: Shop) -> None:
    await busy_shop.promote()
    await busy_shop.manager.up("shared", ANN)
    for ring in busy_shop.settings.rings:
        await busy_shop.manager.freeze(ring, ANN, "nobody moves")
    busy_shop.turn("v3", Fault("never-healthy"))
    await busy_shop.patrol(150)
    assert busy_shop.record().tag == "prod-7632000", "the monitor took it back"
    assert (await busy_shop.manager.rollback("prod", BOT)).outcome == "rolled_back"
    assert (await busy_shop.down()).outcome == "down"
    assert (await busy_shop.up()).outcome == "up"
    assert busy_shop.record().frozen


async def test_what_was_interrupted_before_the_freeze_is_carried_on(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    await busy_shop.promote(wait_s=0)
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    busy_shop.boot()
    await busy_shop.recover()
    assert busy_shop.operations()[0].phase is Phase.DONE
    assert busy_shop.record().frozen, "and what is recorded of the ring is recorded beside it"


@pytest.mark.promise(14)
async def test_an_override_passes_a_freeze_and_the_history_says_which(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    answer = await busy_shop.promote(override=Override(by="ann", reason="hotfix"))
    assert answer.outcome == "promoted"
    ((event,), _) = busy_shop.world.history.read(1)
    assert event.reason == "hotfix"
    assert event.detail is not None
    assert event.detail.startswith("forced past a freeze by ann")


async def test_a_plan_of_a_frozen_ring_can_be_made_and_warns(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    plan = await busy_shop.manager.plan("staging", "prod", BOT)
    assert [warning for warning in plan.warnings if warning.startswith("prod is frozen by ann")]
    assert plan.next_actions == (), "what would only be refused makes no sense now"
    dry = await busy_shop.promote(dry_run=True)
    assert (dry.outcome, dry.plan.warnings) == ("dry_run", plan.warnings)


async def test_status_tells_a_freeze(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("prod", ANN, "until postgres://app:hunter2@db/x is moved")
    dev, staging, prod = (await busy_shop.manager.status()).rings
    assert (dev.frozen, staging.frozen) == (None, None)
    assert prod.frozen is not None
    assert prod.frozen.startswith("by ann (person via cli) since 2026-01-31")
    assert "hunter2" not in prod.frozen + str(told(busy_shop, "freeze"))


async def test_a_window_of_the_config_opens_and_closes_by_itself(shop_so_far: Snapshot, folder: Path) -> None:
    shop = windowed(shop_so_far, folder)
    error = await refused(shop, shop.promote(), match=r"prod is frozen by its freeze window \(0 12 \* \* sat, UTC\)")
    assert error.details["freeze"] == "window"
    assert "--force" in error.next_step
    thawed = await shop.manager.thaw("prod", ANN)
    assert (thawed.changed, "ends by itself" in thawed.summary) == (False, True)
    assert (await shop.manager.status("prod")).rings[0].frozen
    shop.clock.seconds = 2 * 3600
    assert (await shop.ship("v4")).outcome == "promoted"


async def test_what_is_frozen_by_hand_and_by_a_window_stays_frozen_when_it_is_thawed(
    shop_so_far: Snapshot, folder: Path
) -> None:
    shop = windowed(shop_so_far, folder)
    await shop.manager.freeze("prod", ANN, "stock-taking")
    thawed = await shop.manager.thaw("prod", ANN)
    assert (thawed.changed, "but still frozen by its freeze window" in thawed.summary) == (True, True)
    await refused(shop, shop.promote(), match="window")


async def test_an_agent_may_freeze_but_only_a_person_thaws(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("prod", BOT, "error rate rises")
    await refused(busy_shop, busy_shop.manager.thaw("prod", BOT), Forbidden, "may not thaw")
    assert (await busy_shop.manager.thaw("prod", ANN)).changed


@pytest.mark.parametrize(
    ("ring", "reason", "for_s", "kind"),
    [
        ("prd", "why not", None, UnknownRing),
        ("prod", " x ", None, InvalidArguments),
        ("prod", "why not", 0.0, InvalidArguments),
        ("prod", "why not", -1.0, InvalidArguments),
        ("prod", "why not", 1e300, InvalidArguments),
        ("prod", "why not", float("nan"), InvalidArguments),
    ],
)
async def test_a_freeze_that_makes_no_sense_is_refused(
    busy_shop: Shop, ring: str, reason: str, for_s: float | None, kind: type[Exception]
) -> None:
    await refused(busy_shop, busy_shop.manager.freeze(ring, ANN, reason, for_s=for_s), kind)


# -- what agents may spend


async def ship(shop: Shop, source: str, actor: Actor = BOT, fault: Fault | None = None, **other: Any) -> Any:
    """Through all rings, the last of them asked for by `actor`."""
    await shop.deploy(source, fault)
    await shop.stage()
    return await shop.manager.promote("staging", "prod", actor, **other)


async def test_an_agent_that_spent_its_hour_waits_for_the_time_it_was_told(shop_so_far: Snapshot, folder: Path) -> None:
    config = shop_so_far.settings.model_copy(
        update={"agents": shop_so_far.settings.agents.model_copy(update={"changes_per_hour": 2})}
    )
    shop = reopened(Snapshot(shop_so_far.machine, shop_so_far.folder, config), folder / "shop", tampering=True)
    began = shop.clock.now()
    assert (await shop.manager.promote("staging", "prod", BOT)).outcome == "promoted"
    assert (await ship(shop, "v4")).outcome == "promoted"
    await shop.deploy("v5")
    await shop.stage()
    asked = shop.manager.promote("staging", "prod", BOT)
    error = await refused(shop, asked, Forbidden, r"bot .* has made 2 changes within an hour, and agents may make 2")
    told_ = error.details
    assert (told_["reason_code"], told_["limit"], told_["used"]) == ("budget", 2, 2)
    assert told_["retry_at"] == (began + timedelta(hours=1)).isoformat()
    # others are others, and what users do not meet does not count
    assert (await shop.manager.promote("dev", "staging", BOT)).outcome == "candidate_tagged"
    assert (await shop.manager.promote("staging", "prod", OTTO, dry_run=True)).outcome == "dry_run"
    assert (await shop.manager.rollback("prod", BOT)).outcome == "rolled_back", "the way back is always open"
    shop.boot()
    await refused(shop, shop.manager.promote("staging", "prod", BOT), Forbidden, "3 changes")
    assert (await shop.manager.promote("staging", "prod", ANN)).outcome == "promoted"


async def test_what_an_agent_has_under_way_counts_already(busy_shop: Shop) -> None:
    rule = busy_shop.settings.agents.model_copy(update={"changes_per_hour": 1})
    world = replace(busy_shop.world, settings=busy_shop.settings.model_copy(update={"agents": rule}))
    Budget(world).check(BOT, "staging", "prod")
    busy_shop.hands.held = True
    await busy_shop.manager.promote("staging", "prod", BOT, wait_s=0)
    with pytest.raises(Forbidden, match="1 change within an hour"):
        Budget(world).check(BOT, "staging", "prod")
    Budget(world).check(OTTO, "staging", "prod")


def test_what_counts_is_what_users_meet(shop: Shop) -> None:
    assert guarded(shop.settings) == {"prod"}, "neither the gate nor the ring that builds"


async def test_after_a_promotion_that_went_back_an_agent_waits_and_twice_as_long_after_the_next(
    busy_shop: Shop,
) -> None:
    for source, wait, row in (("v4", 60, 1), ("v5", 120, 2)):
        assert (await ship(busy_shop, source, fault=NEVER)).outcome == "rolled_back"
        ended = busy_shop.clock.now()
        await busy_shop.deploy(f"{source} mended")
        await busy_shop.stage()
        error = await refused(busy_shop, busy_shop.manager.promote("staging", "prod", BOT), Forbidden, "went back")
        assert (error.details["reason_code"], error.details["limit"], error.details["used"]) == ("cooldown", wait, row)
        assert f"Ask again at {ended + timedelta(seconds=wait):%Y-%m-%d %H:%M}" in error.next_step
        busy_shop.boot()
        await refused(busy_shop, busy_shop.manager.promote("staging", "prod", BOT), Forbidden, "went back")
        busy_shop.clock.seconds += wait
    assert (await ship(busy_shop, "v6")).outcome == "promoted"
    assert (await ship(busy_shop, "v7")).outcome == "promoted", "one that stayed ends the row"


async def test_after_three_in_a_row_only_people_promote_until_one_stays(busy_shop: Shop) -> None:
    for source, actor in (("v4", ANN), ("v5", BOT), ("v6", OTTO)):
        assert (await ship(busy_shop, source, actor, NEVER)).outcome == "rolled_back"
    busy_shop.clock.seconds += 86400
    await busy_shop.deploy("v7")
    await busy_shop.stage()
    for actor in (BOT, OTTO):
        error = await refused(
            busy_shop, busy_shop.manager.promote("staging", "prod", actor), Forbidden, "only people promote into it"
        )
        assert error.details["reason_code"] == "breaker"
        assert "retry_at" not in error.details
        assert "`ring-ctl promote staging prod`" in error.next_step
    assert (await busy_shop.promote()).outcome == "promoted"
    assert (await ship(busy_shop, "v8")).outcome == "promoted"


async def test_what_the_monitor_takes_back_counts_against_who_promoted_it(busy_shop: Shop) -> None:
    await busy_shop.manager.up("shared", ANN)
    assert (await busy_shop.manager.promote("staging", "prod", BOT)).outcome == "promoted"
    busy_shop.turn("v3", Fault("never-healthy"))
    while busy_shop.record().taken_back == ():
        await busy_shop.patrol(15)
    await busy_shop.deploy("v4")
    await busy_shop.stage()
    await refused(busy_shop, busy_shop.manager.promote("staging", "prod", BOT), Forbidden, "went back")


async def test_no_guard_rail_hides_the_operation_of_a_repeated_key(busy_shop: Shop) -> None:
    first = await ship(busy_shop, "v4", fault=NEVER, idempotency_key="k")
    assert first.outcome == "rolled_back"
    again = await busy_shop.manager.promote("staging", "prod", BOT, idempotency_key="k")
    assert again.operation_id == first.operation_id, "and not: cool-down"
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    again = await busy_shop.manager.promote("staging", "prod", BOT, idempotency_key="k")
    assert again.operation_id == first.operation_id, "and not: frozen"


async def test_a_forced_promotion_is_found_again_by_its_key_after_the_thaw(busy_shop: Shop) -> None:
    await busy_shop.manager.freeze("prod", ANN, "stock-taking")
    forced: dict[str, Any] = {"override": Override(by="ann", reason="hotfix"), "idempotency_key": "k"}
    first = await busy_shop.promote(**forced)
    await busy_shop.manager.thaw("prod", ANN)
    assert (await busy_shop.promote(**forced)).operation_id == first.operation_id


async def test_force_is_no_way_round_the_budget(busy_shop: Shop) -> None:
    await ship(busy_shop, "v4", fault=NEVER)
    override = Override(by="bot", reason="it has to")
    asked = busy_shop.manager.promote("staging", "prod", BOT, override=override)
    await refused(busy_shop, asked, Forbidden, "went back")


async def test_a_freeze_that_comes_while_a_promotion_is_worked_out_still_stops_it(busy_shop: Shop) -> None:
    render = busy_shop.world.compose.render

    async def frozen_meanwhile(ring: str) -> Any:
        await busy_shop.manager.freeze("prod", EVE, "stop everything")
        return await render(ring)

    busy_shop.world.compose.render = frozen_meanwhile  # type: ignore[method-assign]
    with pytest.raises(RingFrozen):
        await busy_shop.promote()
    assert busy_shop.operations()[0].request.ring == "staging"
    at_rest(busy_shop)


async def test_failures_are_not_washed_away_by_busy_work_elsewhere(busy_shop: Shop) -> None:
    for source in ("v4", "v5", "v6"):
        await ship(busy_shop, source, ANN, NEVER)
    busy_shop.clock.seconds += 86400
    ((deployed,), _) = busy_shop.world.history.read(1, where=lambda event: event.event == "deploy")
    another = Event.model_validate(deployed.model_dump(exclude={"seq", "prev", "hash"}))
    for number in range(250):
        busy_shop.world.history.append(another.model_copy(update={"operation": f"op-{number}"}))
    busy_shop.world.journals.prune(0)
    await busy_shop.deploy("v7")
    await busy_shop.stage()
    await refused(busy_shop, busy_shop.manager.promote("staging", "prod", BOT), Forbidden, "only people")
