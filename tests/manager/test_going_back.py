"""Going back: by itself once, by hand to what proved itself, and never to what did not."""

from __future__ import annotations

import pytest
from fakes.checks import at_rest, everything, images_running
from fakes.machine import Fault, image_id
from fakes.shop import ANN, EVE, Shop
from fakes.stories import DEV, with_approval

from aither_rings_mcp.domain.errors import EngineFailure, NoRollbackTarget, Quarantined, RingStuck
from aither_rings_mcp.domain.model import Override

BAD = Fault("never-healthy")
FORCED = Override(by="ann", reason="users are waiting")


def turn_bad(shop: Shop, source: str, fault: Fault = BAD) -> None:
    """What was healthy until now is so no more."""
    for service in shop.settings.services:
        shop.machine.images[image_id(service, source)] = fault


def runs(source: str) -> dict[str, str]:
    return {service: image_id(service, source) for service in ("api", "web")}


async def events(shop: Shop, ring: str = "prod") -> list[tuple[str, str]]:
    return [(event.event, event.outcome) for event in (await shop.manager.history(ring, limit=100)).events]


@pytest.mark.promise(2)
async def test_what_reaches_prod_is_what_was_tested_whatever_the_tags_say(busy_shop: Shop) -> None:
    await busy_shop.deploy("v4")
    for service in busy_shop.settings.services:
        for tag in ("dev-latest", "prod-latest", "staging-7633000", "prod-7633000"):
            busy_shop.machine.tags[f"shop-{service}:{tag}"] = image_id(service, "v1")
    assert (await busy_shop.promote()).outcome == "promoted"
    assert images_running(busy_shop) == runs("v3")
    assert busy_shop.record().tag == "prod-7633000"


@pytest.mark.promise(8)
@pytest.mark.parametrize("kind", ["never-healthy", "crash-loop", "late"])
async def test_a_bad_release_is_taken_back_and_does_not_return(shop: Shop, kind: str) -> None:
    await shop.ship("v1")
    answer = await shop.ship("v2", Fault(kind, after=2))  # type: ignore[arg-type]
    assert (answer.ok, answer.outcome) == (False, "rolled_back")
    assert answer.rolled_back_to == shop.record().release
    assert images_running(shop) == runs("v1")
    with pytest.raises(Quarantined):
        await shop.promote()
    assert (await shop.ship("v3")).outcome == "promoted"
    at_rest(shop)


@pytest.mark.promise(11)
async def test_a_crash_looper_does_not_get_the_whole_deadline(shop: Shop) -> None:
    await shop.ship("v1")
    answer = await shop.ship("v2", Fault("crash-loop"))
    assert answer.verification.reason == "crash loop: api, web"
    assert answer.verification.waited_s < shop.settings.limits.healthy


@pytest.mark.promise(7, 12)
async def test_a_restore_that_fails_too_ends_stuck_once_and_nothing_automatic_follows(busy_shop: Shop) -> None:
    turn_bad(busy_shop, "v3")
    turn_bad(busy_shop, "v2")
    answer = await busy_shop.promote()
    assert (answer.ok, answer.outcome) == (False, "stuck")
    assert "never" not in str(busy_shop.record().stuck)
    assert "going back to" in str(busy_shop.record().stuck)
    assert (await events(busy_shop))[0] == ("promote", "stuck")
    before = everything(busy_shop)
    for _ in range(3):
        assert (await busy_shop.manager.recover()).resumed == ()
        with pytest.raises(RingStuck):
            await busy_shop.promote()
    assert everything(busy_shop) == before
    assert (await busy_shop.manager.status("prod")).rings[0].state == "stuck"


@pytest.mark.promise(8)
async def test_a_release_that_left_its_ring_stuck_is_condemned_as_well(busy_shop: Shop) -> None:
    turn_bad(busy_shop, "v3")
    turn_bad(busy_shop, "v2")
    answer = await busy_shop.promote()
    assert busy_shop.record().is_quarantined(answer.release)


@pytest.mark.promise(7)
async def test_a_rollback_is_never_rolled_back(busy_shop: Shop) -> None:
    turn_bad(busy_shop, "v1")
    answer = await busy_shop.rollback()
    assert (answer.ok, answer.outcome) == (False, "stuck")
    assert await events(busy_shop) == [("rollback", "stuck"), ("promote", "promoted"), ("promote", "promoted")]
    assert images_running(busy_shop) == runs("v1")
    assert (await busy_shop.manager.recover()).resumed == ()


