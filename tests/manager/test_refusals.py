"""Every refusal names what is wrong and what to do, and changes nothing: not the state, the history, the machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes.checks import everything, images_running
from fakes.machine import image_id
from fakes.shop import ANN, BOT, EVE, Shop

from aither_rings_mcp.domain.errors import (
    DockerUnavailable,
    EngineFailure,
    Forbidden,
    ImageMissing,
    InvalidArguments,
    InvalidTransition,
    NoRollbackTarget,
    OperationNotFound,
    PlanExpired,
    PlanStale,
    Quarantined,
    RingBusy,
    RingError,
    RingStuck,
    UnknownRing,
)
from aither_rings_mcp.domain.model import RingRecord

pytestmark = pytest.mark.promise(17)
Asked = Callable[[Shop], Awaitable[Any]]


async def refused(shop: Shop, asked: Awaitable[Any], kind: type[RingError], match: str, *told: str) -> RingError:
    """`told`: what the history, and nothing else, has gained by it."""
    before = everything(shop)
    with pytest.raises(kind, match=match) as caught:
        await asked
    assert caught.value.next_step
    after = everything(shop)
    events = shop.world.history.read(len(told))[0] if told else ()
    assert tuple(f"{event.event} {event.outcome}" for event in events) == told
    assert {**after, "history": None} == {**before, "history": None}
    assert told or after == before
    return caught.value


def ring(name: str, **fields: object) -> Callable[[Shop], None]:
    """Somebody wrote this into the record."""

    def write(shop: Shop) -> None:
        state = shop.world.state.load()
        shop.world.state.save(state.with_ring(name, state.ring(name).model_copy(update=fields)))

    return write


@pytest.mark.parametrize(
    "asked",
    [
        lambda shop: shop.manager.promote("staging", "prd", ANN),
        lambda shop: shop.manager.promote("stagin", "prod", ANN),
        lambda shop: shop.manager.plan("staging", "prd", ANN),
        lambda shop: shop.manager.gates("staging", "prd", ANN),
        lambda shop: shop.manager.rollback("prd", ANN),
        lambda shop: shop.manager.deploy("prd", ANN),
        lambda shop: shop.manager.up("prd", ANN),
        lambda shop: shop.manager.down("prd", ANN),
        lambda shop: shop.manager.health("prd"),
        lambda shop: shop.manager.status("prd"),
        lambda shop: shop.manager.history("prd"),
    ],
)
async def test_an_unknown_ring_is_refused(busy_shop: Shop, asked: Asked) -> None:
    await refused(busy_shop, asked(busy_shop), UnknownRing, "there is no ring")


@pytest.mark.parametrize(
    ("source", "target"),
    [("dev", "prod"), ("prod", "dev"), ("staging", "staging"), ("staging", "dev"), ("prod", "staging")],
)
async def test_a_way_that_does_not_exist_is_refused(busy_shop: Shop, source: str, target: str) -> None:
    for force in (False, True):
        override = {"override": {"by": "ann", "reason": "now!"}} if force else {}
        asked = busy_shop.manager.promote(source, target, ANN, **override)  # type: ignore[arg-type]
        error = await refused(busy_shop, asked, InvalidTransition, f"no path {source} -> {target}")
        assert "dev -> staging, staging -> prod" in error.next_step


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (lambda shop: shop.stage(), "dev has no release yet"),
        (lambda shop: shop.promote(), "staging holds no candidate"),
        (lambda shop: shop.manager.plan("staging", "prod", ANN), "staging holds no candidate"),
        (lambda shop: shop.manager.up("prod", ANN), "prod has no release to start"),
        (lambda shop: shop.manager.deploy("prod", ANN), "takes only what was promoted"),
        (lambda shop: shop.manager.up("staging", ANN), "is a gate"),
        (lambda shop: shop.manager.down("staging", ANN), "is a gate"),
        (lambda shop: shop.manager.deploy("staging", ANN), "is a gate"),
        (lambda shop: shop.manager.rollback("staging", ANN), "is a gate"),
    ],
)
async def test_there_has_to_be_something_to_act_on(shop: Shop, asked: Asked, match: str) -> None:
    await refused(shop, asked(shop), InvalidTransition, match)


async def test_a_ring_that_never_ran_anything_cannot_go_back(shop: Shop) -> None:
    await refused(shop, shop.rollback(), NoRollbackTarget, "no earlier release that proved itself")


async def test_an_expired_candidate_is_refused(busy_shop: Shop) -> None:
    busy_shop.clock.seconds += 3600
    await refused(busy_shop, busy_shop.promote(), PlanExpired, r"prod|expired at")


@pytest.mark.promise(2)
async def test_a_candidate_that_no_longer_matches_its_images_is_refused(busy_shop: Shop) -> None:
    candidate = busy_shop.record("staging").candidate
    assert candidate
    moved = candidate.model_copy(update={"images": {**candidate.images, "web": image_id("web", "v1")}})
    ring("staging", candidate=moved)(busy_shop)
    await refused(busy_shop, busy_shop.promote(), PlanExpired, "no longer matches the images")


async def test_a_candidate_whose_images_are_gone_is_refused(busy_shop: Shop) -> None:
    del busy_shop.machine.images[image_id("web", "v3")]
    error = await refused(busy_shop, busy_shop.promote(), ImageMissing, "images of release r-.* are gone: web")
    assert error.details["services"] == ["web"]


@pytest.mark.promise(9)
async def test_a_promotion_that_would_leave_no_way_back_is_refused_before_anything_runs_anew(busy_shop: Shop) -> None:
    del busy_shop.machine.images[image_id("web", "v2")]
    state, running = busy_shop.world.state.load(), images_running(busy_shop)
    with pytest.raises(NoRollbackTarget, match="prod could not go back: the image of web"):
        await busy_shop.promote()
    assert (busy_shop.world.state.load(), images_running(busy_shop)) == (state, running)


async def test_a_stuck_ring_is_left_to_a_person(busy_shop: Shop) -> None:
    ring("prod", stuck="op-1: it would not start")(busy_shop)
    error = await refused(busy_shop, busy_shop.promote(), RingStuck, "prod is stuck: op-1: it would not start")
    assert "ring-ctl operation op-1 --evidence" in error.next_step
    assert error.next_step.endswith("then lift it with `ring-ctl unlock prod --reason TEXT`.")


@pytest.mark.promise(8)
async def test_a_condemned_release_is_refused(busy_shop: Shop) -> None:
    await busy_shop.promote()
    await busy_shop.rollback()
    await refused(busy_shop, busy_shop.promote(), Quarantined, "was rolled back from prod")


async def test_what_runs_already_is_not_promoted_again(busy_shop: Shop) -> None:
    await busy_shop.promote()
    before = everything(busy_shop)
    answer = await busy_shop.promote()
    assert (answer.ok, answer.outcome, answer.operation_id) == (True, "noop", None)
    assert everything(busy_shop) == before


# -- plans


async def test_a_plan_is_stale_when_the_candidate_changed(busy_shop: Shop) -> None:
    plan = await busy_shop.manager.plan("staging", "prod", ANN)
    await busy_shop.deploy("v4")
    await busy_shop.stage()
    error = await refused(busy_shop, busy_shop.promote(plan_id=plan.plan_id), PlanStale, "the release is now r-")
    assert "other images for api, web" in str(error.details["changed"])


async def test_a_plan_is_stale_when_the_target_changed(busy_shop: Shop) -> None:
    plan = await busy_shop.manager.plan("staging", "prod", ANN)
    await busy_shop.rollback()
    error = await refused(busy_shop, busy_shop.promote(plan_id=plan.plan_id), PlanStale, "prod now runs r-")
    assert len(list(error.details["changed"])) == 1  # type: ignore[call-overload]


async def test_a_plan_expires(busy_shop: Shop) -> None:
    plan = await busy_shop.manager.plan("staging", "prod", ANN)
    busy_shop.clock.seconds += 900
    await refused(busy_shop, busy_shop.promote(plan_id=plan.plan_id), PlanExpired, f"{plan.plan_id} expired")


async def test_a_plan_is_for_its_own_path(busy_shop: Shop) -> None:
    plan = await busy_shop.manager.plan("dev", "staging", ANN)
    await refused(busy_shop, busy_shop.promote(plan_id=plan.plan_id), InvalidArguments, "is for dev -> staging")


@pytest.mark.parametrize("plan_id", ["plan-00000000", "../../etc/passwd", ""])
async def test_a_plan_that_nobody_made_is_refused(busy_shop: Shop, plan_id: str) -> None:
    if plan_id:
        await refused(busy_shop, busy_shop.promote(plan_id=plan_id), PlanExpired, "is not known here")
    else:  # no plan is no plan
        assert (await busy_shop.promote(plan_id=plan_id, dry_run=True)).outcome == "dry_run"


@pytest.mark.promise(13)
async def test_nobody_approves_their_own_request(busy_shop: Shop) -> None:
    plan = await busy_shop.manager.plan("staging", "prod", BOT)
    asked = busy_shop.manager.answer_plan(plan.plan_id, True, BOT)
    error = await refused(busy_shop, asked, Forbidden, "cannot answer it: nobody approves", "approval refused")
    assert "another account" in error.next_step
    assert "--force" not in error.next_step, "no agent is told how to go past the gates"
    await busy_shop.manager.answer_plan(plan.plan_id, True, EVE)
    again = busy_shop.manager.answer_plan(plan.plan_id, False, ANN)
    await refused(busy_shop, again, InvalidArguments, "answered already", "approval refused")


@pytest.mark.promise(13)
async def test_a_person_who_is_alone_is_told_the_ways_round_their_own_approval(busy_shop: Shop) -> None:
    plan = await busy_shop.manager.plan("staging", "prod", ANN)
    asked = busy_shop.manager.answer_plan(plan.plan_id, True, ANN)
    error = await refused(busy_shop, asked, Forbidden, "nobody approves their own request", "approval refused")
    assert f"somebody else run `ring-ctl approve {plan.plan_id}`" in error.next_step
    assert "`ring-ctl promote staging prod --force --reason TEXT`" in error.next_step


# -- rollbacks


@pytest.mark.parametrize(
    ("named", "kind", "match"),
    [
        ({"tag": "prod 1"}, InvalidArguments, "not a valid image tag"),
        ({"tag": "../prod"}, InvalidArguments, "not a valid image tag"),
        ({"tag": "-x"}, InvalidArguments, "not a valid image tag"),
        ({"tag": ""}, InvalidArguments, "not a valid image tag"),
        ({"tag": "x" * 129}, InvalidArguments, "not a valid image tag"),
        ({"tag": "prod-latest"}, NoRollbackTarget, "with tag prod-latest"),
        ({"release": "r-000000000000"}, NoRollbackTarget, "with id r-000000000000"),
        ({"release": "v1"}, InvalidArguments, "not a release id"),
        ({"release": "r-../../etc"}, InvalidArguments, "not a release id"),
        ({"tag": "prod-1", "release": "r-000000000000"}, InvalidArguments, "both a tag and a release"),
    ],
)
async def test_a_rollback_goes_only_where_it_can(
    busy_shop: Shop, named: dict[str, str], kind: type[RingError], match: str
) -> None:
    for dry_run in (False, True):
        await refused(busy_shop, busy_shop.rollback(**named, dry_run=dry_run), kind, match)


async def test_going_back_to_what_runs_is_nothing_to_do(busy_shop: Shop) -> None:
    record = busy_shop.record()
    before = everything(busy_shop)
    for named in ({"tag": record.tag}, {"release": record.release}):
        answer = await busy_shop.rollback(**named)
        assert (answer.ok, answer.outcome) == (True, "noop")
    assert everything(busy_shop) == before


async def test_a_rollback_whose_images_are_gone_changes_nothing_that_runs(busy_shop: Shop) -> None:
    del busy_shop.machine.images[image_id("api", "v1")]
    v1 = busy_shop.record().deployments[-1]
    error = await refused(
        busy_shop, busy_shop.rollback(), NoRollbackTarget, "every release that proved itself are gone"
    )
    assert f"{v1.tag} ({v1.release}, lost)" in error.next_step
    state, running = busy_shop.world.state.load(), images_running(busy_shop)
    for named in ({"release": v1.release}, {"tag": v1.tag}):
        with pytest.raises(ImageMissing, match=r"the image of api in r-\w+ is gone"):
            await busy_shop.rollback(**named)
    assert (busy_shop.world.state.load(), images_running(busy_shop)) == (state, running)


# -- rings that somebody has


@pytest.mark.promise(6)
@pytest.mark.parametrize(
    "asked",
    [
        lambda shop: shop.promote(),
        lambda shop: shop.rollback(),
        lambda shop: shop.manager.up("prod", BOT),
        lambda shop: shop.manager.down("prod", BOT),
        lambda shop: shop.manager.gates("staging", "prod", BOT),
    ],
)
async def test_a_busy_ring_is_refused_with_who_has_it_and_how_to_watch(busy_shop: Shop, asked: Asked) -> None:
    busy_shop.hands.held = True
    running = await busy_shop.promote(wait_s=0)
    error = await refused(
        busy_shop, asked(busy_shop), RingBusy, "prod is busy: ann .* started a promote at .*, now accepted"
    )
    assert running.operation_id in error.next_step
    assert error.details["operation_id"] == running.operation_id
    await busy_shop.work()
    assert busy_shop.operations()[0].phase == "done"


@pytest.mark.promise(6)
async def test_an_interrupted_ring_is_refused_until_it_is_recovered(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    await busy_shop.promote(wait_s=0)
    busy_shop.boot()
    error = await refused(busy_shop, busy_shop.rollback(), RingBusy, "was interrupted while accepted")
    assert "recover" in error.next_step
    await busy_shop.recover()
    assert (await busy_shop.rollback()).outcome == "rolled_back"


@pytest.mark.promise(6)
async def test_an_unreadable_claim_counts_as_taken(busy_shop: Shop) -> None:
    (busy_shop.folder / "state" / "claims" / "prod.json").write_text("{")
    await refused(busy_shop, busy_shop.promote(), RingBusy, "counts as taken")


async def test_without_an_engine_nothing_is_begun(busy_shop: Shop) -> None:
    busy_shop.machine.away = True
    for asked in (busy_shop.promote(), busy_shop.manager.up("prod", ANN), busy_shop.manager.down("prod", ANN)):
        with pytest.raises(DockerUnavailable):
            await asked
    busy_shop.machine.away = False
    assert not [op for op in busy_shop.operations() if not op.final]
    assert busy_shop.record().tag == "prod-7632000"


async def test_the_backbone_stays_while_rings_run_on_it(busy_shop: Shop) -> None:
    await refused(busy_shop, busy_shop.manager.down("shared", ANN), InvalidTransition, "dev and prod still run on")


async def test_an_unknown_operation_is_refused(busy_shop: Shop) -> None:
    for asked in (
        busy_shop.manager.operation("op-nothing"),
        busy_shop.manager.cancel("../../etc", ANN, "why not"),
    ):
        await refused(busy_shop, asked, OperationNotFound, "there is no operation")


async def test_past_the_last_safe_point_nothing_is_cancelled(busy_shop: Shop) -> None:
    done = await busy_shop.promote()
    asked = busy_shop.manager.cancel(done.operation_id, ANN, "changed my mind")
    await refused(busy_shop, asked, InvalidTransition, "past the last safe point")


async def test_a_worker_that_cannot_be_started_is_told_and_what_was_asked_can_be_carried_on(busy_shop: Shop) -> None:
    def start(operation_id: str, claim: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    busy_shop.hands.start = start  # type: ignore[method-assign]
    with pytest.raises(EngineFailure, match="no worker could be started") as caught:
        await busy_shop.promote()
    assert "recover" in caught.value.next_step
    busy_shop.boot()
    await busy_shop.recover()
    assert busy_shop.operations()[0].phase == "done"


# -- looking changes nothing


@pytest.mark.parametrize(
    "asked",
    [
        lambda shop: shop.promote(dry_run=True),
        lambda shop: shop.stage(dry_run=True),
        lambda shop: shop.rollback(dry_run=True),
        lambda shop: shop.manager.plan("staging", "prod", ANN),
        lambda shop: shop.manager.plan("dev", "staging", ANN),
        lambda shop: shop.manager.gates("staging", "prod", ANN),
        lambda shop: shop.manager.status(detailed=True),
        lambda shop: shop.manager.health("prod"),
        lambda shop: shop.manager.history(),
        lambda shop: shop.manager.verify_history(),
        lambda shop: shop.manager.recover(),
    ],
)
async def test_looking_and_dry_runs_change_nothing(busy_shop: Shop, asked: Asked) -> None:
    before = everything(busy_shop)
    assert (await asked(busy_shop)).ok
    assert everything(busy_shop) == before
    assert isinstance(busy_shop.record(), RingRecord)
