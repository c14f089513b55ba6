"""The runtime socket of the edge: one question, one answer; and what its answers mean."""

from __future__ import annotations

import csv
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from aither_rings_mcp.domain.errors import EngineFailure
from aither_rings_mcp.domain.slots import Pace, Traffic

T = TypeVar("T")
_LIMIT = 5.0
#: In s, for what is there but for a moment while it starts anew.
GLANCE = 1.0
_PAUSE = 0.02
_UP = "2"
START = "Start it (`ring-ctl up shared`); if it does not stay, look at its log. Then repeat."


class AdminSocket:
    """Asks the edge. Blocks."""

    def __init__(self, folder: Path, name: str = "admin.sock") -> None:
        self._folder = folder
        self._name = name

    def ask(self, *commands: str) -> str:
        """What the edge answers to all commands, in one go. Only for what may be said twice."""
        return self.until(lambda: self.once(*commands), GLANCE)

    def until(self, attempt: Callable[[], T | None], patience: float) -> T:
        """What `attempt` gives once it gives something; an edge that is away counts as nothing. `patience` in s."""
        end = time.monotonic() + patience
        why = "it goes on as before"
        while True:
            try:
                if (found := attempt()) is not None:
                    return found
            except OSError as error:
                why = error.strerror or type(error).__name__
            if time.monotonic() > end:
                raise EngineFailure(f"the edge does not answer as it should ({self._folder}: {why})", START)
            time.sleep(_PAUSE)

    def once(self, *commands: str) -> str:
        """One attempt; OSError while nobody answers."""
        # By the folder's descriptor: the path of a socket may not be longer than 107 bytes, that of a folder may.
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as edge:
                edge.settimeout(_LIMIT)
                edge.connect(f"/proc/self/fd/{folder}/{self._name}")
                edge.sendall((";".join(commands) + "\n").encode())
                edge.shutdown(socket.SHUT_WR)  # the master process waits for more otherwise
                answer = b"".join(iter(lambda: edge.recv(65536), b""))
        finally:
            os.close(folder)
        if not answer:  # every answer has at least an empty line
            raise ConnectionResetError(0, "it went away")
        return answer.decode(errors="replace")


def described(info: str) -> str | None:
    """The description out of the answer to `show info`."""
    return next((line[12:].strip() for line in info.splitlines() if line.startswith("description:")), None)


def old_workers(processes: str) -> tuple[str, ...]:
    """The ids of the processes that only go on with what was open before a reload, out of the answer to `show proc`."""
    _, _, old = processes.partition("# old workers\n")
    lines = old.partition("#")[0].splitlines()
    return tuple(line.split()[0] for line in lines if line.strip())


def server_addresses(states: str) -> dict[str, str]:
    """backend -> the address of its server, out of the answer to `show servers state`; only those in use."""
    lines = [line for line in states.splitlines() if line.strip()]
    header = "".join(line[1:] for line in lines if line.startswith("#")).split()
    rows = [dict(zip(header, line.split(), strict=True)) for line in lines if len(line.split()) == len(header)]
    return {row["be_name"]: row["srv_addr"] for row in rows if row.get("srv_op_state") == _UP}


def traffic_of(stat: str, backends: Mapping[str, str]) -> Traffic:
    """What the answer to `show stat` counts for some backends, all together; `backends`: backend -> service."""
    rows = _rows(stat, backends)
    return Traffic(
        requests=sum(_count(row, "req_tot") for row in rows),
        errors=sum(_count(row, "hrsp_5xx") for row in rows),
        paces={
            backends[row["pxname"]]: Pace(answers=_count(row, "req_tot"), mean_ms=_count(row, "rtime")) for row in rows
        },
    )


def open_to(stat: str, backends: Collection[str]) -> int:
    """How many requests and connections to these are under way, out of the same answer."""
    return sum(_count(row, "scur") for row in _rows(stat, backends))


def _rows(stat: str, backends: Collection[str]) -> list[dict[str, str]]:
    lines = csv.DictReader(stat.lstrip("# ").splitlines())
    return [row for row in lines if row["svname"] == "BACKEND" and row["pxname"] in backends]


def _count(row: dict[str, str], name: str) -> int:
    return int(row.get(name) or 0)