async def test_a_person_gets_a_ring_that_is_stuck_back_by_going_further_back(busy_shop: Shop) -> None:
    await busy_shop.promote()
    turn_bad(busy_shop, "v2")
    assert (await busy_shop.rollback()).outcome == "stuck"
    v1 = busy_shop.record().deployments[-1].release
    assert (await busy_shop.rollback(release=v1)).outcome == "rolled_back"
    assert busy_shop.record().stuck is None
    at_rest(busy_shop)


@pytest.mark.parametrize("healthy", [True, False])
async def test_starting_a_stuck_ring_frees_it_only_if_it_is_well(busy_shop: Shop, healthy: bool) -> None:
    turn_bad(busy_shop, "v1")
    await busy_shop.rollback()
    if not healthy:
        turn_bad(busy_shop, "v2")
    answer = await busy_shop.up()
    assert answer.outcome == ("up" if healthy else "unhealthy")
    assert (busy_shop.record().stuck is None) is healthy


# -- where a rollback goes


@pytest.mark.promise(7, 8)
async def test_a_rollback_goes_to_what_proved_itself_never_to_what_was_condemned_or_runs(busy_shop: Shop) -> None:
    v2 = busy_shop.record().release
    assert (await busy_shop.promote()).outcome == "promoted"
    await busy_shop.ship("v4", BAD)
    assert images_running(busy_shop) == runs("v3")
    v3 = busy_shop.record().release
    answer = await busy_shop.rollback()
    assert (answer.outcome, answer.from_, answer.to) == ("rolled_back", v3, v2)
    assert (await busy_shop.rollback()).outcome == "rolled_back"
    assert images_running(busy_shop) == runs("v1")
    for named in ({}, {"release": v2}, {"release": v3}):
        with pytest.raises(NoRollbackTarget):
            await busy_shop.rollback(**named)
    at_rest(busy_shop)


@pytest.mark.promise(7)
async def test_a_rollback_never_goes_to_a_release_that_was_only_kept(shop: Shop) -> None:
    await shop.deploy("v1")
    await shop.deploy("v2", Fault("never-healthy", DEV))
    kept = shop.record("dev").release
    assert (await shop.deploy("v3")).outcome == "deployed"
    with pytest.raises(NoRollbackTarget):
        await shop.manager.rollback("dev", ANN, release=kept)
    answer = await shop.manager.rollback("dev", ANN)
    assert images_running(shop, "dev") == runs("v1")
    assert answer.outcome == "rolled_back"


@pytest.mark.promise(7)
async def test_a_restore_passes_over_a_release_that_was_only_kept(shop: Shop) -> None:
    await shop.deploy("v1")
    await shop.deploy("v2", Fault("never-healthy", DEV))
    answer = await shop.deploy("v3", Fault("refuses-to-start", DEV))
    assert answer.outcome == "rolled_back"
    assert images_running(shop, "dev") == runs("v1")
    at_rest(shop)


@pytest.mark.promise(7)
async def test_without_any_release_that_proved_itself_a_failed_one_leaves_the_ring_down(shop: Shop) -> None:
    await shop.deploy("v1", Fault("never-healthy", DEV))
    assert (await shop.deploy("v2", Fault("refuses-to-start", DEV))).outcome == "rolled_back"
    assert images_running(shop, "dev") == {}
    assert not shop.record("dev").running
    at_rest(shop)


async def test_a_ring_that_was_down_is_down_again_after_a_bad_release(busy_shop: Shop) -> None:
    await busy_shop.down()
    turn_bad(busy_shop, "v3")
    assert (await busy_shop.promote()).outcome == "rolled_back"
    assert images_running(busy_shop) == {}
    at_rest(busy_shop)
    assert (await busy_shop.up()).outcome == "up"
    assert images_running(busy_shop) == runs("v2")


@pytest.mark.promise(9)
async def test_the_way_back_survives_a_prune_of_images(busy_shop: Shop) -> None:
    await busy_shop.promote()
    busy_shop.machine.prune_images()
    assert (await busy_shop.rollback()).outcome == "rolled_back"
    busy_shop.machine.prune_images()
    assert (await busy_shop.rollback()).outcome == "rolled_back"
    assert images_running(busy_shop) == runs("v1")
    at_rest(busy_shop)


@pytest.mark.promise(9)
async def test_pins_that_somebody_removed_are_put_back_by_the_next_rollout(busy_shop: Shop) -> None:
    busy_shop.machine.containers = {k: c for k, c in busy_shop.machine.containers.items() if not c.pin}
    assert (await busy_shop.promote()).outcome == "promoted"
    assert set(runs("v1").values()) | set(runs("v2").values()) <= busy_shop.machine.pins()


