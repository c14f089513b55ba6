from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from failing_disks import CuttingDisk, PowerCut

from aither_rings_mcp.adapters.journal_files import JournalFiles
from aither_rings_mcp.domain.errors import InternalError, OperationNotFound, StateUnreadable
from aither_rings_mcp.domain.model import Actor, Override
from aither_rings_mcp.domain.naming import new_operation_id
from aither_rings_mcp.domain.rollout import Failure, Kind, Operation, Phase, Request, Step
from aither_rings_mcp.domain.verdict import GateResult, Verdict

AT = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)


def operation(token: str = "0a1b2c", after: float = 0, **fields: object) -> Operation:
    at = AT + timedelta(seconds=after)
    request = Request(kind=Kind.PROMOTE, ring="prod", source="staging", override=Override(by="alice", reason="hotfix"))
    op = Operation(
        id=new_operation_id(at, token), request=request, actor=Actor(name="alice"), created_at=at, updated_at=at
    )
    return op.model_copy(update=fields)


def test_operation_ids_are_the_time_in_utc_and_a_token() -> None:
    assert new_operation_id(AT, "0a1b2c") == "op-20260131t235958-0a1b2c"
    assert new_operation_id(AT.astimezone(timezone(timedelta(hours=5))), "0a1b2c") == "op-20260131t235958-0a1b2c"


def test_a_journal_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    full = operation(
        phase=Phase.GATING,
        steps=(Step(phase=Phase.GATING, at=AT, note="n"),),
        gates=(GateResult(name="smoke", status=Verdict.FAILED, summary="no"),),
        verification={"images_match": True, "reason": None, "unhealthy": []},
        failure=Failure(record={"code": "internal", "busy": None, "n": 1}),
    )
    JournalFiles(tmp_path).create(full)
    assert JournalFiles(tmp_path).load(full.id) == full
    moved = full.model_copy(update={"phase": Phase.PREPARING})
    JournalFiles(tmp_path).save(moved)
    assert JournalFiles(tmp_path).load(full.id) == moved
    assert JournalFiles(tmp_path).folder(full.id) == tmp_path / "operations" / full.id


def test_an_id_is_used_once(tmp_path: Path) -> None:
    JournalFiles(tmp_path).create(operation())
    with pytest.raises(InternalError, match="exists already"):
        JournalFiles(tmp_path).create(operation(phase=Phase.FAILED))
    assert JournalFiles(tmp_path).load(operation().id) == operation()


def test_a_journal_that_was_never_begun_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(OperationNotFound):
        JournalFiles(tmp_path).save(operation())


@pytest.mark.parametrize(
    "odd",
    ["op-nothere", "", "op-", "op-short", "../../etc", "op-a/../../b", "op-ABCDEF", "op-abcdef\n", "op-" + "a" * 41],
)
def test_an_unknown_or_odd_id_is_not_found(tmp_path: Path, odd: str) -> None:
    with pytest.raises(OperationNotFound) as caught:
        JournalFiles(tmp_path).load(odd)
    assert "ring-ctl" in caught.value.next_step


def test_the_newest_operations_come_first(tmp_path: Path) -> None:
    journals = JournalFiles(tmp_path)
    assert journals.recent(3) == ()
    ops = [operation(f"{9 - n:06}", after=n) for n in range(5)]
    for op in (ops[3], ops[0], ops[4], ops[1], ops[2]):
        journals.create(op)
    assert journals.recent(3) == (ops[4], ops[3], ops[2])
    assert journals.recent(100) == tuple(reversed(ops))


def test_folders_without_a_journal_and_other_files_are_passed_over(tmp_path: Path) -> None:
    journals = JournalFiles(tmp_path)
    journals.create(operation())
    half = tmp_path / "operations" / "op-29991231t000000-ffffff"
    half.mkdir()
    (tmp_path / "operations" / "README").write_text("x")
    assert journals.recent(1) == (operation(),)
    with pytest.raises(OperationNotFound):
        journals.load(half.name)


def test_an_unreadable_journal_is_named(tmp_path: Path) -> None:
    journals = JournalFiles(tmp_path)
    journals.create(operation())
    (journals.folder(operation().id) / "journal.json").write_text('{"id": "half')
    for attempt in (lambda: journals.load(operation().id), lambda: journals.recent(1)):
        with pytest.raises(StateUnreadable, match=operation().id):
            attempt()


def test_the_first_who_asks_to_cancel_is_named(tmp_path: Path) -> None:
    journals = JournalFiles(tmp_path)
    journals.create(operation())
    assert journals.cancel_asked(operation().id) is None
    journals.ask_to_cancel(operation().id, "bob", "wrong release")
    journals.ask_to_cancel(operation().id, "carol", "me too")
    assert JournalFiles(tmp_path).cancel_asked(operation().id) == "bob: wrong release"
    with pytest.raises(OperationNotFound):
        journals.ask_to_cancel("op-nothere", "bob", "?")


@pytest.mark.promise(5)
@pytest.mark.parametrize("names_survive", [True, False])
def test_a_power_cut_at_any_step_leaves_the_phase_before_or_the_one_after(tmp_path: Path, names_survive: bool) -> None:
    before, after = operation(), operation(phase=Phase.SWITCHING)
    for cut_at in range(1, 100):
        folder = tmp_path / str(cut_at)
        JournalFiles(folder).create(before)
        disk = CuttingDisk(cut_at, names_survive)
        try:
            JournalFiles(folder, disk).save(after)
        except PowerCut:
            assert JournalFiles(folder).load(before.id) in (before, after)
        else:
            disk.lose_power()
            assert JournalFiles(folder).load(before.id) == after
            break
    assert cut_at == 6


@pytest.mark.promise(5)
@pytest.mark.parametrize("cut_at", range(1, 9))
def test_a_power_cut_while_a_journal_is_begun_leaves_it_whole_or_nothing(tmp_path: Path, cut_at: int) -> None:
    with pytest.raises(PowerCut):
        JournalFiles(tmp_path / "state", CuttingDisk(cut_at)).create(operation())
    assert JournalFiles(tmp_path / "state").recent(10) in ((), (operation(),))
