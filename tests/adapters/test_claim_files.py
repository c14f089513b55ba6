from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from failing_disks import RefusingDisk

from aither_rings_mcp.adapters.claim_files import ClaimFiles
from aither_rings_mcp.domain.errors import EngineFailure, InternalError, RingBusy

pytestmark = pytest.mark.promise(6)
LIMIT_S = 20.0
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def claims(tmp_path: Path, clock: Any) -> ClaimFiles:
    return ClaimFiles(tmp_path, clock)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "claims" / "prod.json").read_text())


def test_a_claimed_ring_has_one_owner_until_it_is_let_go(claims: ClaimFiles, tmp_path: Path, clock: Any) -> None:
    assert claims.holder("prod") is None
    claim = claims.take("prod", "op-1")
    assert claim and claim.epoch == 1
    assert record(tmp_path) == {"epoch": 1, "operation": "op-1", "since": "2026-01-31T12:00:00Z", "pid": os.getpid()}
    assert claims.take("prod", "op-2") is None
    assert ClaimFiles(tmp_path, clock).take("prod", "op-2") is None
    assert claims.holder("prod") == "op-1"
    claim.release()
    assert claims.holder("prod") is None


def test_rings_are_claimed_apart(claims: ClaimFiles) -> None:
    first, second = claims.take("prod", "op-1"), claims.take("dev", "op-2")
    assert first and second
    assert (claims.holder("prod"), claims.holder("dev")) == ("op-1", "op-2")
    first.release()
    second.release()


def test_epochs_strictly_increase(claims: ClaimFiles) -> None:
    epochs = []
    for n in range(5):
        claim = claims.take("prod", f"op-{n}")
        assert claim
        epochs.append(claim.epoch)
        claim.release()
    assert epochs == [1, 2, 3, 4, 5]


def test_letting_go_twice_closes_nothing_of_anybody_else(claims: ClaimFiles, tmp_path: Path) -> None:
    claim = claims.take("prod", "op-1")
    assert claim
    claim.release()
    other = os.open(tmp_path, os.O_RDONLY)
    claim.release()
    os.fstat(other)
    os.close(other)


def test_looking_who_holds_a_ring_never_gets_in_the_way_of_a_claim(tmp_path: Path, clock: Any) -> None:
    stop = FORK.Event()

    def look() -> None:
        claims = ClaimFiles(tmp_path, clock)
        while not stop.is_set():
            claims.holder("prod")

    claims = ClaimFiles(tmp_path, clock)
    first = claims.take("prod", "op-first")
    assert first
    first.release()
    watchers = [FORK.Process(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    try:
        for n in range(100):
            claim = claims.take("prod", f"op-{n}")
            assert claim, "busy because of somebody who only looked"
            claim.release()
    finally:
        stop.set()
        for watcher in watchers:
            watcher.join(LIMIT_S)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"epoch": "x"}'])
def test_an_unreadable_claim_counts_as_taken_and_names_its_file(
    claims: ClaimFiles, tmp_path: Path, content: str
) -> None:
    first = claims.take("prod", "op-1")
    assert first
    (tmp_path / "claims" / "prod.json").write_text(content)
    with pytest.raises(RingBusy, match=r"prod\.json"):
        claims.holder("prod")
    first.release()
    for _ in range(2):
        with pytest.raises(RingBusy, match=r"prod\.json") as caught:
            claims.take("prod", "op-2")
        assert "counts as taken" in caught.value.message
        assert "move" in caught.value.next_step
    assert (tmp_path / "claims" / "prod.json").read_text() == content


def test_a_claim_that_cannot_be_recorded_is_not_held(claims: ClaimFiles, tmp_path: Path, clock: Any) -> None:
    (tmp_path / "claims").mkdir()
    with pytest.raises(EngineFailure, match="disk full"):
        ClaimFiles(tmp_path, clock, RefusingDisk(2)).take("prod", "op-1")
    assert claims.holder("prod") is None
    claim = claims.take("prod", "op-2")
    assert claim and claim.epoch == 1
    claim.release()


# across processes

PROLOGUE = """
import os, sys, subprocess, signal
from datetime import UTC, datetime
from pathlib import Path
from aither_rings_mcp.adapters.claim_files import ClaimFiles
class Clock:
    def now(self): return datetime.now(UTC)
claims = ClaimFiles(Path(sys.argv[1]), Clock())
"""
HOLDER = (
    PROLOGUE
    + """
claim = claims.take("prod", "op-held")
print(claim.epoch, flush=True)
signal.pause()
"""
)
WORKER = (
    PROLOGUE
    + """
claim = claims.adopt("prod", int(sys.argv[2]))
print("worker", os.getpid(), claim.epoch, os.get_inheritable(claim.fd), flush=True)
signal.pause()
"""
)
DOOR = (
    PROLOGUE
    + f"""
claim = claims.take("prod", "op-handed-over")
subprocess.Popen(
    [sys.executable, "-c", {WORKER!r}, sys.argv[1], str(claim.fd)],
    pass_fds=(claim.fd,), start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
claim.release()
"""
)


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(script: str, folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=LIMIT_S)


def test_a_claim_dies_with_its_process_however_it_dies(
    claims: ClaimFiles, tmp_path: Path, run: Callable[..., subprocess.Popen[str]]
) -> None:
    holder = run(HOLDER, tmp_path)
    assert holder.stdout and holder.stdout.readline() == "1\n"
    assert claims.holder("prod") == "op-held"
    assert claims.take("prod", "op-mine") is None
    holder.send_signal(signal.SIGKILL)
    holder.wait(LIMIT_S)
    assert claims.holder("prod") is None
    claim = claims.take("prod", "op-mine")
    assert claim and claim.epoch == 2
    claim.release()


@pytest.mark.promise(4)
def test_a_claim_outlives_the_door_that_handed_it_to_a_worker(
    claims: ClaimFiles, tmp_path: Path, run: Callable[..., subprocess.Popen[str]]
) -> None:
    door = run(DOOR, tmp_path)
    assert door.wait(LIMIT_S) == 0
    assert claims.holder("prod") == "op-handed-over", "held before the worker has even started up"
    assert door.stdout
    word, pid, epoch, inheritable = door.stdout.readline().split()
    try:
        assert (word, epoch, inheritable) == ("worker", "1", "False")
        assert claims.take("prod", "op-mine") is None
    finally:
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: claims.holder("prod") is None)


