"""Linux programs of under 200 bytes, made in memory: for containers that need a process and nothing else.

Static, without a libc, so they run in any image, `FROM scratch` included. An architecture is what the engine calls
its own (`amd64`, `arm64`); for any other there is no program, and the answer is None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_LOADED_AT = 0x400000
#: Of the largest page that either architecture has: a segment has to be aligned to it.
_PAGE = 0x10000
_HEADERS = 64 + 56
#: Where data lies behind the code of `waits_then_exits`, which is 28 bytes on both.
_DATA = 32


@dataclass(frozen=True)
class _Processor:
    """`machine` is its number in an ELF header; the others give its code."""

    machine: int
    wait: Callable[[], bytes]
    sleep: Callable[[], bytes]
    exit: Callable[[int], bytes]


def waits(architecture: str) -> bytes | None:
    """A program that does nothing, for ever; only a signal ends it."""
    processor = _PROCESSORS.get(architecture)
    return _program(processor, processor.wait()) if processor else None


def exits(architecture: str, code: int) -> bytes | None:
    """A program that ends at once with exit code `code` (0 to 255)."""
    processor = _PROCESSORS.get(architecture)
    return _program(processor, processor.exit(_checked(code))) if processor else None


def waits_then_exits(architecture: str, seconds: float, code: int) -> bytes | None:
    """A program that sleeps for `seconds` and then ends with exit code `code` (0 to 255)."""
    processor = _PROCESSORS.get(architecture)
    if processor is None:
        return None
    whole = int(seconds)
    timespec = struct.pack("<qq", whole, int((seconds - whole) * 1e9))
    return _program(processor, (processor.sleep() + processor.exit(_checked(code))).ljust(_DATA, b"\0") + timespec)


def _checked(code: int) -> int:
    if not 0 <= code <= 255:
        raise ValueError(f"{code} is no exit code")
    return code


def _program(processor: _Processor, code: bytes) -> bytes:
    """An ELF executable of one segment, readable and executable: both headers, then the code."""
    size = _HEADERS + len(code)
    header = struct.pack(
        "<4s5B7xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 0,  # 64 bits, little-endian, System V
        2, processor.machine, 1, _LOADED_AT + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 0b101, 0, _LOADED_AT, _LOADED_AT, size, size, _PAGE)
    return header + segment + code


# -- amd64: mov eax, number; syscall


def _amd64_wait() -> bytes:
    return bytes.fromhex("b822000000 0f05 ebf7")  # pause; again


def _amd64_sleep() -> bytes:
    # lea rdi, [data]; xor esi, esi; nanosleep
    return bytes.fromhex("488d3d") + struct.pack("<i", _DATA - 7) + bytes.fromhex("31f6 b823000000 0f05")


def _amd64_exit(code: int) -> bytes:
    return b"\xbf" + struct.pack("<I", code) + bytes.fromhex("b8e7000000 0f05")  # mov edi, code; exit_group


# -- arm64: movz x8, number; svc 0


def _arm64(*instructions: int) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


def _movz(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register


_SVC = 0xD4000001


def _arm64_wait() -> bytes:
    # ppoll(NULL, 0, NULL, NULL, 0), as arm64 has no pause; again from the first of the seven
    nothing = [_movz(register, 0) for register in range(5)]
    return _arm64(*nothing, _movz(8, 73), _SVC, 0x14000000 | (-7 & 0x3FFFFFF))


def _arm64_sleep() -> bytes:
    return _arm64(0x10000000 | (_DATA >> 2) << 5, _movz(1, 0), _movz(8, 101), _SVC)  # adr x0, data; nanosleep


def _arm64_exit(code: int) -> bytes:
    return _arm64(_movz(0, code), _movz(8, 94), _SVC)  # exit_group


_PROCESSORS = {
    "amd64": _Processor(62, _amd64_wait, _amd64_sleep, _amd64_exit),
    "arm64": _Processor(183, _arm64_wait, _arm64_sleep, _arm64_exit),
}
