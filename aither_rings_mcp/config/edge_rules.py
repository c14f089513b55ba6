"""Rules between the places of rings.yaml that have to do with the edge: fronts, host names, the second slot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from aither_rings_mcp.config.places import Fault, Place
from aither_rings_mcp.config.words import did_you_mean

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z)(\*\.)?{_LABEL}(\.{_LABEL})+")


def fronted(rings: Iterable[Place]) -> frozenset[str]:
    """Services with a front in some ring: the edge asks them on their probe's port."""
    return frozenset(front.key for ring in rings for front in ring.at("fronts"))


def broken_edge(document: Place) -> Iterator[Fault]:
    """Every rule about the edge that `document` breaks."""
    # What a gate has of this is a fault already.
    rings = [ring for ring in document.at("rings") if ring.at("kind").text != "gate"]
    services = document.at("services")
    for ring in rings:
        yield from _way_there(ring, document)
        yield from _front_services(ring, services)
        yield from _hostname_services(ring)
        yield from _changeover(ring)
    yield from _ports(rings)
    yield from _hostnames(rings)
    yield from _green_networks(rings)
    yield from _api(document.at("edge", "api_on"), rings)


def _way_there(ring: Place, document: Place) -> Iterator[Fault]:
    fronts = ring.at("fronts")
    if not fronts.children():
        return
    if not document.at("edge").present:
        yield fronts.fault("needs `edge:` at the top: the edge is what listens on these ports")
    if not document.at("backbone").present:
        yield fronts.fault("needs a `backbone`: the edge is one of its services")


def _front_services(ring: Place, services: Place) -> Iterator[Fault]:
    known = services.children()
    for front in ring.at("fronts"):
        service = services.at(front.key)
        if known and front.key not in known:
            yield front.fault(f"there is no service {front.key!r}{did_you_mean(front.key, map(str, known))}")
        elif service.present and not service.at("probe", "port").present:
            yield front.fault(f"needs services.{front.key}.probe.port: the container port that the edge goes to")


def _hostname_services(ring: Place) -> Iterator[Fault]:
    fronts = ring.at("fronts").children()
    for names in ring.at("hostnames"):
        if names.key not in fronts:
            hint = did_you_mean(names.key, map(str, fronts))
            yield names.fault(f"{names.key} has no port in this ring's `fronts`, so no tunnel reaches it{hint}")


def _changeover(ring: Place) -> Iterator[Fault]:
    """A release goes over only where there is a second slot, and an edge that can turn to it."""
    green, strategy, canary = ring.at("green"), ring.at("strategy"), ring.at("canary")
    fronts = bool(ring.at("fronts").children())
    if green.present and not fronts:
        yield green.fault("needs `fronts`: without them nobody is ever sent to a second slot")
    if strategy.text in {"blue_green", "rolling"}:
        # Without fronts, a second slot that is there has said so already.
        lacks = [] if green.present else ["`green`"] if fronts else ["`fronts`", "`green`"]
        if lacks:
            yield strategy.fault(f"{strategy.text} needs {' and '.join(lacks)} in this ring; or take recreate")
    if not canary.present:
        return
    if not green.present:
        yield canary.fault("needs `green`: the slot that gets a share of the requests")
    if strategy.text in {"rolling", "recreate"}:
        yield canary.fault(f"does nothing with `strategy: {strategy.text}`; take one of them out")
    yield from _steps(canary.at("steps"))


def _steps(steps: Place) -> Iterator[Fault]:
    shares = [(step, step.value) for step in steps]
    numbers = [(step, n) for step, n in shares if isinstance(n, int | float) and not isinstance(n, bool)]
    if len(numbers) != len(shares) or not numbers:
        return
    for (_, before), (step, share) in pairwise(numbers):
        if share <= before:
            yield step.fault(f"has to be more than the step before it, {before:g}")
            return
    last, share = numbers[-1]
    # More than 100 is its type's own fault.
    if share < 100:
        yield last.fault("the last step has to be 100: all requests")


def _ports(rings: Iterable[Place]) -> Iterator[Fault]:
    first: dict[int, Place] = {}
    for front in (front for ring in rings for front in ring.at("fronts")):
        port = front.value
        if not isinstance(port, int) or isinstance(port, bool):
            continue
        owner = first.setdefault(port, front)
        if owner is not front:
            yield front.fault(f"the port {port} already belongs to {_owner(owner)} (line {owner.line})")


def _hostnames(rings: Iterable[Place]) -> Iterator[Fault]:
    first: dict[str, Place] = {}
    for place in (place for ring in rings for names in ring.at("hostnames") for place in names):
        name = place.text
        if name is None:
            continue
        if not _HOSTNAME.fullmatch(name):
            yield place.fault("is no host name: write one such as app.example.org or *.example.org, in lower case")
            continue
        owner = first.setdefault(name, place)
        if owner is not place:
            yield place.fault(f"{name} already leads to {_owner(owner)} (line {owner.line})")


def _owner(place: Place) -> str:
    """`rings.prod.fronts.web` -> `web of prod`."""
    return f"{place.path[3]} of {place.path[1]}"


def _green_networks(rings: Iterable[Place]) -> Iterator[Fault]:
    for ring in rings:
        green = ring.at("green")
        network = green.at("shared_network")
        if green.present and ring.at("shared_network").text and network.value is None:
            yield network.fault("is required: the second slot meets the backbone on a network of its own")


def _api(service: Place, rings: Iterable[Place]) -> Iterator[Fault]:
    known = fronted(rings)
    if service.text is not None and service.text not in known:
        hint = did_you_mean(service.text, known) or f"; there are {', '.join(sorted(known)) or 'none'}"
        yield service.fault(f"no ring has a front for {service.text!r}{hint}")