def test_a_claim_is_not_inherited_by_accident(claims: ClaimFiles) -> None:
    claim = claims.take("prod", "op-1")
    assert claim and not os.get_inheritable(claim.fd)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        claim.release()
        assert claims.holder("prod") is None
        child.kill()


def test_only_the_inherited_lock_can_be_adopted(claims: ClaimFiles, tmp_path: Path) -> None:
    claim = claims.take("prod", "op-1")
    assert claim
    lock = tmp_path / "claims" / "prod.lock"
    stranger, elsewhere = os.open(lock, os.O_RDWR), os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(RingBusy, match="somebody else"):
        claims.adopt("prod", stranger)
    with pytest.raises(InternalError, match="not the lock"):
        claims.adopt("prod", elsewhere)
    with pytest.raises(InternalError, match="not the lock"):
        claims.adopt("prod", 987)
    twin = claims.adopt("prod", os.dup(claim.fd))
    assert twin.epoch == claim.epoch
    claim.release()
    assert claims.holder("prod") == "op-1"
    twin.release()
    assert claims.holder("prod") is None
    os.close(stranger)
    os.close(elsewhere)


def test_of_fifty_processes_exactly_one_gets_the_ring(claims: ClaimFiles, tmp_path: Path, clock: Any) -> None:
    start, told, done = FORK.Event(), FORK.SimpleQueue(), FORK.Event()

    def race(n: int) -> None:
        start.wait(LIMIT_S)
        claim = ClaimFiles(tmp_path, clock).take("prod", f"op-{n}")
        told.put((n, claim.epoch if claim else None))
        done.wait(LIMIT_S)

    racers = [FORK.Process(target=race, args=(n,)) for n in range(50)]
    for racer in racers:
        racer.start()
    start.set()
    answers = [told.get() for _ in racers]
    winners = [(n, epoch) for n, epoch in answers if epoch is not None]
    assert len(winners) == 1
    assert winners[0][1] == 1
    assert claims.holder("prod") == f"op-{winners[0][0]}"
    done.set()
    for racer in racers:
        racer.join(LIMIT_S)
    assert claims.holder("prod") is None


def test_epochs_strictly_increase_over_processes(tmp_path: Path, clock: Any) -> None:
    told = FORK.SimpleQueue()

    def work(n: int) -> None:
        taken = 0
        while taken < 5:
            claim = ClaimFiles(tmp_path, clock).take("prod", f"op-{n}")
            if claim:
                told.put(claim.epoch)
                claim.release()
                taken += 1

    workers = [FORK.Process(target=work, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    epochs = [told.get() for _ in range(30)]
    for worker in workers:
        worker.join(LIMIT_S)
    assert epochs == list(range(1, 31))


def test_the_state_lock_lets_one_in_at_a_time(tmp_path: Path, clock: Any) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(50):
            with ClaimFiles(tmp_path, clock).state_lock():
                counter.write_text(str(int(counter.read_text()) + 1))

    workers = [FORK.Process(target=count) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LIMIT_S)
    assert counter.read_text() == "200"


def test_the_state_lock_is_let_go_after_an_error(claims: ClaimFiles) -> None:
    with pytest.raises(ZeroDivisionError), claims.state_lock():
        _ = 1 / 0
    with claims.state_lock():
        pass
