"""How much of an answer a model gets: one that is too long is shortened, the same one always in the same way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

from aither_rings_mcp.domain.evidence import page

#: What an answer may cost as JSON, in characters: less than 8,000 tokens. A page of evidence fits with what is around.
ANSWER_MOST = 22_000
#: Objects whose keys are names, which may be left out; the keys of the others are their schemas'.
_BY_NAME = frozenset({"images", "backbone"})
#: A line of a log keeps more than other texts: its cursor goes on behind it.
_LINE_MOST = ANSWER_MOST // 2
#: What an answer is about, item by item: there are few, and each is told of as long as anything else can be left out.
_SUBJECTS = frozenset({"rings", "gates", "steps"})
_ALL = 1 << 30


@dataclass(frozen=True)
class _Most:
    """How many lines of a log's tail are shown, what a text may cost, how many items of a list are shown."""

    tail: int
    text: int = _ALL
    items: int = _ALL


#: Each shows less than the one before. Ids, hashes and moments cost less than the shortest text.
_STEPS = (
    *(_Most(tail) for tail in (5, 0)),
    *(_Most(0, text) for text in (1000, 300, 120)),
    *(_Most(0, 120, items) for items in (50, 20, 10, 5, 2, 1)),
)


def cost(content: object) -> int:
    """What JSON costs a model, in characters; what is not ASCII costs more tokens, and counts as it is escaped."""
    return len(json.dumps(content, separators=(",", ":"), default=str))


def fitting(items: Sequence[object], room: int) -> int:
    """How many of the first items cost at most `room` together; one in any case."""
    for number, item in enumerate(items):
        room -= cost(item) + 1
        if room < 0:
            return max(1, number)
    return len(items)


def shortened(content: dict[str, Any], most: int = ANSWER_MOST) -> dict[str, Any]:
    """The answer as it is if that costs at most `most`; else without its logs' tails, the ends of its texts and of its
    lists, in this order, as far as needed, and it says so. It fits the same schema.

    What has a cursor is paged before: a log's lines are all kept.
    """
    less, what = content, _what(content)
    for step in _STEPS:
        if cost(less) <= most:
            break
        less = {**{key: _cut(key, value, step) for key, value in content.items()}, "shortened": what}
    return less


def _what(content: dict[str, Any]) -> str:
    where = [
        *(["ring_status of one ring"] if "rings" in content else []),
        *(["ring_health with `services`"] if "services" in content else []),
        *(["ring_evidence, section gates,"] if "operation_id" in content else []),
    ]
    more = f"{' or '.join(where)} has more; " if where else ""
    return f"ends of logs, texts or lists are left out: {more}REST and `ring-ctl --json` have all of it"


def _cut(key: str, value: Any, most: _Most) -> Any:
    match value:
        case str():
            return _text(value, most.text)
        case list():
            return _listed(key, cast("list[Any]", value), most)
        case dict():
            named = cast("dict[str, Any]", value)
            if key == "approval":  # its words are for a person, as they are
                most = replace(most, text=_ALL)
            kept = islice(named.items(), most.items if key in _BY_NAME else None)
            return {name: _cut(name, each, most) for name, each in kept}
        case _:
            return value


def _listed(key: str, value: list[Any], most: _Most) -> list[Any]:
    match key:
        case "log_tail":
            kept = value[max(0, len(value) - most.tail) :]
        case "lines":
            kept, most = value, replace(most, text=max(most.text, _LINE_MOST))
        case "next_actions":  # as they are, or not at all
            return value if most.items > 1 else []
        case _ if key in _SUBJECTS and most.items > 1:
            kept = value
        case _:
            kept = value[: most.items]
    return [_cut("", each, most) for each in kept]


def _text(text: str, most: int) -> str:
    return text if cost(text) <= most + 2 else f"{page(text, 0, most - 6)[0].rstrip()}…"
