"""Clients at full speed, in a process of their own: they must not share an interpreter with what they measure.

    python -m benchmarks.load CLIENTS FILE URL...

Says `ready` on stdout once every URL answered, goes on until its standard input ends, then writes every request to
FILE. Nothing is tried twice: a request that fails has failed. Standard library only, so that it starts at once.
"""

from __future__ import annotations

import csv
import gzip
import http.client
import itertools
import json
import sys
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

#: So long a user waits, in seconds.
PATIENCE_S = 5.0
#: After a failure, in seconds: a refused connection costs nothing, and four clients that do nothing but be refused
#: would take the processor from what is measured.
PAUSE_S = 0.01

Row = tuple[int, float, float, str, str, str]


class Client:
    """One user: kept-alive connections, one request after another, each URL in turn."""

    def __init__(self, number: int, urls: Sequence[str]) -> None:
        self.number = number
        self.rows: list[Row] = []
        self._urls = [urlsplit(url) for url in urls]
        self._open: dict[str, http.client.HTTPConnection] = {}

    def run(self, stop: threading.Event) -> None:
        for url in itertools.cycle(self._urls):
            if stop.is_set():
                return
            began = time.monotonic()
            status, release = self.ask(url.netloc, url.path or "/")
            self.rows.append((self.number, began, time.monotonic(), status, release, url.netloc))
            if status != "200":
                time.sleep(PAUSE_S)

    def ask(self, netloc: str, path: str) -> tuple[str, str]:
        """(status or the name of what went wrong, the release that answered)"""
        connection = self._open.get(netloc) or http.client.HTTPConnection(netloc, timeout=PATIENCE_S)
        self._open[netloc] = connection
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return str(response.status), json.loads(body).get("release", "") if response.status == 200 else ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            return type(error).__name__, ""


def main(arguments: Sequence[str]) -> None:
    clients, file, *urls = arguments
    stop = threading.Event()
    users = [Client(number, urls) for number in range(int(clients))]
    for url in map(urlsplit, urls):
        while users[0].ask(url.netloc, url.path or "/")[0] != "200":
            time.sleep(0.1)
    threads = [threading.Thread(target=user.run, args=(stop,)) for user in users]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    with gzip.open(file, "wt", newline="", compresslevel=1) as out:
        written = csv.writer(out)
        written.writerow(("client", "start", "end", "status", "release", "front"))
        rows = itertools.chain.from_iterable(user.rows for user in users)
        written.writerows(sorted(rows, key=lambda row: row[2]))


if __name__ == "__main__":
    main(sys.argv[1:])