@pytest.mark.promise(9)
async def test_only_the_newest_releases_that_proved_themselves_are_kept(busy_shop: Shop) -> None:
    for number in range(3, 8):
        await busy_shop.ship(f"v{number}")
        await busy_shop.ship(f"bad{number}", BAD)
    assert [d.tag for d in busy_shop.record().deployments] == ["prod-7637000", "prod-7636000", "prod-7635000"]
    pinned = busy_shop.machine.pins()
    assert {*runs("v5").values(), *runs("v6").values(), *runs("v7").values()} <= pinned
    assert not {*runs("v2").values(), *runs("v3").values()} & pinned
    for _ in range(2):
        assert (await busy_shop.rollback()).outcome == "rolled_back"
    with pytest.raises(NoRollbackTarget):
        await busy_shop.rollback()
    at_rest(busy_shop)


async def test_a_damaged_old_release_stops_no_rollout_and_costs_no_pin(busy_shop: Shop) -> None:
    v1 = busy_shop.record().deployments[-1].release
    (busy_shop.folder / "state" / "releases" / v1 / "release.json").unlink()
    assert (await busy_shop.promote()).outcome == "promoted"
    assert set(runs("v1").values()) <= busy_shop.machine.pins()


async def test_a_way_back_whose_image_is_gone_stops_no_rollout(busy_shop: Shop) -> None:
    for image in runs("v1").values():
        busy_shop.machine.containers = {k: c for k, c in busy_shop.machine.containers.items() if c.spec.image != image}
        del busy_shop.machine.images[image]
    assert (await busy_shop.promote()).outcome == "promoted"


async def test_evidence_that_cannot_be_tagged_does_not_keep_a_ring_from_going_back(busy_shop: Shop) -> None:
    turn_bad(busy_shop, "v3")
    tag = busy_shop.machine.tag

    def refusing(image: str, reference: str) -> None:
        if "forensic" in reference:
            raise EngineFailure("the Docker engine refused: no space left on device", "Free space.")
        tag(image, reference)

    busy_shop.machine.tag = refusing  # type: ignore[method-assign]
    assert (await busy_shop.promote()).outcome == "rolled_back"
    assert busy_shop.operations()[0].forensics is None


# -- force


@pytest.mark.promise(14)
async def test_an_override_shows_until_the_next_release(shop: Shop) -> None:
    await shop.ship("v1")
    await shop.deploy("v2", Fault("refused"))
    await shop.stage()
    assert (await shop.promote()).outcome == "blocked"
    assert (await shop.promote(override=FORCED)).outcome == "promoted"
    assert (await shop.manager.status("prod")).rings[0].override == "ann: users are waiting"
    newest = (await shop.manager.history("prod", limit=1)).events[0]
    assert (newest.outcome, newest.reason) == ("promoted", "users are waiting")
    await shop.down()
    await shop.up()
    assert (await shop.manager.status("prod")).rings[0].override == "ann: users are waiting"
    await shop.ship("v3")
    assert (await shop.manager.status("prod")).rings[0].override is None
    at_rest(shop)


@pytest.mark.promise(14)
async def test_an_override_of_a_bad_release_does_not_outlive_its_end(busy_shop: Shop) -> None:
    turn_bad(busy_shop, "v3")
    assert (await busy_shop.promote(override=FORCED)).outcome == "rolled_back"
    assert busy_shop.record().override is None


@pytest.mark.promise(8, 14)
async def test_a_condemned_release_comes_back_by_an_override_and_is_free_then(busy_shop: Shop) -> None:
    await busy_shop.promote()
    await busy_shop.rollback()
    assert (await busy_shop.promote(override=FORCED)).outcome == "promoted"
    assert busy_shop.record().quarantine == ()
    at_rest(busy_shop)


@pytest.mark.promise(13)
async def test_an_approval_is_spent_by_the_promotion_that_it_let_through(shop: Shop) -> None:
    shop.settings = with_approval()
    shop.boot()
    await shop.deploy("v1")
    await shop.stage()
    asked = await shop.promote()
    assert (asked.ok, asked.outcome) == (False, "approval_required")
    plan_id = shop.operations()[0].approval_plan
    assert plan_id
    assert asked.approval
    assert asked.approval.ways[:2] == (f"ring-ctl approve {plan_id}", f"ring-ctl reject {plan_id}")
    (onward,) = asked.next_actions
    assert (onward.tool, onward.arguments["plan_id"]) == ("ring_promote", plan_id)
    await shop.manager.answer_plan(plan_id, True, EVE)
    assert (await shop.promote(plan_id=plan_id)).outcome == "promoted"
    plan = shop.world.plans.load(plan_id)
    assert shop.world.plans.approval(plan, shop.clock.now()) is None
