"""The programs inside pins: they run for real where this machine can run them, byte by byte where it cannot."""

from __future__ import annotations

import platform
import resource
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aither_rings_mcp.adapters.tiny_program import exits, waits, waits_then_exits

HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
MACHINES = {"amd64": 62, "arm64": 183}

Start = Callable[[bytes | None], "subprocess.Popen[bytes]"]


def _little() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    resource.setrlimit(resource.RLIMIT_AS, (2**20, 2**20))


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a program on this machine, with one MiB of memory and a second of processor time at most."""

    def run(program: bytes | None) -> subprocess.Popen[bytes]:
        assert program, f"no program for {HERE}"
        path = tmp_path / "program"
        path.write_bytes(program)
        path.chmod(0o755)
        return subprocess.Popen([str(path)], preexec_fn=_little)

    return run


@pytest.mark.parametrize("code", [0, 1, 137, 255])
def test_a_program_ends_with_the_code_it_was_made_for(start: Start, code: int) -> None:
    assert start(exits(HERE, code)).wait(5) == code


def test_a_program_that_waits_uses_no_time_and_ends_only_by_a_signal(start: Start) -> None:
    waiting = start(waits(HERE))
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.3)
    seen = Path(f"/proc/{waiting.pid}/stat").read_text().rpartition(")")[2].split()
    waiting.kill()
    assert waiting.wait(5) == -9
    assert (seen[0], int(seen[11]) + int(seen[12])) == ("S", 0)


def test_a_program_may_end_after_a_while(start: Start) -> None:
    began = time.monotonic()
    assert start(waits_then_exits(HERE, 0.3, 7)).wait(5) == 7
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("architecture", MACHINES)
def test_every_program_is_one_small_segment_that_starts_behind_its_headers(architecture: str) -> None:
    for program in (waits(architecture), exits(architecture, 3), waits_then_exits(architecture, 1.5, 3)):
        assert program
        assert len(program) < 200
        kind, machine, _, entry, segments = struct.unpack_from("<HHIQQ", program, 16)
        assert (program[:7], kind, machine, segments) == (b"\x7fELF\x02\x01\x01", 2, MACHINES[architecture], 64)
        load, flags, at, address, _, in_file, in_memory, align = struct.unpack_from("<IIQQQQQQ", program, segments)
        assert (load, flags, at, in_file, in_memory) == (1, 0b101, 0, len(program), len(program))
        assert (address % align, entry) == (0, address + 64 + 56)


def test_arm64_code_is_what_an_assembler_makes_of_it() -> None:
    def code(program: bytes | None) -> list[str]:
        assert program
        return [f"{one:08x}" for (one,) in struct.iter_unpack("<I", program[120:])]

    zeros = ["d2800000", "d2800001", "d2800002", "d2800003", "d2800004"]
    assert code(waits("arm64")) == [*zeros, "d2800928", "d4000001", "17fffff9"]
    end = ["d2800060", "d2800bc8", "d4000001"]
    assert code(exits("arm64", 3)) == end
    sleep = ["10000100", "d2800001", "d2800ca8", "d4000001"]
    timespec = ["00000001", "00000000", "1dcd6500", "00000000"]
    assert code(waits_then_exits("arm64", 1.5, 3)) == [*sleep, *end, "00000000", *timespec]


def test_for_another_architecture_there_is_none() -> None:
    assert (waits("riscv64"), exits("s390x", 0), waits_then_exits("", 1, 0)) == (None, None, None)


def test_what_is_no_exit_code_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        exits("amd64", 256)
