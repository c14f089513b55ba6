"""A person's yes: who may give it, for what, how often; every other attempt is refused, told, and changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.checks import everything
from fakes.machine import Fault
from fakes.shop import ANN, BOT, EVE, Shop, settings
from fakes.stories import candidate
from pydantic import ValidationError

from aither_rings_mcp.domain.access import Grant, Role
from aither_rings_mcp.domain.approval import person_at
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, PlanStale, RingError, StateUnreadable
from aither_rings_mcp.domain.model import Override
from aither_rings_mcp.domain.rollout import Kind, Request
from aither_rings_mcp.domain.settings import GateSpec

pytestmark = pytest.mark.promise(13)
CHECK = [{"gate": "health_check"}]
FORCED = Override(by=str(BOT), reason="the gates are wrong")


def asking(path: str = "agents", back: str = "nobody", **approvals: Any) -> Any:
    rings = settings().model_dump(mode="json", by_alias=True, exclude_unset=True)["rings"]
    rings["prod"]["rollback_approval"] = back
    return settings(
        rings=rings,
        approvals=approvals,
        paths=[
            {"source": "dev", "target": "staging", "gates": CHECK},
            {"source": "staging", "target": "prod", "gates": [*CHECK, {"gate": "audit"}], "approval": path},
        ],
    )


@pytest.fixture
async def shop(folder: Path) -> Shop:
    """v1 and v2 went through prod, v3 waits in staging; agents ask a person for prod, and to go back."""
    shop = Shop(folder / "shop")
    await candidate()(shop)
    shop.settings = asking(back="agents")
    shop.boot()
    return shop


async def plan_of(shop: Shop) -> Any:
    return await shop.manager.plan("staging", "prod", BOT)


async def by_bot(shop: Shop, **other: Any) -> Any:
    shop.clock.seconds += 10
    return await shop.manager.promote("staging", "prod", BOT, **other)


def told(shop: Shop, count: int = 1) -> list[tuple[str, str, str | None]]:
    """The newest events about approvals: outcome, by whom, why."""
    events, _ = shop.world.history.read(count, None, lambda event: event.event == "approval")
    return [(event.outcome, event.actor, event.reason) for event in events]


# -- the table of attempts


async def own(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan(plan.plan_id, True, BOT, None, plan.plan_hash)


async def own_through_another_door(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan(plan.plan_id, True, BOT.model_copy(update={"door": "rest"}))


async def another_hash(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan(plan.plan_id, True, EVE, None, "0" * 64)


async def too_late(shop: Shop, plan: Any) -> None:
    shop.clock.seconds += shop.settings.limits.approval
    await shop.manager.answer_plan(plan.plan_id, True, EVE)


async def twice(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan(plan.plan_id, True, ANN)


async def rejected_then_approved(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan(plan.plan_id, True, EVE)


async def with_less_than_the_role(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan(plan.plan_id, True, EVE, None, plan.plan_hash, Grant(Role.OPERATOR))


async def through_a_door_that_only_looks(shop: Shop, plan: Any) -> None:
    grant = Grant(Role.APPROVER, read_only=True)
    await shop.manager.answer_plan(plan.plan_id, True, EVE, None, plan.plan_hash, grant)


async def nobodys_plan(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan("plan-00000000", True, EVE)


async def no_id_at_all(shop: Shop, plan: Any) -> None:
    await shop.manager.answer_plan("../../etc/passwd \x1b[2J", True, EVE)


@pytest.mark.parametrize(
    ("attempt", "before", "why"),
    [
        (own, None, "own_request"),
        (own_through_another_door, None, "own_request"),
        (another_hash, None, "other_hash"),
        (too_late, None, "too_late"),
        (twice, True, "answered_already"),
        (rejected_then_approved, False, "answered_already"),
        (with_less_than_the_role, None, "forbidden"),
        (through_a_door_that_only_looks, None, "read_only"),
        (nobodys_plan, None, "unknown_plan"),
        (no_id_at_all, None, "unknown_plan"),
    ],
)
async def test_an_approval_that_may_not_be_given_is_refused_told_and_changes_nothing(
    shop: Shop, attempt: Callable[[Shop, Any], Awaitable[None]], before: bool | None, why: str
) -> None:
    plan = await plan_of(shop)
    if before is not None:
        await shop.manager.answer_plan(plan.plan_id, before, EVE)
    was = everything(shop)
    answers = sorted(path.name for path in (shop.folder / "state" / "plans").glob("*"))
    with pytest.raises(RingError) as caught:
        await attempt(shop, plan)
    assert caught.value.next_step
    ((outcome, _, reason),) = told(shop)
    assert (outcome, reason) == ("refused", why)
    assert {**everything(shop), "history": None} == {**was, "history": None}
    assert sorted(path.name for path in (shop.folder / "state" / "plans").glob("*")) == answers
    assert shop.world.history.verify()[2] is None
    if before is not True and why != "too_late":
        assert (await by_bot(shop, plan_id=plan.plan_id)).outcome in {"approval_required", "blocked"}


async def test_repeating_a_refused_attempt_adds_nothing_to_the_history(shop: Shop) -> None:
    plan = await plan_of(shop)
    for attempt in (own, own_through_another_door, another_hash, nobodys_plan, no_id_at_all, with_less_than_the_role):
        for _ in range(3):
            with pytest.raises(RingError):
                await attempt(shop, plan)
    assert told(shop, 100) == [
        ("refused", str(EVE), "forbidden"),
        ("refused", str(EVE), "unknown_plan"),  # no id at all
        ("refused", str(EVE), "unknown_plan"),
        ("refused", str(EVE), "other_hash"),
        ("refused", str(BOT), "own_request"),
    ]
    with pytest.raises(RingError):
        await shop.manager.answer_plan(plan.plan_id, True, ANN, None, "0" * 64)
    assert told(shop) == [("refused", str(ANN), "other_hash")], "somebody else's attempt is another one"


@pytest.mark.parametrize(
    ("grant", "code"), [(Grant(Role.VIEWER), "forbidden"), (Grant(Role.APPROVER, read_only=True), "read_only")]
)
async def test_who_may_not_answer_leaves_no_trace_of_plans_that_there_are_not(
    shop: Shop, grant: Grant, code: str
) -> None:
    was = everything(shop)
    for plan_id in ("plan-00000000", "plan-00000001", "../../etc/passwd"):
        with pytest.raises(RingError) as caught:
            await shop.manager.answer_plan(plan_id, True, EVE, None, "0" * 64, grant)
        assert caught.value.code == code
    assert everything(shop) == was


async def test_a_client_that_calls_itself_something_else_each_time_does_not_fill_the_history(shop: Shop) -> None:
    plan = await plan_of(shop)
    for number in range(50):
        with pytest.raises(Forbidden):
            name = BOT.model_copy(update={"name": f"client {number}"})
            await shop.manager.answer_plan(plan.plan_id, True, name, None, plan.plan_hash, Grant(Role.VIEWER))
    assert len(told(shop, 100)) == 20


async def test_what_an_approver_typed_is_not_repeated_by_the_history(shop: Shop) -> None:
    with pytest.raises(RingError):
        await no_id_at_all(shop, None)
    (event,), _ = shop.world.history.read(1)
    assert (event.ring, event.operation, event.detail) == ("-", "", None)
    assert "passwd" not in event.model_dump_json()


async def test_a_person_who_planned_it_cannot_approve_it_through_an_agents_client(shop: Shop) -> None:
    plan = await shop.manager.plan("staging", "prod", ANN)
    with pytest.raises(Forbidden, match="their own request"):
        await shop.manager.answer_plan(plan.plan_id, True, person_at("ann", "claude-code"))


# -- promotions


async def test_an_agents_promotion_waits_for_a_person_and_then_happens_once(shop: Shop) -> None:
    asked = await by_bot(shop)
    assert (asked.ok, asked.outcome) == (False, "approval_required")
    assert asked.approval.plan_id
    assert asked.approval.plan_hash == shop.world.plans.load(asked.approval.plan_id).hash
    assert shop.record().tag != shop.record("staging").tag
    await shop.manager.answer_plan(asked.approval.plan_id, True, EVE, "go", asked.approval.plan_hash)
    assert told(shop) == [("approved", str(EVE), "go")]
    assert (await by_bot(shop, plan_id=asked.approval.plan_id)).outcome == "promoted"
    with pytest.raises(RingError):
        await by_bot(shop, plan_id=asked.approval.plan_id)


async def test_a_person_is_not_asked_where_only_agents_are(shop: Shop) -> None:
    assert (await shop.promote()).outcome == "promoted"


async def test_everyone_is_asked_where_rings_yaml_says_everyone(shop: Shop) -> None:
    shop.settings = asking("everyone")
    shop.boot()
    assert (await shop.promote()).outcome == "approval_required"


async def test_a_person_is_not_bothered_with_a_release_that_a_gate_refuses(shop: Shop) -> None:
    await shop.deploy("v4", Fault("refused"))
    await shop.stage()
    answer = await by_bot(shop)
    assert (answer.outcome, answer.approval) == ("blocked", None)


async def test_a_rejected_plan_is_blocked_and_says_by_whom(shop: Shop) -> None:
    plan = await plan_of(shop)
    await shop.manager.answer_plan(plan.plan_id, False, EVE)
    answer = await by_bot(shop, plan_id=plan.plan_id)
    assert answer.outcome == "blocked"
    assert [gate.reason_code for gate in answer.gates if gate.reason_code] == ["approval_rejected"]


async def test_an_approval_of_one_path_opens_no_other(shop: Shop) -> None:
    shop.settings = shop.settings.model_copy(
        update={"paths": tuple(p.model_copy(update={"approval": "agents"}) for p in shop.settings.paths)}
    )
    plan = await shop.manager.plan("dev", "staging", BOT)
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    with pytest.raises(RingError, match="is for dev -> staging"):
        await by_bot(shop, plan_id=plan.plan_id)


async def test_an_approved_plan_of_a_gate_ring_is_spent_too(shop: Shop) -> None:
    paths = asking().model_dump(mode="json", by_alias=True, exclude_unset=True)["paths"]
    shop.settings = settings(paths=[{**paths[0], "approval": "agents"}, paths[1]])
    shop.boot()
    plan = await shop.manager.plan("dev", "staging", BOT)
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    answer = await shop.manager.promote("dev", "staging", BOT, plan_id=plan.plan_id)
    assert answer.outcome in {"candidate_tagged", "noop"}
    assert shop.world.plans.approval(shop.world.plans.load(plan.plan_id), shop.clock.now()) is None


async def test_an_approval_that_is_older_than_its_limit_counts_no_more(shop: Shop) -> None:
    plan = await plan_of(shop)
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    stored = shop.world.plans.load(plan.plan_id)
    late = shop.clock.now() + timedelta(seconds=shop.settings.limits.approval)
    assert shop.world.plans.approval(stored, late) is None


# -- overrides


async def test_an_agents_override_waits_for_a_person_whatever_the_path_says(shop: Shop) -> None:
    shop.settings = asking("nobody")
    shop.boot()
    asked = await by_bot(shop, override=FORCED)
    assert asked.outcome == "approval_required"
    assert "past the gates" in asked.summary
    (again,) = asked.next_actions
    assert (again.arguments["force"], again.arguments["reason"]) == (True, FORCED.reason)
    shown = await shop.manager.proposal(asked.approval.plan_id)
    assert shown.warnings[0].startswith("FORCED past its gates")
    await shop.manager.answer_plan(asked.approval.plan_id, True, EVE)
    done = await by_bot(shop, plan_id=asked.approval.plan_id, override=FORCED)
    assert done.outcome == "promoted"
    assert shop.record().override == FORCED


async def test_a_yes_to_a_promotion_through_its_gates_is_none_past_them(shop: Shop) -> None:
    plan = await plan_of(shop)
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    was = everything(shop)
    with pytest.raises(RingError, match="through its gates, not for this way past them"):
        await by_bot(shop, plan_id=plan.plan_id, override=FORCED)
    assert everything(shop) == was


async def test_the_worker_asks_too_whatever_its_door_let_through(shop: Shop) -> None:
    """An operation that was journalled past the door's own check, with an approved plan for something else."""
    plan = await plan_of(shop)
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    request = Request(kind=Kind.PROMOTE, ring="prod", source="staging", plan_id=plan.plan_id, override=FORCED)
    op = shop.manager._operations.start(request, BOT)
    await shop.work()
    assert shop.world.journals.load(op.id).phase == "blocked"


