"""What the users of an 11-service ring get while it changes over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import stories
from benchmarks.bench import Bench
from benchmarks.contenders.contender import Contender, NotBegun
from benchmarks.stories import Story
from benchmarks.users import CLIENTS

_TRIES = 3


def good(bench: Bench) -> dict[str, Any]:
    return _row(bench, stories.GOOD, bench.contenders)


def never_healthy(bench: Bench) -> dict[str, Any]:
    return _row(bench, stories.NEVER_HEALTHY, bench.contenders)


def fails_later(bench: Bench) -> dict[str, Any]:
    return _row(bench, stories.FAILS_LATER, bench.contenders)


def errors(bench: Bench) -> dict[str, Any]:
    return _row(bench, stories.ERRORS, bench.contenders)


def rollback(bench: Bench) -> dict[str, Any]:
    return _row(bench, stories.ROLLBACK, bench.going_back)


def _row(bench: Bench, story: Story, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Contender after contender, and again: each is alone with the load, dev and the backbone."""
    runs: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contenders}
    for turn in range(bench.repetitions):
        for contender in contenders:
            bench.say(f"{story.name}, {turn + 1} of {bench.repetitions}: {contender.name}")
            runs[contender.name].append(_told(bench, story, contender))
    return {"kind": "traffic", "title": story.title, "bad": story.bad, "clients": CLIENTS, "runs": runs}


def _told(bench: Bench, story: Story, contender: Contender) -> dict[str, Any]:
    """The story; again, if a gate gave up on a machine that was too busy. How often that was is kept."""
    for before in range(_TRIES):
        try:
            return {"begun_again": before, **stories.told(story, contender, bench.recordings)}
        except NotBegun as refused:
            bench.say(f"not begun: {refused}")
    raise RuntimeError(f"{contender.name} refused {_TRIES} times to begin {story.name}")
