"""What the clients saw, and what that comes to."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Of the timeline, in seconds.
BUCKET_S = 0.1


@dataclass(frozen=True)
class Answer:
    """One request: when it was asked and done (monotonic seconds), its status or error, who answered, and where."""

    start: float
    end: float
    status: str
    release: str = ""
    front: str = ""

    @property
    def failed(self) -> bool:
        return self.status != "200"


@dataclass(frozen=True)
class Summary:
    """What a recording comes to; times in seconds.

    `longest_gap_s` is without a good answer at one of the fronts, also where the others answered meanwhile.
    A *bad* answer failed or came from the bad release. `bad_for_s` is from the first bad answer to the first good one
    after the last bad one; None: there was no bad answer, or (`restored` is False) the last ones still were bad.
    """

    requests: int
    failed: int
    by_bad_release: int
    longest_gap_s: float
    bad_for_s: float | None
    restored: bool

    @property
    def failed_share(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def bad_share(self) -> float:
        """Failed or answered by the bad release; a failed one has no release, so none counts twice."""
        return (self.failed + self.by_bad_release) / self.requests if self.requests else 0.0


def load(file: Path) -> list[Answer]:
    """The answers of a recording, in the order they came."""
    with gzip.open(file, "rt", newline="") as rows:
        return [
            Answer(float(row["start"]), float(row["end"]), row["status"], row["release"], row["front"])
            for row in csv.DictReader(rows)
        ]


def summarize(answers: Sequence[Answer], bad_release: str | None = None) -> Summary:
    """What `answers` come to; `bad_release` None: every release is a good one."""
    ordered = sorted(answers, key=lambda answer: answer.end)
    bad = [answer.failed or (bad_release is not None and answer.release == bad_release) for answer in ordered]
    failed = sum(answer.failed for answer in ordered)
    good_ends = [answer.end for answer, is_bad in zip(ordered, bad, strict=True) if not is_bad]
    first = next((answer.end for answer, is_bad in zip(ordered, bad, strict=True) if is_bad), None)
    again = None
    if first is not None:
        last = max(answer.end for answer, is_bad in zip(ordered, bad, strict=True) if is_bad)
        again = next((end for end in good_ends if end > last), None)
    return Summary(
        requests=len(ordered),
        failed=failed,
        by_bad_release=sum(bad) - failed,
        longest_gap_s=_longest_gap(ordered, bad),
        bad_for_s=again - first if first is not None and again is not None else None,
        restored=first is None or again is not None,
    )


def _longest_gap(ordered: Sequence[Answer], bad: Sequence[bool]) -> float:
    """Longest time without a good answer at any one front, from the first request to the last answer of all."""
    if not ordered:
        return 0.0
    began, ended = min(answer.start for answer in ordered), ordered[-1].end
    good: dict[str, list[float]] = {answer.front: [began] for answer in ordered}
    for answer, is_bad in zip(ordered, bad, strict=True):
        if not is_bad:
            good[answer.front].append(answer.end)
    return max(after - before for ends in good.values() for before, after in itertools.pairwise([*ends, ended]))


def last_answer_of(answers: Sequence[Answer], release: str) -> float | None:
    """When `release` answered for the last time."""
    return max((answer.end for answer in answers if answer.release == release), default=None)


def first_bad_minute(answers: Sequence[Answer]) -> list[Answer]:
    """The answers of the minute that begins with the first failed one; none where none failed."""
    first = min((answer.end for answer in answers if answer.failed), default=None)
    return [] if first is None else [answer for answer in answers if first <= answer.end < first + 60]


def timeline(
    answers: Sequence[Answer], zero: float, bad_release: str | None = None
) -> list[tuple[float, int, int, int]]:
    """(seconds after `zero`, good, by the bad release, failed) for each tenth of a second."""
    counts: dict[int, list[int]] = {}
    for answer in answers:
        kind = 2 if answer.failed else 1 if answer.release == bad_release else 0
        counts.setdefault(int((answer.end - zero) // BUCKET_S), [0, 0, 0])[kind] += 1
    if not counts:
        return []
    buckets = range(min(counts), max(counts) + 1)
    return [(round(at * BUCKET_S, 1), *counts.get(at, (0, 0, 0))) for at in buckets]  # type: ignore[misc]
