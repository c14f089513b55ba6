from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from failing_disks import CountingDisk, CuttingDisk, PowerCut, RefusingDisk, fill

from aither_rings_mcp.adapters.durable import DISK, Disk
from aither_rings_mcp.adapters.history_file import ORIGIN, HistoryFile, chained
from aither_rings_mcp.domain.errors import EngineFailure, InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.model import Event, RecordedEvent

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.promise(12)
Make = Callable[..., HistoryFile]


def event(number: int, **other: Any) -> Event:
    fields: dict[str, Any] = {
        "at": AT + timedelta(seconds=number),
        "ring": "prod" if number % 2 else "dev",
        "event": "promote",
        "outcome": "promoted",
        "operation": f"op-{number:06}",
        "from": "r-0123456789ab",
        "actor": "alice (person via cli)",
        "reason": "grün ✓",
        "duration_s": 1.5,
    }
    return Event(**{**fields, **other})


@pytest.fixture
def history(tmp_path: Path, clock: Any) -> Make:
    def make(disk: Disk = DISK) -> HistoryFile:
        return HistoryFile(tmp_path, clock, disk)

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def seqs(events: tuple[RecordedEvent, ...]) -> list[int]:
    return [recorded.seq for recorded in events]


def test_events_come_back_newest_first_numbered_and_chained(history: Make, path: Path) -> None:
    appended = [history().append(event(n)) for n in range(5)]
    events, cursor = history().read(10)
    assert events == tuple(reversed(appended))
    assert cursor is None
    assert seqs(events) == [5, 4, 3, 2, 1]
    assert [e.prev for e in events] == [*(e.hash for e in events[1:]), ORIGIN]
    assert history().verify() == (5, appended[-1].hash, None, False)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_is_compact_json_without_nulls(history: Make, path: Path) -> None:
    history().append(event(0))
    line = path.read_text()
    fields = json.loads(line)
    assert line == json.dumps(fields, sort_keys=True, separators=(",", ":")) + "\n"
    assert None not in fields.values()
    assert fields["from"] == "r-0123456789ab"


@pytest.mark.promise(12)
def test_lines_from_before_events_had_a_client_and_a_call_still_hold(history: Make, path: Path) -> None:
    old = (
        '{"actor":"ann (person via cli)","at":"2026-01-02T03:04:05Z","event":"promote",'
        '"hash":"HASH","operation":"op-20260102-030405-abc123","outcome":"promoted","prev":"' + ORIGIN + '",'
        '"ring":"prod","seq":1}'
    )
    fields = json.loads(old)
    del fields["hash"]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path.write_text(old.replace("HASH", digest) + "\n")
    assert history().verify() == (1, digest, None, False)
    recorded = history().append(event(2, via="claude-code/2.1", call="17"))
    assert (recorded.via, recorded.call) == ("claude-code/2.1", "17")
    history().append(event(3))
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert ["via" in line or "call" in line for line in told] == [False, True, False]
    assert history().verify()[::2] == (3, None)


@pytest.mark.promise(16)
@pytest.mark.parametrize("field", ["reason", "detail", "via", "call"])
def test_a_secret_in_what_somebody_said_is_never_stored(history: Make, path: Path, field: str) -> None:
    said = {field: "rotated ghp_16C7e42F292c6912E7710c838347Ae178B4a"}
    recorded = history().append(event(0, **said))
    assert getattr(recorded, field) == "rotated [redacted]"
    assert "16C7e42F" not in path.read_text()
    assert history().read(1) == ((recorded,), None)
    assert history().verify() == (1, recorded.hash, None, False)


def test_an_empty_history_reads_as_nothing_and_holds(history: Make, path: Path) -> None:
    assert history().read(5) == ((), None)
    assert history().verify() == (0, None, None, False)
    assert not path.exists()
    path.touch()
    assert history().read(5) == ((), None)
    assert history().verify() == (0, None, None, False)
    assert history().append(event(0)).seq == 1


def test_a_worker_that_repeats_itself_is_recorded_once(history: Make) -> None:
    first = history().append(event(1))
    for n in range(2, 60):
        history().append(event(n))
    again = history().append(event(1, at=AT + timedelta(hours=1), outcome="rolled_back"))
    assert again == first
    assert history().verify()[0] == 59


def test_another_event_ring_or_operation_is_no_repetition(history: Make) -> None:
    history().append(event(1))
    for other in (event(1, event="rollback"), event(1, ring="dev"), event(1, operation="op-other")):
        history().append(other)
    assert history().verify()[0] == 4


def test_events_without_an_operation_are_all_recorded(history: Make) -> None:
    for _ in range(3):
        history().append(event(1, operation="", event="freeze"))
    assert history().verify()[0] == 3


# reading in pages


def test_pages_follow_one_another_without_gap_or_overlap_while_events_are_added(history: Make) -> None:
    for n in range(10):
        history().append(event(n))
    events, cursor = history().read(4)
    assert seqs(events) == [10, 9, 8, 7]
    history().append(event(10))
    events, cursor = history().read(4, cursor)
    assert seqs(events) == [6, 5, 4, 3]
    events, cursor = history().read(4, cursor)
    assert (seqs(events), cursor) == ([2, 1], None)


