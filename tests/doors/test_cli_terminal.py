"""`ring-ctl` as a process: on a real terminal, in a pipe, and with Ctrl-C pressed."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The command line on the fake manager; `endless` watches an operation that goes on.
PROGRAM = """
import asyncio, sys
from test_cli_commands import FakeManager
from aither_rings_mcp.domain.answers import Progress
from aither_rings_mcp.domain.rollout import Kind, Phase
from aither_rings_mcp.entrypoints.cli import create_app

class Endless(FakeManager):
    async def _told(self, operation_id, watch):
        await super()._told(operation_id, watch)
        await watch(Progress(operation_id=operation_id, phase=Phase.SWITCHING, percent=50, message="one of many lines"))
        await asyncio.Event().wait()

mode = sys.argv.pop(1)
manager = Endless() if mode == "endless" else FakeManager({Kind.PROMOTE: "blocked"})
create_app(lambda _: manager)(prog_name="ring-ctl")
"""


def environment(**extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS"}}
    path = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
    return {**kept, "PYTHONPATH": path, "TERM": "xterm-256color", "COLUMNS": "120", **extra}


def start(mode: str, *args: str, **streams: int) -> subprocess.Popen[bytes]:
    # whoever runs these tests in the background ignores Ctrl-C, and children inherit that
    hearing = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.Popen([sys.executable, "-c", hearing + PROGRAM, mode, *args], env=environment(), **streams)


def on_a_terminal(*args: str, typed: str = "", **env: str) -> tuple[int, str]:
    """Exit code and everything that a terminal was sent."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ends", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(**env),
    )
    os.close(theirs)
    seen = b""
    # the far end of a terminal that everybody left reads as an error on Linux
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:
        pass
    finally:
        os.close(ours)
    return process.wait(timeout=30), seen.decode()


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    code, coloured = on_a_terminal("promote", "staging", "prod")
    assert code == 4
    assert "\x1b[1;31mfailed" in coloured
    _, plain = on_a_terminal("promote", "staging", "prod", NO_COLOR="1")
    assert "failed" in plain
    assert "31m" not in plain


def test_a_terminal_keeps_the_gates_on_screen_and_restores_its_cursor() -> None:
    _, seen = on_a_terminal("promote", "staging", "prod")
    assert "gate lint_clean: passed" in seen
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l") >= 0


def kept(seen: str) -> list[str]:
    """What stays on the terminal: the lines that it was sent, without those that were overwritten."""
    lines = [line.rpartition("\x1b[2K")[2] for line in seen.replace("\r\n", "\n").split("\n")]
    return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", line) for line in lines]


def test_builds_only_pass_by_on_a_terminal_unless_it_is_verbose() -> None:
    _, seen = on_a_terminal("promote", "staging", "prod", NO_COLOR="1")
    assert "compose | #6 exporting to image" in seen
    assert not any("compose |" in line for line in kept(seen))
    _, seen = on_a_terminal("promote", "staging", "prod", "-v", NO_COLOR="1")
    assert any("compose | #6 exporting to image" in line for line in kept(seen))


def test_no_line_is_wider_than_the_terminal() -> None:
    for words in ("promote staging prod", "status", "history", "plan staging prod", "monitor --once", "--help"):
        _, seen = on_a_terminal(*words.split(), NO_COLOR="1", COLUMNS="80")
        assert max(map(len, kept(seen))) <= 80, words


def test_a_pipe_gets_no_escape_sequence() -> None:
    process = start("ends", "promote", "staging", "prod", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=30)
    assert b"tests/test_app.py:7" in out
    assert b"\x1b" not in out + err


@pytest.mark.promise(4)
@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_while_waiting_leaves_with_130_and_the_command_to_watch_again(as_json: bool) -> None:
    words = ("promote", "staging", "prod", *(["--json"] if as_json else []))
    process = start("endless", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    deadline = time.monotonic() + 30
    for line in process.stderr:
        if b"one of many lines" in line:
            break
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    if as_json:
        assert json.loads(out)["error"]["operation_id"] == "op-1"
    else:
        assert b"ring-ctl operation op-1 --follow" in err
    assert b"Traceback" not in err


def test_the_help_waits_for_nothing_heavy() -> None:
    heavy = ("pydantic", "docker", "mcp", "httpx", "aither_rings_mcp.manager", "aither_rings_mcp.wiring")
    program = f"""
import sys
from aither_rings_mcp.entrypoints import cli
sys.argv = ["ring-ctl", "--version"]
try:
    cli.main()
except SystemExit:
    print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=30
    )
    assert done.stdout.splitlines()[1] == "[]"


@pytest.mark.promise(13)
def test_on_a_terminal_a_person_sees_what_they_approve_and_approves_what_they_saw() -> None:
    code, seen = on_a_terminal("approve", "plan-0a", typed="y\n", NO_COLOR="1")
    assert code == 0
    question = seen.index("Approve plan-0a?")
    for fact in ("genesis", "recreate", "lint_clean", "felt by"):
        assert fact in seen[:question]
    assert "Plan approved as shown (00ff)." in seen[question:]


def test_a_person_who_does_not_say_yes_has_answered_nothing() -> None:
    code, seen = on_a_terminal("approve", "plan-0a", typed="\n", NO_COLOR="1")
    assert code == 4
    assert "Plan approved" not in seen
    assert "Nothing was answered" in seen


def test_yes_approves_without_a_look() -> None:
    code, seen = on_a_terminal("approve", "plan-0a", "--yes", NO_COLOR="1")
    assert code == 0
    assert "Approve plan-0a?" not in seen
    assert "Plan approved." in seen
