"""Users of a ring: clients at full speed in a process of their own, so that they and the test do not slow each other.

python users.py RECORDS CLIENTS PORT...      asks until its standard input ends
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

#: In which an answer has to come; longer counts as failed.
ANSWER_LIMIT_S = 10.0
#: Before a client asks again somebody who is not there at all.
_AGAIN_S = 0.02


@dataclass(frozen=True)
class Asked:
    """One request as its client saw it; times on this machine's monotonic clock. `release` is who answered, where the
    answer said so, and `status` 0 where none came: then `error` says why.
    """

    began: float
    ended: float
    port: int
    status: int
    release: str = ""
    error: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 200


class Users:
    """What they saw so far."""

    def __init__(self, records: Path) -> None:
        self._file = records.open("rb")
        self._rest = b""
        self._seen: list[Asked] = []

    @property
    def all(self) -> list[Asked]:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        self._seen += [Asked(*json.loads(line)) for line in lines]
        return self._seen

    def since(self, moment: float) -> list[Asked]:
        """Requests that began after it."""
        return [one for one in self.all if one.began >= moment]

    def of(self, release: str) -> list[Asked]:
        return [one for one in self.all if one.release == release]

    @property
    def failed(self) -> list[Asked]:
        return [one for one in self.all if one.failed]

    @property
    def releases(self) -> Counter[str]:
        """Who answered how many."""
        return Counter(one.release for one in self.all if one.release)

    @property
    def longest_gap_ms(self) -> float:
        """The longest time in which no request ended well."""
        ends = sorted(one.ended for one in self.all if not one.failed)
        return max((1000 * (b - a) for a, b in pairwise(ends)), default=0.0)


@contextmanager
def users(folder: Path, *ports: int, clients: int = 4) -> Iterator[Users]:
    """They ask until the block ends, and it begins once every port has been answered."""
    records = folder / f"users-{time.monotonic_ns()}.jsonl"
    records.touch()
    argv = [sys.executable, __file__, str(records), str(clients), *(str(port) for port in ports)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE)
    seen = Users(records)
    try:
        until = time.monotonic() + ANSWER_LIMIT_S
        while {one.port for one in seen.all if not one.failed} != {*ports}:
            assert time.monotonic() < until, f"no answers: {seen.all[-3:]}"
            time.sleep(0.02)
        yield seen
    finally:
        process.communicate(b"", timeout=2 * ANSWER_LIMIT_S)


class Tunnel:
    """A WebSocket client that stays, and keeps every tick that comes and when."""

    def __init__(self, port: int) -> None:
        self.ticks: list[tuple[float, dict[str, Any]]] = []
        self.closed_at: float | None = None
        self._connection = socket.create_connection(("127.0.0.1", port), ANSWER_LIMIT_S)
        self._stream = self._connection.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self._connection.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        answer = list(iter(self._stream.readline, b"\r\n"))
        assert b" 101 " in answer[0], answer
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._listener.join(ANSWER_LIMIT_S)
        self._connection.close()

    def _listen(self) -> None:
        # of this server: whole texts below 64 KB, one each second, not masked
        with suppress(OSError, ValueError):
            while head := self._stream.read(2):
                size = head[1] if head[1] < 126 else int.from_bytes(self._stream.read(2), "big")
                self.ticks.append((time.monotonic(), json.loads(self._stream.read(size))))
        self.closed_at = time.monotonic()


@contextmanager
def tunnel(port: int) -> Iterator[Tunnel]:
    one = Tunnel(port)
    try:
        yield one
    finally:
        one.close()


def _client(port: int, records: int, end: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_LIMIT_S)
    while not end.is_set():
        status, release, error = 0, "", ""
        began = time.monotonic()
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            said = answer.read()
            status = answer.status
            release = json.loads(said).get("release", "")
            error = "" if status == 200 else said.decode()[:200]
        except (OSError, http.client.HTTPException, ValueError) as raised:
            error = repr(raised)
            connection.close()
        ended = time.monotonic()
        os.write(records, json.dumps([began, ended, port, status, release, error]).encode() + b"\n")
        if not status:
            end.wait(_AGAIN_S)
    connection.close()


def main(file: str, clients: str, *ports: str) -> None:
    records, end = os.open(file, os.O_WRONLY | os.O_APPEND), threading.Event()
    threads = [
        threading.Thread(target=_client, args=(int(ports[number % len(ports)]), records, end))
        for number in range(int(clients))
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    end.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
