"""Looks whether users are served well again; a program of its own, as it has to run where the users are.

    python -m benchmarks.until_good BAD_RELEASE LIMIT QUIET URL...

Ends with 0 once every URL answered well, and not by BAD_RELEASE, for QUIET seconds in a row; else with 1 after LIMIT.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

#: Half of a release's answers may be good ones: each look asks more than once.
_TIMES = 4
_PAUSE_S = 0.25


def main(arguments: Sequence[str]) -> int:
    bad, limit, quiet, *urls = arguments
    until = time.monotonic() + float(limit)
    good_since: float | None = None
    while (now := time.monotonic()) < until:
        if not all(_good(url, bad) for url in urls for _ in range(_TIMES)):
            good_since = None
        elif good_since is None:
            good_since = now
        if good_since is not None and now - good_since >= float(quiet):
            return 0
        time.sleep(_PAUSE_S)
    return 1


def _good(url: str, bad: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=2) as answer:
            return json.load(answer).get("release") != bad
    except (OSError, HTTPException, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