@pytest.mark.promise(14)
async def test_a_persons_own_override_waits_for_nobody(shop: Shop) -> None:
    shop.settings = asking("everyone")
    shop.boot()
    assert (await shop.promote(override=Override(by="ann", reason="it burns"))).outcome == "promoted"


# -- rollbacks


async def back(shop: Shop, **other: Any) -> Any:
    shop.clock.seconds += 10
    return await shop.manager.rollback("prod", BOT, **other)


async def test_an_agents_rollback_waits_where_rings_yaml_says_so_and_finds_its_approval_again(shop: Shop) -> None:
    running = shop.record().release
    asked = await back(shop, reason="users complain")
    assert (asked.ok, asked.outcome, asked.operation_id) == (False, "refused", None)
    assert shop.record().release == running
    assert told(shop)[0][0] == "asked"
    again = await back(shop)
    assert again.approval == asked.approval, "asking again makes no second plan"
    assert len(told(shop, 10)) == 1
    shown = await shop.manager.proposal(asked.approval.plan_id)
    assert (shown.release, shown.source, shown.target) == (asked.to, "prod", "prod")
    await shop.manager.answer_plan(asked.approval.plan_id, True, EVE, None, asked.approval.plan_hash)
    assert [outcome for outcome, _, _ in told(shop, 10)] == ["approved", "asked"]
    done = await back(shop)
    assert (done.outcome, done.to) == ("rolled_back", asked.to)
    assert shop.record().release == asked.to


