"""Operations: one per key, told once, carried on by whoever comes next, and ended by whatever goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fakes.checks import at_rest, everything, images_running
from fakes.machine import Fault, image_id
from fakes.shop import ANN, BOT, Shop

from aither_rings_mcp.domain.errors import (
    DockerUnavailable,
    EngineFailure,
    Forbidden,
    InvalidArguments,
    InvalidTransition,
    RingBusy,
    RingStuck,
)
from aither_rings_mcp.domain.rollout import Operation, Phase


async def interrupted_in(shop: Shop, phase: Phase, asked: Any) -> Operation:
    """Something was asked for, and its worker died when the journal said `phase`."""
    save = shop.world.journals.save

    def dying(operation: Operation) -> None:
        save(operation)
        if operation.phase is phase:
            shop.power.cut_at = len(shop.power.effects) + 1

    shop.world.journals.save = dying  # type: ignore[method-assign]
    await shop.until_cut(asked)
    shop.boot()
    (left,) = [op for op in shop.operations() if not op.final]
    assert left.phase is phase
    return left


# -- many at once


@pytest.mark.promise(6, 17)
async def test_of_fifty_promotions_one_runs_and_the_others_are_told_by_whom_since_when_and_how_to_watch(
    busy_shop: Shop,
) -> None:
    busy_shop.hands.held = True
    asked = [busy_shop.manager.promote("staging", "prod", BOT, wait_s=0) for _ in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    (won,) = [answer for answer in answers if not isinstance(answer, BaseException)]
    busy = [answer for answer in answers if isinstance(answer, RingBusy)]
    assert len(busy) == 49
    for refused in busy:
        told = refused.details
        assert (told["operation_id"], told["owner"], told["phase"]) == (won.operation_id, str(BOT), Phase.ACCEPTED)
        assert told["since"]
        assert f"ring-ctl operation {won.operation_id} --follow" in refused.next_step
    await busy_shop.work()
    assert len(busy_shop.operations()) == len({op.id for op in busy_shop.operations()})
    at_rest(busy_shop)


# -- the same request again


@pytest.mark.promise(4)
async def test_the_same_key_gives_the_same_operation(busy_shop: Shop) -> None:
    first = await busy_shop.promote(idempotency_key="k")
    before = everything(busy_shop)
    again = await busy_shop.promote(idempotency_key="k")
    assert (again.operation_id, again.outcome) == (first.operation_id, "promoted")
    assert everything(busy_shop) == before


@pytest.mark.promise(4)
async def test_the_same_key_finds_an_operation_that_still_runs_or_was_interrupted(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    first = await busy_shop.promote(idempotency_key="k", wait_s=0)
    again = await busy_shop.promote(idempotency_key="k", wait_s=0)
    assert (again.operation_id, again.outcome, again.ok) == (first.operation_id, "running", True)
    busy_shop.boot()
    left = await busy_shop.promote(idempotency_key="k")
    assert (left.operation_id, left.outcome, left.ok) == (first.operation_id, "running", False)
    await busy_shop.recover()
    assert (await busy_shop.promote(idempotency_key="k")).outcome == "promoted"


async def test_a_key_is_for_one_request(busy_shop: Shop) -> None:
    await busy_shop.promote(idempotency_key="k")
    before = everything(busy_shop)
    for asked in (busy_shop.stage(idempotency_key="k"), busy_shop.rollback(idempotency_key="k")):
        with pytest.raises(InvalidArguments, match="used for another request"):
            await asked
    assert everything(busy_shop) == before


@pytest.mark.promise(4)
async def test_who_asks_with_the_key_while_another_door_was_faster_gets_its_operation(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    first = await busy_shop.rollback(idempotency_key="k", wait_s=0)
    request = busy_shop.operations()[0].request
    again = busy_shop.manager._operations.start(request, BOT, "k")  # pyright: ignore[reportPrivateUsage]
    assert again.id == first.operation_id
    assert len(busy_shop.hands.queue) == 1


# -- interrupted


@pytest.mark.promise(5, 12)
@pytest.mark.parametrize("later", ["ok", "refused"])
async def test_an_ending_that_was_told_is_not_decided_again(busy_shop: Shop, later: str) -> None:
    """The gate says otherwise by the time somebody carries the operation on: what was told stays."""
    kinds = {"ok": "refused", "refused": "ok"}
    for service in busy_shop.settings.services:
        busy_shop.machine.images[image_id(service, "v3")] = Fault(kinds[later])  # type: ignore[arg-type]
    append = busy_shop.world.history.append

    def dying(event: Any) -> Any:
        told = append(event)
        busy_shop.power.cut_at = len(busy_shop.power.effects) + 1
        return told

    busy_shop.world.history.append = dying  # type: ignore[method-assign]
    await busy_shop.until_cut(busy_shop.promote())
    busy_shop.boot()
    for service in busy_shop.settings.services:
        busy_shop.machine.images[image_id(service, "v3")] = Fault(later)  # type: ignore[arg-type]
    await busy_shop.recover()
    assert busy_shop.operations()[0].phase is (Phase.BLOCKED if later == "ok" else Phase.DONE)
    at_rest(busy_shop)


@pytest.mark.promise(5, 10)
@pytest.mark.parametrize("phase", [Phase.SWITCHING, Phase.VERIFYING, Phase.RECORDING])
async def test_a_good_release_is_not_condemned_for_a_reboot(busy_shop: Shop, phase: Phase) -> None:
    await interrupted_in(busy_shop, phase, busy_shop.promote())
    busy_shop.machine.reboot()
    await busy_shop.recover()
    assert busy_shop.operations()[0].phase is Phase.DONE
    assert busy_shop.record().quarantine == ()
    at_rest(busy_shop)


@pytest.mark.promise(5)
@pytest.mark.parametrize("phase", [Phase.RESTORING, Phase.RESTORE_VERIFYING, Phase.RESTORE_RECORDING])
async def test_a_reboot_on_the_way_back_does_not_leave_the_ring_stuck(busy_shop: Shop, phase: Phase) -> None:
    for service in busy_shop.settings.services:
        busy_shop.machine.images[image_id(service, "v3")] = Fault("never-healthy")
    await interrupted_in(busy_shop, phase, busy_shop.promote())
    busy_shop.machine.reboot()
    await busy_shop.recover()
    assert busy_shop.operations()[0].phase is Phase.ROLLED_BACK
    at_rest(busy_shop)


@pytest.mark.promise(5)
async def test_evidence_is_not_overwritten_with_what_came_after_it(busy_shop: Shop) -> None:
    """The worker dies when half of the good release runs again."""
    for service in busy_shop.settings.services:
        busy_shop.machine.images[image_id(service, "v3")] = Fault("never-healthy")
    start = busy_shop.machine.start

    def dying(container: Any) -> None:
        start(container)
        if container.spec.image == image_id("api", "v2"):
            busy_shop.power.cut_at = len(busy_shop.power.effects) + 1

    busy_shop.machine.start = dying  # type: ignore[method-assign]
    await busy_shop.until_cut(busy_shop.promote())
    busy_shop.machine.start = start  # type: ignore[method-assign]
    busy_shop.boot()
    await busy_shop.recover()
    op = busy_shop.operations()[0]
    assert op.forensics
    assert busy_shop.machine.tags[f"shop-api:{op.forensics}"] == image_id("api", "v3")
    at_rest(busy_shop)


@pytest.mark.promise(6)
async def test_two_doors_that_both_found_the_ring_free_do_not_step_over_an_interrupted_operation(
    busy_shop: Shop,
) -> None:
    left = await interrupted_in(busy_shop, Phase.SWITCHING, busy_shop.promote())
    request = left.request.model_copy(update={"reason": "another one"})
    with pytest.raises(RingBusy, match="was interrupted while switching"):
        busy_shop.manager._operations.start(request, BOT)  # pyright: ignore[reportPrivateUsage]
    await busy_shop.recover()
    at_rest(busy_shop)


async def test_who_watches_an_operation_that_was_interrupted_is_told_so(busy_shop: Shop) -> None:
    left = await interrupted_in(busy_shop, Phase.SWITCHING, busy_shop.promote())
    seen = await busy_shop.manager.operation(left.id, wait_s=None)
    assert (seen.ok, seen.status) == (False, "interrupted")
    assert "ring-ctl recover" in seen.summary


async def test_a_worker_that_carries_on_does_so_under_its_own_epoch(busy_shop: Shop) -> None:
    left = await interrupted_in(busy_shop, Phase.SWITCHING, busy_shop.promote())
    await busy_shop.recover()
    assert busy_shop.world.journals.load(left.id).epoch > left.epoch


async def test_a_preview_that_lost_its_engine_is_gone_after_the_next_promotion(busy_shop: Shop) -> None:
    await busy_shop.deploy("v4")
    busy_shop.machine.dies_in, busy_shop.machine.away_for = 3, 5.0
    with pytest.raises(DockerUnavailable):
        await busy_shop.promote()
    busy_shop.clock.seconds += 10
    assert busy_shop.machine.of("shop-preview")
    await busy_shop.stage()
    assert (await busy_shop.promote()).outcome == "promoted"
    at_rest(busy_shop)


# -- cancelling


async def test_a_cancelled_promotion_changed_nothing(busy_shop: Shop) -> None:
    before = everything(busy_shop)
    busy_shop.hands.held = True
    asked = await busy_shop.promote(wait_s=0)
    busy_shop.hands.held = False
    answer = await busy_shop.manager.cancel(asked.operation_id, ANN, "not today")
    assert (answer.ok, answer.status, answer.undone) == (True, "cancelled", ())
    with pytest.raises(Forbidden, match="was cancelled; nothing was changed"):
        await busy_shop.manager._result(asked.operation_id, 0, None)  # pyright: ignore[reportPrivateUsage]
    after = everything(busy_shop)
    assert {key: after[key] for key in ("state", "tags", "containers")} == {
        key: before[key] for key in ("state", "tags", "containers")
    }
    at_rest(busy_shop)


@pytest.mark.promise(12, 16)
async def test_the_history_tells_who_cancelled_an_operation_and_why_without_secrets(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    asked = await busy_shop.promote(wait_s=0, reason="the weekly release")
    busy_shop.hands.held = False
    who = BOT.model_copy(update={"via": "claude-code/2.1", "call": "17"})
    await busy_shop.manager.cancel(asked.operation_id, who, "not today, password=hunter2hunter2")
    told = (await busy_shop.manager.history("prod", limit=1)).events[0]
    assert (told.outcome, told.actor, told.reason) == ("cancelled", str(ANN), "the weekly release")
    assert told.detail == f"cancelled by {who.in_full}: not today, password=[redacted]"
    assert who.in_full == "bot (agent via mcp), claude-code/2.1, call 17"


async def test_an_operation_that_was_cancelled_while_nobody_worked_on_it_leaves_no_preview(busy_shop: Shop) -> None:
    await busy_shop.deploy("v4")
    start = busy_shop.machine.start

    def dying(container: Any) -> None:
        start(container)
        busy_shop.power.cut_at = len(busy_shop.power.effects) + 1

    busy_shop.machine.start = dying  # type: ignore[method-assign]
    await busy_shop.until_cut(busy_shop.promote())
    busy_shop.machine.start = start  # type: ignore[method-assign]
    busy_shop.boot()
    assert busy_shop.machine.of("shop-preview")
    left = busy_shop.operations()[0]
    await busy_shop.manager.cancel(left.id, ANN, "never mind")
    await busy_shop.recover()
    assert busy_shop.operations()[0].phase is Phase.CANCELLED
    at_rest(busy_shop)


# -- trouble


@pytest.mark.promise(5)
async def test_trouble_while_verifying_is_waited_out_and_condemns_nobody(busy_shop: Shop) -> None:
    containers, troubles = busy_shop.machine.of, [3]

    def troubled(project: str) -> Any:
        if busy_shop.operations()[0].phase is Phase.VERIFYING and troubles[0]:
            troubles[0] -= 1
            raise EngineFailure("the Docker engine refused: 500 Server Error", "Fix what it names.")
        return containers(project)

    busy_shop.machine.of = troubled  # type: ignore[method-assign]
    assert (await busy_shop.promote()).outcome == "promoted"
    assert troubles == [0]


@pytest.mark.promise(5)
async def test_a_state_that_cannot_be_read_is_left_for_later_not_lost(busy_shop: Shop) -> None:
    left = await interrupted_in(busy_shop, Phase.RECORDING, busy_shop.promote())
    path = busy_shop.folder / "state" / "rings-state.json"
    sound = path.read_bytes()
    path.write_text("{")
    await busy_shop.recover()
    assert busy_shop.world.journals.load(left.id).phase is Phase.RECORDING
    path.write_bytes(sound)
    await busy_shop.recover()
    assert busy_shop.world.journals.load(left.id).phase is Phase.DONE
    at_rest(busy_shop)


async def test_a_log_that_cannot_be_written_ends_no_rollout(busy_shop: Shop) -> None:
    def full(operation_id: str, line: str) -> None:
        raise OSError(28, "No space left on device")

    busy_shop.world.logs.append = full  # type: ignore[method-assign]
    assert (await busy_shop.promote()).outcome == "promoted"


async def test_a_ring_that_cannot_be_stopped_is_recorded_as_it_is(busy_shop: Shop) -> None:
    def stop(container: Any) -> None:
        raise EngineFailure("stopping shop-prod failed: it will not die", "Fix what the log names.")

    busy_shop.machine.stop = stop  # type: ignore[method-assign]
    with pytest.raises(EngineFailure, match="will not die"):
        await busy_shop.down()
    assert busy_shop.record().running
    assert (await busy_shop.manager.history("prod", limit=1)).events[0].outcome == "failed"
    seen = await busy_shop.manager.operation(busy_shop.operations()[0].id)
    assert not seen.ok
    assert seen.error
    at_rest(busy_shop)


async def test_a_backbone_that_does_not_start_is_told_and_can_be_asked_for_again(shop: Shop) -> None:
    await shop.deploy("v1")
    start = shop.machine.start

    def refusing(container: Any) -> None:
        raise EngineFailure("starting the backbone failed: port is already allocated", "Fix what the log names.")

    shop.machine.start = refusing  # type: ignore[method-assign]
    with pytest.raises(EngineFailure, match="already allocated"):
        await shop.manager.up("shared", ANN)
    shop.machine.start = start  # type: ignore[method-assign]
    assert (await shop.manager.up("shared", ANN)).outcome == "up"


async def test_a_release_whose_source_changed_while_it_was_built_is_refused(shop: Shop) -> None:
    build = shop.machine.build

    def saved_in_between(service: str, reference: str) -> None:
        build(service, reference)
        shop.machine.source = "v2"

    shop.machine.build = saved_in_between  # type: ignore[method-assign]
    with pytest.raises(InvalidTransition, match="changed while it was being built"):
        await shop.deploy("v1")
    assert shop.record("dev").release is None


async def test_a_release_keeps_the_source_it_was_built_from(shop: Shop) -> None:
    """Somebody goes on writing while nobody carries the deployment on."""
    await interrupted_in(shop, Phase.PREPARING, shop.deploy("v1"))
    shop.machine.source = "v2"
    await shop.recover()
    release = shop.world.releases.load(str(shop.record("dev").release))
    assert release.source_digest == "digest of v1"
    assert release.tag == "dev-7631000"


async def test_a_ring_that_got_stuck_meanwhile_is_not_promoted_to(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    asked = await busy_shop.promote(wait_s=0)
    state = busy_shop.world.state.load()
    busy_shop.world.state.save(state.with_ring("prod", state.ring("prod").model_copy(update={"stuck": "op-1: bad"})))
    busy_shop.hands.held = False
    with pytest.raises(RingStuck):
        await busy_shop.manager._result(asked.operation_id, None, None)  # pyright: ignore[reportPrivateUsage]
    assert images_running(busy_shop)["api"] == image_id("api", "v2")


@pytest.mark.promise(4)
async def test_a_door_that_leaves_off_stops_nothing(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    answer = await busy_shop.promote(wait_s=0)
    assert answer.outcome == "running"
    await busy_shop.work()
    assert (await busy_shop.manager.operation(answer.operation_id)).status == "done"
    at_rest(busy_shop)


@pytest.mark.promise(6)
async def test_of_many_promotions_at_once_one_runs_and_the_others_hear_which(busy_shop: Shop) -> None:
    busy_shop.hands.held = True
    request = {"wait_s": 0}
    first = await busy_shop.promote(**request)
    busy = 0
    for _ in range(49):
        with pytest.raises(RingBusy, match="prod is busy") as caught:
            await busy_shop.promote(**request)
        busy += caught.value.details["operation_id"] == first.operation_id
    assert busy == 49
    await busy_shop.work()
    at_rest(busy_shop)
