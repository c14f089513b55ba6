"""The stories: a release comes to prod while users ask, and what they get."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders.contender import Contender
from benchmarks.recording import Answer, first_bad_minute, last_answer_of, load, summarize, timeline
from benchmarks.users import at_full_speed, until_good

#: Load before anything happens, and after all is over, in seconds.
_BEFORE_S, _AFTER_S = 2.0, 3.0
#: All is good again once that many seconds in a row were.
_QUIET_S = 5.0
#: So long it is looked at where nobody looks after it: nothing will change any more.
_ALONE_S = 20.0


@dataclass(frozen=True)
class Story:
    """`fault` is that of the new release; `patience` how long after the promotion somebody may take to notice it."""

    name: str
    title: str
    fault: str = "ok"
    patience: float = 0.0
    #: Users go on asking for so long after the promotion, whatever happens.
    at_least: float = 0.0

    @property
    def bad(self) -> bool:
        return self.fault != "ok"


GOOD = Story("good", "A good release")
NEVER_HEALTHY = Story(
    "never-healthy", "A release that is well in dev and never becomes healthy in prod", "prod-only", 180
)
FAILS_LATER = Story("fails-later", "A release that is healthy at first and unhealthy 15 s later", "latent:15", 240)
ERRORS = Story(
    "errors", "A release that says it is healthy and answers half of all requests with 500", "errors:50", 60, 60
)
ROLLBACK = Story("rollback", "Going back from a release that serves")


def told(story: Story, contender: Contender, recordings: Path) -> dict[str, Any]:
    """One run of a story, as it is kept; every single request goes to a file in `recordings`."""
    file = recordings / f"{story.name}-{time.time_ns()}.csv.gz"
    contender.start()
    try:
        contender.prepare(story.fault)
        if story is ROLLBACK:
            return _rollback(contender, file)
        with at_full_speed(contender.where, contender.front(), file):
            time.sleep(_BEFORE_S)
            called = time.monotonic()
            release = contender.promote()
            took = time.monotonic() - called
            bad = release if story.bad else None
            if bad:
                patience = story.patience if contender.attended else _ALONE_S
                until_good(contender.where, contender.front(), bad, patience, _QUIET_S)
            time.sleep(max(_AFTER_S, called + took + story.at_least - time.monotonic()))
        return {"wall_s": took, **_kept(load(file), called, bad)}
    finally:
        contender.stop()


def _rollback(contender: Contender, file: Path) -> dict[str, Any]:
    """The release that serves turns out to be unwanted; to users it answers well until the end."""
    unwanted = contender.promote()
    with at_full_speed(contender.where, contender.front(), file):
        time.sleep(_BEFORE_S)
        called = time.monotonic()
        contender.rollback()
        took = time.monotonic() - called
        time.sleep(_AFTER_S)
    answers = load(file)
    last = last_answer_of(answers, unwanted)
    return {"wall_s": took, "last_bad_s": last - called if last else None, **_kept(answers, called, None)}


def _kept(answers: list[Answer], called: float, bad: str | None) -> dict[str, Any]:
    summary = summarize(answers, bad)
    shares = {"failed_share": summary.failed_share, "bad_share": summary.bad_share}
    shares["minute_failed_share"] = summarize(first_bad_minute(answers), bad).failed_share
    return {**dataclasses.asdict(summary), **shares, "timeline": timeline(answers, called, bad)}