async def test_an_emergency_rollback_waits_for_nobody_by_default(shop: Shop) -> None:
    shop.settings = asking()
    shop.boot()
    assert (await back(shop)).outcome == "rolled_back"


async def test_a_persons_rollback_waits_for_nobody(shop: Shop) -> None:
    assert (await shop.rollback()).outcome == "rolled_back"


async def test_a_rejected_rollback_says_so_and_asks_no_more(shop: Shop) -> None:
    asked = await back(shop)
    await shop.manager.answer_plan(asked.approval.plan_id, False, EVE)
    answer = await back(shop)
    assert (answer.outcome, answer.approval, answer.next_actions) == ("refused", None, ())
    assert "rejected" in answer.summary
    with pytest.raises(InvalidArguments, match="answered already") as caught:
        await shop.manager.answer_plan(asked.approval.plan_id, True, EVE)
    plan = shop.world.plans.load(asked.approval.plan_id)
    by_hand = f"ring-ctl rollback prod --release {asked.to} --reason"
    for said in (answer.summary, caught.value.next_step):
        assert by_hand in said, "a no does not keep anybody from going back in an emergency"
        assert f"until {plan.expires_at:%Y-%m-%d %H:%M:%SZ}" in said
    assert (await shop.rollback(release=asked.to, reason="it burns")).outcome == "rolled_back"


