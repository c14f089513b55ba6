"""Whether the gates of a path can be run in some order: names that exist, once each, and no circle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from aither_rings_mcp.domain.settings import GateSpec
from aither_rings_mcp.domain.value import Value


class OrderFault(Value):
    """What is wrong with the gate at `index`; `field` is the key of its entry that is to blame."""

    index: int
    field: str
    message: str


def after_faults(specs: Sequence[GateSpec]) -> list[OrderFault]:
    """Everything that keeps these gates from being run; empty when they can be."""
    labels = [spec.label for spec in specs]
    faults: list[OrderFault] = []
    for index, spec in enumerate(specs):
        if spec.label in labels[:index]:
            message = f"there is already a gate {spec.label!r} on this path: give this one its own `name`"
            faults.append(OrderFault(index=index, field="name", message=message))
        for name in spec.after:
            if name not in labels:
                close = get_close_matches(name, labels, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"the gates here are {', '.join(labels)}"
                message = f"there is no gate {name!r} on this path: {hint}"
                faults.append(OrderFault(index=index, field="after", message=message))
    waits = {spec.label: spec.after for spec in specs}
    told: set[frozenset[str]] = set()
    for index, label in enumerate(labels):
        circle = _way_back(label, waits)
        if circle and frozenset(circle) not in told:
            told.add(frozenset(circle))
            message = f"these gates wait for each other for ever: {' -> '.join((label, *circle))}"
            faults.append(OrderFault(index=index, field="after", message=message))
    return faults


def _way_back(start: str, waits: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The shortest chain of `after` from a gate back to itself, ending with it; empty when there is none."""
    seen: set[str] = set()
    edge: list[tuple[str, ...]] = [(name,) for name in waits[start]]
    while edge:
        chain = edge.pop(0)
        if chain[-1] == start:
            return chain
        if chain[-1] not in seen:
            seen.add(chain[-1])
            edge.extend((*chain, name) for name in waits.get(chain[-1], ()))
    return ()