def test_the_last_page_has_no_cursor_also_when_it_is_full(history: Make) -> None:
    for n in range(4):
        history().append(event(n))
    events, cursor = history().read(2)
    events, cursor = history().read(2, cursor)
    assert (seqs(events), cursor) == ([2, 1], None)


def test_a_filter_picks_while_reading(history: Make) -> None:
    for n in range(20):
        history().append(event(n))
    events, cursor = history().read(3, where=lambda e: e.ring == "dev")
    assert seqs(events) == [19, 17, 15]
    events, _ = history().read(3, cursor, where=lambda e: e.ring == "dev")
    assert seqs(events) == [13, 11, 9]


@pytest.mark.parametrize("cursor", ["", "x", "3:", "3:0", "1:99999999", "2:17", "9:{second}", "-1:5", "٣:٥"])
def test_a_foreign_cursor_is_refused(history: Make, path: Path, cursor: str) -> None:
    for n in range(5):
        history().append(event(n))
    second = len(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert seqs(history().read(1, f"2:{second}")[0]) == [2]
    with pytest.raises(InvalidArguments) as caught:
        history().read(1, cursor.format(second=second))
    assert "next_cursor" in caught.value.next_step


def test_a_cursor_into_no_history_is_refused(history: Make) -> None:
    with pytest.raises(InvalidArguments):
        history().read(1, "2:100")


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of 100,000 events, written by hand: it also says what the format is."""
    folder = tmp_path_factory.mktemp("long")
    prev = ORIGIN
    with (folder / "history.jsonl").open("w") as file:
        for seq in range(1, 100_001):
            head = '{"actor":"alice (person via cli)","at":"2026-01-31T12:00:00Z","event":"promote",'
            tail = (
                f'"operation":"op-{seq:06}","outcome":"promoted","prev":"{prev}",'
                f'"reason":"gr\\u00fcn, and long enough to look like a real one","ring":"prod","seq":{seq}}}'
            )
            prev = hashlib.sha256((head + tail).encode()).hexdigest()
            file.write(f'{head}"hash":"{prev}",{tail}\n')
    return folder


def test_reading_the_last_events_costs_what_is_read_and_not_the_file(
    long_history: Path, tmp_path: Path, clock: Any
) -> None:
    with (long_history / "history.jsonl").open("rb") as whole:
        (tmp_path / "history.jsonl").write_bytes(b"".join(islice(whole, 200)))
    read = []
    for folder, size in ((tmp_path, 200), (long_history, 100_000)):
        disk = CountingDisk()
        events, cursor = HistoryFile(folder, clock, disk).read(5)
        assert seqs(events) == list(range(size, size - 5, -1))
        HistoryFile(folder, clock, disk).read(5, cursor)
        read.append(disk.bytes_read)
    small, large = read
    assert large <= small + 8192 < 64 * 1024
    assert (long_history / "history.jsonl").stat().st_size > 30_000_000


def test_a_filter_that_finds_nothing_stops_at_its_bound_and_can_go_on(long_history: Path, clock: Any) -> None:
    disk = CountingDisk()
    events, cursor = HistoryFile(long_history, clock, disk).read(5, where=lambda e: e.seq == 92_000)
    assert events == ()
    assert cursor is not None
    assert disk.bytes_read < 3_000_000
    events, _ = HistoryFile(long_history, clock).read(5, cursor, where=lambda e: e.seq == 92_000)
    assert seqs(events) == [92_000]


# torn tails


@pytest.mark.parametrize("torn", [b"{", b'{"seq": 4', b"\0" * 600, b"not json\n", b"x" * 20_000, b"\xff\xfe\n"])
def test_a_torn_last_line_is_dropped_and_named(history: Make, path: Path, tmp_path: Path, torn: bytes) -> None:
    appended = [history().append(event(n)) for n in range(3)]
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert seqs(history().read(10)[0]) == [3, 2, 1]
    assert history().verify() == (3, appended[-1].hash, None, True)
    assert path.read_bytes() == whole + torn, "reading changes nothing"
    fourth = history().append(event(3))
    assert (fourth.seq, fourth.prev) == (4, appended[-1].hash)
    assert history().verify() == (4, fourth.hash, None, False)
    assert [p.read_bytes() for p in tmp_path.glob("history.torn-20260131T120000.*Z")] == [torn]


def test_a_last_line_without_its_newline_is_torn(history: Make, path: Path) -> None:
    history().append(event(0))
    history().append(event(1))
    path.write_bytes(path.read_bytes()[:-1])
    assert seqs(history().read(10)[0]) == [1]
    assert history().append(event(1)).seq == 2
    assert history().verify()[0] == 2


def test_a_history_that_is_one_torn_line_begins_anew(history: Make, path: Path) -> None:
    path.write_bytes(b'{"half')
    assert history().read(10) == ((), None)
    assert history().append(event(0)).seq == 1
    assert history().verify()[3] is False


@pytest.mark.promise(5)
@pytest.mark.parametrize("names_survive", [True, False])
@pytest.mark.parametrize(("before", "torn"), [(0, b""), (2, b""), (2, b'{"half'), (0, b'{"half')])
def test_a_power_cut_at_any_step_of_an_append_tears_no_event_and_a_repetition_makes_it_one(
    tmp_path: Path, clock: Any, before: int, torn: bytes, names_survive: bool
) -> None:
    for cut_at in range(1, 100):
        folder = tmp_path / str(cut_at)
        folder.mkdir()
        for n in range(before):
            HistoryFile(folder, clock).append(event(n))
        if torn:
            with (folder / "history.jsonl").open("ab") as file:
                file.write(torn)
        disk = CuttingDisk(cut_at, names_survive)
        try:
            HistoryFile(folder, clock, disk).append(event(before))
        except PowerCut:
            pass
        else:
            disk.lose_power()
            assert HistoryFile(folder, clock).verify()[0] == before + 1, "what was returned is on disk"
            break
        events, _, broken, _ = HistoryFile(folder, clock).verify()
        assert events in (before, before + 1)
        assert broken is None
        HistoryFile(folder, clock).append(event(before))
        assert HistoryFile(folder, clock).verify()[0] == before + 1
    assert cut_at > 3


@pytest.mark.promise(5)
@pytest.mark.parametrize("refuse_at", [1, 2])
def test_an_append_that_is_refused_leaves_the_file_as_it_was(history: Make, path: Path, refuse_at: int) -> None:
    history().append(event(0))
    before = path.read_bytes()
    with pytest.raises(EngineFailure, match="disk full"):
        history(RefusingDisk(refuse_at)).append(event(1))
    assert path.read_bytes() == before


@pytest.mark.promise(5)
def test_an_append_to_a_really_full_disk_leaves_the_file_as_it_was(small_disk: Path, clock: Any) -> None:
    history = HistoryFile(small_disk, clock)
    history.append(event(0))
    fill(small_disk)
    # What is left of the last page takes some more; then it is full in the middle of a line.
    with pytest.raises(EngineFailure, match="disk full"):
        for n in range(1, 100):
            history.append(event(n))
    held, head, broken, torn = history.verify()
    assert (broken, torn) == (None, False)
    assert history.read(1)[0][0].hash == head
    (small_disk / "ballast").unlink()
    assert history.append(event(n)).seq == held + 1


# corruption in the middle


def flip(path: Path, line: int, old: bytes, new: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"promoted", b"rejected"),
        (b"alice", b"mallory"),
        (b'"seq":3', b'"seq":7'),
        (b"{", b""),
        (b'{"actor"', b'{ "actor"'),
        (b'"hash"', b'"hush"'),
    ],
)
def test_a_changed_line_is_found_by_number(history: Make, path: Path, old: bytes, new: bytes) -> None:
    appended = [history().append(event(n)) for n in range(5)]
    flip(path, 3, old, new)
    assert history().verify() == (2, appended[1].hash, 3, False)
    assert seqs(history().read(2)[0]) == [5, 4]
    with pytest.raises(StateUnreadable, match=r"line 3 of .*history\.jsonl") as caught:
        history().read(3)
    assert "history verify" in caught.value.next_step
    with pytest.raises(StateUnreadable):
        history().append(event(9))


def test_a_line_that_was_taken_out_is_found(history: Make, path: Path) -> None:
    for n in range(5):
        history().append(event(n))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert history().verify()[2] == 3
    with pytest.raises(StateUnreadable, match="line 3"):
        history().read(10)


def test_a_whole_last_line_that_was_changed_is_not_taken_for_torn(history: Make, path: Path) -> None:
    for n in range(3):
        history().append(event(n))
    flip(path, 3, b"promoted", b"rejected")
    assert history().verify()[2:] == (3, False)
    with pytest.raises(StateUnreadable, match="the last line"):
        history().read(1)


def test_a_line_rewritten_with_a_hash_of_its_own_breaks_the_chain_after_it(history: Make, path: Path) -> None:
    appended = [history().append(event(n)) for n in range(4)]
    _, forged = chained(event(1, actor="mallory"), appended[0])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + forged + lines[2] + lines[3])
    assert history().verify()[2] == 3


# many writers


def append_many(folder: Path, clock: Any, writer: int) -> None:
    for n in range(10):
        HistoryFile(folder, clock).append(event(n, operation=f"op-{writer}-{n}"))


def test_writers_of_many_processes_make_one_chain(tmp_path: Path, clock: Any) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=append_many, args=(tmp_path, clock, n)) for n in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert HistoryFile(tmp_path, clock).verify()[:3] == (60, HistoryFile(tmp_path, clock).read(1)[0][0].hash, None)
    assert sorted(os.listdir(tmp_path)) == ["history.jsonl", "history.lock"]
