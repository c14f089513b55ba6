from __future__ import annotations

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aither_rings_mcp.adapters.plan_files import PlanFiles
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, PlanExpired, StateUnreadable
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.plan import Plan

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LIMIT = 3600.0
AGENT = Actor(name="claude", kind="agent", door="mcp")
ALICE = Actor(name="alice")
BOB = Actor(name="bob")
pytestmark = pytest.mark.promise(13)


def plan(**fields: object) -> Plan:
    made = Plan(
        id="plan-0a1b2c",
        hash="a" * 64,
        source="staging",
        target="prod",
        release="r-0123456789ab",
        images={"genesis": "sha256:" + "1" * 64},
        replaces=None,
        created_at=AT,
        expires_at=AT + timedelta(seconds=900),
        by=AGENT,
    )
    return made.model_copy(update=fields)


@pytest.fixture
def plans(tmp_path: Path) -> PlanFiles:
    files = PlanFiles(tmp_path, LIMIT)
    files.save(plan())
    return files


def test_a_plan_comes_back_as_it_was_saved(plans: PlanFiles, tmp_path: Path) -> None:
    assert PlanFiles(tmp_path, LIMIT).load("plan-0a1b2c") == plan()
    assert (tmp_path / "plans" / "plan-0a1b2c.json").stat().st_mode & 0o777 == 0o600


def answered(plans: PlanFiles, approved: bool, by: Actor, note: str | None = None) -> None:
    """An answer that the history has."""
    plans.answer(plan(), approved, by, note, AT)
    plans.tell(plan(), lambda *_: None)


@pytest.mark.parametrize("odd", ["plan-nothere", "", "../rings-state", "plan-0a1b2c.answer", "-x", "p\n"])
def test_an_unknown_plan_has_to_be_made_again(plans: PlanFiles, odd: str) -> None:
    plans.answer(plan(), True, ALICE, None, AT)
    with pytest.raises(PlanExpired) as caught:
        plans.load(odd)
    assert "ring-ctl plan" in caught.value.next_step


@pytest.mark.parametrize(("approved", "word"), [(True, "approved"), (False, "rejected")])
def test_an_answer_counts_for_the_plan_it_was_given_for(plans: PlanFiles, approved: bool, word: str) -> None:
    assert plans.approval(plan(), AT) is None
    answered(plans, approved, ALICE, "looks right")
    assert plans.approval(plan(), AT) == (word, ALICE)


def test_an_answer_counts_once_it_is_told_and_is_told_once(plans: PlanFiles) -> None:
    told: list[tuple[object, ...]] = []
    plans.tell(plan(), lambda *said: told.append(said))
    assert not told, "nobody answered"
    plans.answer(plan(), True, ALICE, "go", AT)
    assert plans.approval(plan(), AT) is None
    for _ in range(2):
        plans.tell(plan(), lambda *said: told.append(said))
    assert told == [(True, ALICE, "go", AT)]
    plans.withdraw(plan())
    assert plans.approval(plan(), AT) == ("approved", ALICE), "what is told is not taken back"


def test_an_answer_from_before_answers_were_marked_as_told_counts(plans: PlanFiles, tmp_path: Path) -> None:
    answered(plans, True, ALICE)
    path = tmp_path / "plans" / "plan-0a1b2c.answer.json"
    old = json.loads(path.read_text())
    del old["told"]
    path.write_text(json.dumps(old))
    assert plans.approval(plan(), AT) == ("approved", ALICE)


def test_an_answer_does_not_count_for_other_content_under_the_same_id(plans: PlanFiles) -> None:
    answered(plans, True, ALICE)
    plans.save(plan(hash="b" * 64))
    assert plans.approval(plans.load("plan-0a1b2c"), AT) is None


def test_an_approval_expires(plans: PlanFiles) -> None:
    answered(plans, True, ALICE)
    limit = timedelta(seconds=LIMIT)
    assert plans.approval(plan(), AT + limit - timedelta(milliseconds=1)) == ("approved", ALICE)
    assert plans.approval(plan(), AT + limit) is None


def test_an_approval_is_used_once(plans: PlanFiles) -> None:
    answered(plans, True, ALICE)
    plans.use(plan())
    assert plans.approval(plan(), AT) is None
    with pytest.raises(PlanExpired, match="used already"):
        plans.use(plan())


@pytest.mark.parametrize("asker", [AGENT, ALICE])
@pytest.mark.parametrize("door", ["cli", "rest", "mcp"])
def test_nobody_approves_their_own_request_through_whatever_door(plans: PlanFiles, asker: Actor, door: str) -> None:
    plans.save(plan(by=asker))
    with pytest.raises(Forbidden) as caught:
        plans.answer(plan(by=asker), True, asker.model_copy(update={"door": door}), None, AT)
    assert "somebody else" in caught.value.next_step
    assert plans.approval(plan(by=asker), AT) is None


def test_the_first_answer_stands(plans: PlanFiles) -> None:
    answered(plans, False, ALICE)
    with pytest.raises(InvalidArguments, match="answered already"):
        plans.answer(plan(), True, BOB, None, AT)
    assert plans.approval(plan(), AT) == ("rejected", ALICE)


def test_an_expired_plan_cannot_be_answered(plans: PlanFiles) -> None:
    with pytest.raises(PlanExpired, match="expired at 2026-01-31 12:15:00Z"):
        plans.answer(plan(), True, ALICE, None, plan().expires_at)
    assert plans.approval(plan(), AT) is None


@pytest.mark.parametrize("name", ["plan-0a1b2c.json", "plan-0a1b2c.answer.json"])
def test_an_unreadable_plan_or_answer_approves_nothing(plans: PlanFiles, tmp_path: Path, name: str) -> None:
    answered(plans, True, ALICE)
    (tmp_path / "plans" / name).write_text('{"approved": true}')
    with pytest.raises(StateUnreadable, match=name):
        plans.approval(plans.load("plan-0a1b2c"), AT)


def use(folder: Path) -> None:
    try:
        PlanFiles(folder, LIMIT).use(plan())
    except PlanExpired:
        raise SystemExit(3) from None


def test_of_many_processes_one_gets_to_use_an_approval(plans: PlanFiles, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    users = [fork.Process(target=use, args=(tmp_path,)) for _ in range(10)]
    for user in users:
        user.start()
    for user in users:
        user.join(30)
    assert sorted(user.exitcode or 0 for user in users) == [0] + [3] * 9
