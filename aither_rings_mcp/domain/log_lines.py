"""What a line of an operation's log says beside its text: when it was, and whether another program wrote it."""

from __future__ import annotations

import re
from datetime import datetime

_STAMP = re.compile(r"(\d\d):(\d\d):(\d\d) ")
_QUOTED = re.compile(r" {2}[^|]+ \|")
_DAY_S = 86_400


def quoted(program: str, line: str) -> str:
    """A line that another program wrote: told apart from our own words, which are few and worth keeping in sight."""
    return f"  {program} | {line}"


def is_quoted(text: str) -> bool:
    """Whether another program wrote it; without its stamp."""
    return _QUOTED.match(text) is not None


def unstamped(line: str) -> str:
    return _STAMP.sub("", line, count=1) if _STAMP.match(line) else line


def seconds_into(line: str, began: datetime, now: datetime) -> float:
    """How long after `began` the line was written: by its own stamp, as a log is often read late; else by `now`."""
    stamp = _STAMP.match(line)
    if stamp is None:
        return (now - began).total_seconds()
    hours, minutes, seconds = map(int, stamp.groups())
    at_first = began.hour * 3600 + began.minute * 60 + began.second
    return float((hours * 3600 + minutes * 60 + seconds - at_first) % _DAY_S)