async def test_a_rejected_way_back_can_be_asked_for_again_once_its_plan_is_over(shop: Shop) -> None:
    asked = await back(shop)
    await shop.manager.answer_plan(asked.approval.plan_id, False, EVE)
    shop.clock.seconds += shop.settings.limits.approval
    again = await back(shop)
    assert again.approval.plan_id != asked.approval.plan_id
    await shop.manager.answer_plan(again.approval.plan_id, True, EVE)
    assert (await back(shop)).outcome == "rolled_back"


async def test_an_approval_to_go_back_is_void_once_something_else_runs(shop: Shop) -> None:
    asked = await back(shop)
    await shop.manager.answer_plan(asked.approval.plan_id, True, EVE)
    assert (await shop.promote()).outcome == "promoted"
    with pytest.raises(PlanStale):
        await shop.manager.proposal(asked.approval.plan_id)
    assert (await back(shop)).outcome == "refused"


async def test_the_worker_refuses_a_rollback_that_nobody_approved(shop: Shop) -> None:
    running, asked = shop.record().release, await back(shop)
    for plan_id in (None, asked.approval.plan_id):
        request = Request(kind=Kind.ROLLBACK, ring="prod", release=asked.to, plan_id=plan_id)
        op = shop.manager._operations.start(request, BOT)
        await shop.work()
        assert shop.world.journals.load(op.id).phase == "failed"
    assert shop.record().release == running


# -- giving up


async def test_cancelling_twice_answers_the_same(shop: Shop) -> None:
    shop.hands.held = True
    await by_bot(shop, wait_s=0)
    (op, *_) = shop.operations()
    shop.world.journals.ask_to_cancel(op.id, str(BOT), "never mind")
    await shop.work()
    first = await shop.manager.cancel(op.id, BOT, "never mind")
    second = await shop.manager.cancel(op.id, BOT, "never mind")
    assert first.status == "cancelled"
    assert second.model_copy(update={"as_of": first.as_of}) == first


