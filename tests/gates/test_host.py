"""Child processes: their limits, their output, and that none of them stays behind."""

from __future__ import annotations

import io
import os
import stat
import sys
from itertools import pairwise
from pathlib import Path
from time import monotonic

import anyio
import pytest
from gate_world import alive
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.adapters.host import HostCommands, SystemClock, _Sink

#: A parent that ignores SIGTERM, as does its child; both write their pids first.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("pids.new", "w").write(f"{os.getpid()} {child.pid}")
os.rename("pids.new", "pids")
print("ready", flush=True)
time.sleep(60)
"""
#: A parent that ends at once and leaves a child which holds its output.
DESERTER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def commands() -> HostCommands:
    return HostCommands(grace=0.3)


async def test_stdout_and_stderr_come_together_with_the_exit_code(commands: HostCommands, tmp_path: Path) -> None:
    done = await commands.run(
        python("import sys; print('one', flush=True); print('two', file=sys.stderr); sys.exit(3)"),
        cwd=tmp_path, env={}, limit=10,
    )  # fmt: skip
    assert (done.code, done.output, done.timed_out) == (3, "one\ntwo", False)


async def test_at_the_limit_the_whole_group_is_dead_even_if_it_ignores_the_first_signal(
    commands: HostCommands, tmp_path: Path
) -> None:
    started = monotonic()
    done = await commands.run(python(STUBBORN), cwd=tmp_path, env={}, limit=2.0)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert done.timed_out
    assert done.output == "ready"
    assert done.code < 0
    assert not any(alive(pid) for pid in pids)
    assert monotonic() - started < 5


async def test_a_cancelled_run_leaves_nobody_behind(commands: HostCommands, tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            def cancel_when_ready(line: str) -> None:
                if line == "ready":
                    tasks.cancel_scope.cancel()

            async def go() -> None:
                await commands.run(python(STUBBORN), cwd=tmp_path, env={}, limit=60, on_line=cancel_when_ready)

            tasks.start_soon(go)
    assert not any(alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())


async def test_a_grandchild_left_behind_holds_nothing_up_and_is_ended(commands: HostCommands, tmp_path: Path) -> None:
    started = monotonic()
    done = await commands.run(python(DESERTER), cwd=tmp_path, env={}, limit=30)
    assert (done.code, done.timed_out) == (0, False)
    assert not alive(int(done.output))
    assert monotonic() - started < 5


async def test_a_listener_that_fails_ends_the_child_and_its_error_is_the_callers(
    commands: HostCommands, tmp_path: Path
) -> None:
    def full(line: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        await commands.run(python(STUBBORN), cwd=tmp_path, env={}, limit=30, on_line=full)
    assert not any(alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())


async def test_the_log_has_everything_and_the_memory_only_the_end(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "run.log"
    done = await HostCommands(keep=1000).run(
        python("[print('line', n) for n in range(20000)]"), cwd=tmp_path, env={}, limit=20, log=log
    )
    assert len(done.output) <= 1000
    assert done.output.splitlines()[-1] == "line 19999"
    assert len(log.read_text().splitlines()) == 20001


async def test_the_log_is_its_owners_alone_and_a_second_run_adds_to_it(commands: HostCommands, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.touch(0o644)
    for word in ("first", "second"):
        await commands.run(["echo", word], cwd=tmp_path, env={}, limit=10, log=log)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text().splitlines() == ["$ echo first", "first", "$ echo second", "second"]


async def test_secrets_reach_neither_log_nor_listener_nor_memory(commands: HostCommands, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(
        "PASSWORD=hunter2hunter2\n"
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\nMIIEdef\n-----END RSA PRIVATE KEY-----\nafter\n"
    )
    heard: list[str] = []
    log = tmp_path / "run.log"
    done = await commands.run(["cat", str(secret)], cwd=tmp_path, env={}, limit=10, log=log, on_line=heard.append)
    for text in (log.read_text(), "\n".join(heard), done.output):
        assert "hunter2" not in text
        assert "MIIE" not in text
        assert "after" in text


async def test_a_program_that_is_not_there_is_127_and_says_so(commands: HostCommands, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    done = await commands.run(["no-such-program"], cwd=tmp_path, env={}, limit=5, log=log)
    assert done.code == 127
    assert done.output.startswith("no-such-program: not found")
    assert "not found" in log.read_text()


async def test_a_missing_working_directory_is_named_rather_than_the_program(
    commands: HostCommands, tmp_path: Path
) -> None:
    done = await commands.run(["true"], cwd=tmp_path / "gone", env={}, limit=5)
    assert (done.code, done.output) == (127, f"the working directory {tmp_path / 'gone'} does not exist")


async def test_a_file_that_cannot_be_run_is_126(commands: HostCommands, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    done = await commands.run([str(tmp_path / "data")], cwd=tmp_path, env={}, limit=5)
    assert done.code == 126
    assert "Permission denied" in done.output


async def test_a_child_gets_what_it_is_given_and_none_of_our_own_secrets(
    commands: HostCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGS_TEST_OURS", "ours")
    done = await commands.run(["env"], cwd=tmp_path, env={"GIVEN": "yes"}, limit=5)
    names = {line.split("=")[0] for line in done.output.splitlines()}
    assert {"GIVEN", "PATH", "LANG"} <= names
    assert "RINGS_TEST_OURS" not in names


async def test_bytes_that_are_no_utf8_are_replaced(commands: HostCommands, tmp_path: Path) -> None:
    done = await commands.run(["printf", r"a\377b"], cwd=tmp_path, env={}, limit=5)
    assert done.output == "a\ufffdb"


@given(text=st.text(alphabet=st.sampled_from("aé😀\r\n "), max_size=60), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_arrive(text: str, cuts: list[int]) -> None:
    raw = text.encode()
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    heard: list[str] = []
    sink = _Sink(10_000, io.StringIO(), heard.append)
    for start, end in pairwise(edges):
        sink.feed(raw[start:end])
    empty, closed = os.pipe()
    os.close(closed)
    sink.finish(empty)
    os.close(empty)
    whole = text.split("\n")
    assert heard == [line.rstrip("\r") for line in (whole if whole[-1] else whole[:-1])]


async def test_the_clock_tells_aware_utc_and_goes_forward() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.now().utcoffset() is not None
    assert clock.monotonic() > before
