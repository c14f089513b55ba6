"""What the edge looks up for each request: a map of `ring` or `ring/service` to the slot that answers.

A value is `blue`, or `blue:green:500`: blue, but 500 of 10,000 requests go to green. The key of a service outranks that
of its ring.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Route, Slot

#: Where the edge sees its files.
INSIDE = "/etc/edge"
MAP_FILE = f"{INSIDE}/slots.map"
_PARTS = 10_000
_VALUE = re.compile(r"(?P<slot>blue|green)(?::(?P<other>blue|green):(?P<share>\d{1,5}))?", re.ASCII)


def entries(routes: Mapping[str, Route]) -> dict[str, str]:
    """The keys and values of the map."""
    found: dict[str, str] = {}
    for ring, route in routes.items():
        found[ring] = _value(route)
        found |= {f"{ring}/{service}": slot.value for service, slot in route.services.items()}
    return found


def routes(found: Mapping[str, str]) -> dict[str, Route]:
    """The routes behind keys and values; ValueError for what nobody of ours wrote."""
    made: dict[str, Route] = {}
    for ring in {key.partition("/")[0]: None for key in found}:
        services = {
            key.partition("/")[2]: _route(key, value).slot for key, value in found.items() if key.startswith(f"{ring}/")
        }
        made[ring] = _route(ring, found.get(ring, Slot.BLUE)).model_copy(update={"services": services})
    return made


def map_text(wanted: Mapping[str, Route]) -> str:
    """The map as the file that the edge starts with."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries(wanted).items()))


def map_read(text: str) -> dict[str, Route]:
    """What `map_text` wrote; ValueError for anything else."""
    return routes(dict(_pair(line.split()) for line in text.splitlines() if line.strip()))


def shown(answer: str) -> dict[str, str]:
    """Keys and values out of the answer to `show map`, which starts each line with an address of its own."""
    return dict(_pair(line.split()[1:]) for line in answer.splitlines() if line.strip())


def changes(now: Mapping[str, str], ring: str, route: Route) -> tuple[str, ...]:
    """Runtime commands that make the entries of one ring those of `route`; none when they are.

    Services that go elsewhere are told first, and those that follow their ring again last, so that on the way no
    request goes to a slot that neither the old nor the new route has for it. `add` would make a second entry of a key
    that is there, and `set` refuses one that is not.
    """
    wanted = entries({ring: route})
    own = {key: value for key, value in now.items() if key == ring or key.startswith(f"{ring}/")}
    put = [
        f"{'set' if key in own else 'add'} map {MAP_FILE} {key} {wanted[key]}"
        for key in sorted(wanted, key=lambda key: (key == ring, key))
        if own.get(key) != wanted[key]
    ]
    return (*put, *(f"del map {MAP_FILE} {key}" for key in sorted(own.keys() - wanted.keys())))


def with_every_ring(found: Mapping[str, Route], settings: Settings, recorded: Mapping[str, Slot]) -> dict[str, Route]:
    """`found`, and the recorded slot for rings that people reach through the edge and that it does not know (yet)."""
    fronted = [name for name, ring in settings.rings.items() if ring.fronts]
    return {**{name: Route(slot=recorded.get(name, Slot.BLUE)) for name in fronted}, **found}


def _value(route: Route) -> str:
    share = round(route.canary * _PARTS / 100)
    return f"{route.slot}:{route.slot.other}:{share}" if share else route.slot.value


def _route(key: str, value: str) -> Route:
    match = _VALUE.fullmatch(value)
    if match is None or match["other"] == match["slot"] or int(match["share"] or 0) > _PARTS:
        raise ValueError(f"{key} has the value {value!r}")
    return Route(slot=Slot(match["slot"]), canary=int(match["share"] or 0) * 100 / _PARTS)


def _pair(words: list[str]) -> tuple[str, str]:
    if len(words) != 2:
        raise ValueError(f"{' '.join(words)!r} is no key with a value")
    return words[0], words[1]