async def test_a_persons_look_at_a_plan_has_the_verdicts_there_are(shop: Shop) -> None:
    asked = await by_bot(shop)
    shown = await shop.manager.proposal(asked.approval.plan_id)
    assert {gate.name: str(gate.status) for gate in shown.verdicts} == {
        "health_check": "passed", "audit": "passed", "manual_approval": "failed",
    }  # fmt: skip
    assert shown.changes
    assert shown.blast_radius.services == 2


# -- looking leaves no heap of plans


async def test_who_looks_again_sees_the_plan_they_saw_until_it_says_something_else(shop: Shop) -> None:
    limits = shop.settings.limits.model_copy(update={"approval": 1800.0})  # the candidate expires in an hour
    shop.settings = shop.settings.model_copy(update={"limits": limits})
    shop.boot()
    plan = await plan_of(shop)
    kept = len(shop.world.plans.unanswered(shop.clock.now()))
    for _ in range(20):
        assert (await plan_of(shop)).plan_id == plan.plan_id
        dry = await shop.manager.promote("staging", "prod", BOT, dry_run=True)
        assert dry.plan
        assert dry.plan.plan_id == plan.plan_id
    assert len(shop.world.plans.unanswered(shop.clock.now())) == kept
    assert (await shop.manager.plan("staging", "prod", ANN)).plan_id != plan.plan_id
    shop.clock.seconds += shop.settings.limits.approval / 2 + 1
    later = await plan_of(shop)
    assert later.plan_id != plan.plan_id, "that one would soon expire"
    await shop.manager.answer_plan(later.plan_id, False, EVE)
    assert (await plan_of(shop)).plan_id != later.plan_id, "that one was rejected"


# -- who applies it is not who approved it


@pytest.mark.parametrize("seen", [False, True], ids=["answered first", "asked first"])
async def test_who_approved_a_plan_that_another_made_cannot_apply_it(shop: Shop, seen: bool) -> None:
    plan = await plan_of(shop)
    boss = BOT.model_copy(update={"name": "boss"})
    shop.clock.seconds += 10
    if seen:
        asked = await shop.manager.promote("staging", "prod", boss, plan_id=plan.plan_id)
        assert asked.outcome == "approval_required"
    await shop.manager.answer_plan(plan.plan_id, True, boss, None, plan.plan_hash)
    for _ in range(2):
        with pytest.raises(Forbidden, match="their own request"):
            await shop.manager.promote("staging", "prod", boss, plan_id=plan.plan_id)
    assert told(shop, 10) == [("refused", str(boss), "own_request"), ("approved", str(boss), None)]
    assert shop.record().tag != shop.record("staging").tag
    assert (await by_bot(shop, plan_id=plan.plan_id)).outcome == "promoted"  # who made it asked somebody else


async def test_an_answer_that_the_history_could_not_take_is_none(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = await plan_of(shop)

    def full(event: object) -> None:
        raise StateUnreadable("no space left", "Make room.")

    with monkeypatch.context() as broken, pytest.raises(StateUnreadable):
        broken.setattr(shop.world.history, "append", full)
        await shop.manager.answer_plan(plan.plan_id, True, EVE)
    assert (await by_bot(shop, plan_id=plan.plan_id)).outcome == "approval_required"
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    assert (await by_bot(shop, plan_id=plan.plan_id)).outcome == "promoted"


def test_a_yes_cannot_be_cached() -> None:
    with pytest.raises(ValidationError, match="every later plan"):
        GateSpec(gate="manual_approval", cache=True)


# -- keys


async def test_a_key_goes_on_with_the_plan_that_a_person_was_asked_about(shop: Shop) -> None:
    asked = await by_bot(shop, idempotency_key="k")
    await shop.manager.answer_plan(asked.approval.plan_id, True, EVE)
    done = await by_bot(shop, plan_id=asked.approval.plan_id, idempotency_key="k")
    assert done.outcome == "promoted"
    again = await by_bot(shop, idempotency_key="k")
    assert again.operation_id == done.operation_id


async def test_a_key_answers_for_no_other_plan(shop: Shop) -> None:
    await by_bot(shop, idempotency_key="k")
    with pytest.raises(InvalidArguments, match="another request"):
        await by_bot(shop, plan_id="plan-deadbeef", idempotency_key="k")


def test_why_somebody_went_past_the_gates_holds_no_secret() -> None:
    assert "hunter2secret" not in Override(by="bot", reason="the password=hunter2secret was wrong").reason
