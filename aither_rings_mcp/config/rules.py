"""What no single key can be wrong about: rules between the places of rings.yaml, and between it and the disk.

They read places rather than parsed settings, so that they also speak while another part of the file is
faulty; a key of the wrong type is left to the type's own fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from aither_rings_mcp.config.edge_rules import broken_edge, fronted
from aither_rings_mcp.config.places import Fault, Place, dotted
from aither_rings_mcp.config.words import did_you_mean
from aither_rings_mcp.domain.gate_order import after_faults
from aither_rings_mcp.domain.settings import GateSpec

#: What these mean where the command line expects a ring (`up shared`, `history verify`).
RESERVED = {"shared": "the backbone", "verify": "the check of the history"}
_NEEDED_TO_RUN = ("project", "compose")
_ONLY_TO_RUN = (
    *_NEEDED_TO_RUN, "env_files", "profiles", "shared_network", "build", "on_unhealthy", "strategy", "url",
    "hooks", "fronts", "hostnames", "green", "canary", "rollback_approval",
)  # fmt: skip
_ONLY_TO_GATE = ("candidate_ttl",)


def broken(document: Place, root: Path, gate_types: Iterable[str]) -> Iterator[Fault]:
    """Every rule that `document` breaks; relative paths start at `root`."""
    yield from _names(document.at("rings"))
    yield from _kinds(document.at("rings"))
    yield from _one_builds(document.at("rings"))
    yield from _each_its_own(document)
    yield from _previews(document.at("rings"))
    yield from _probes(document.at("services"), fronted(document.at("rings")))
    yield from broken_edge(document)
    yield from _ways(document)
    yield from _gates(document.at("paths"), sorted(gate_types))
    yield from _on_disk(document, root)


def _names(rings: Place) -> Iterator[Fault]:
    for ring in rings:
        if ring.key in RESERVED:
            yield ring.fault(f"cannot be a ring's name: on the command line it means {RESERVED[ring.key]}")


def _kinds(rings: Place) -> Iterator[Fault]:
    for ring in rings:
        kind = ring.at("kind").text
        if kind == "runtime":
            for key in _NEEDED_TO_RUN:
                if ring.at(key).value in (None, ()):
                    yield ring.at(key).fault("is required: a runtime ring runs containers")
        idle = {"gate": _ONLY_TO_RUN, "runtime": _ONLY_TO_GATE}.get(kind or "", ())
        for key in idle:
            if ring.at(key).present:
                why = "a gate runs no containers" if kind == "gate" else "only a gate holds candidates"
                yield ring.at(key).fault(f"does nothing here: {why}; take it out")


def _one_builds(rings: Place) -> Iterator[Fault]:
    builders = [ring.at("build") for ring in rings if ring.at("build").value is True]
    for second in builders[1:]:
        yield second.fault(f"only one ring builds the working tree: {builders[0].path[1]} does already")


def _each_its_own(document: Place) -> Iterator[Fault]:
    """Two owners of one Compose project stop each other's containers; on one network they meet."""
    rings = list(document.at("rings"))
    own = [*rings, *(ring.at("green") for ring in rings), *(ring.at("preview") for ring in rings)]
    projects = [place.at("project") for place in (document.at("backbone"), *own)]
    yield from _repeated(projects, "Compose project")
    networks = [place.at("shared_network") for place in own]
    yield from _repeated(networks, "shared network")


def _repeated(places: Iterable[Place], what: str) -> Iterator[Fault]:
    first: dict[str, Place] = {}
    for place in places:
        if place.text is None:
            continue
        if place.text in first:
            owner = first[place.text]
            yield place.fault(
                f"the {what} {place.text!r} already belongs to {dotted(owner.path[:-1])} (line {owner.line})"
            )
        first.setdefault(place.text, place)


def _previews(rings: Place) -> Iterator[Fault]:
    meets_backbone = any(ring.at("shared_network").text for ring in rings)
    for ring in rings:
        preview = ring.at("preview")
        network = preview.at("shared_network")
        if meets_backbone and preview.present and network.value is None:
            yield network.fault("is required: a preview meets the backbone on a network of its own")


def _probes(services: Place, fronted: frozenset[str]) -> Iterator[Fault]:
    for service in services:
        probe = service.at("probe")
        asks = [key for key in ("http", "tcp") if probe.at(key).value not in (None, False)]
        if len(asks) == 2:
            yield probe.at("tcp").fault("a probe asks by http or by tcp; take one of them out")
        if asks and probe.at("port").value is None:
            yield probe.at("port").fault(f"is required: the container port that {asks[0]} asks")
        if probe.at("port").present and not asks and service.key not in fronted:
            yield probe.at("port").fault("does nothing without `http: /path`, `tcp: true` or a front")


def _ways(document: Place) -> Iterator[Fault]:
    rings = document.at("rings")
    kinds = {ring.key: ring.at("kind").text for ring in rings}
    paths = list(document.at("paths"))
    reached = {path.at("target").text for path in paths}
    # A misspelled target may be the very path that leads there; one mistake is one fault.
    all_known = reached <= {*kinds}
    seen: dict[tuple[str, str], Place] = {}
    for path in paths:
        ends = {key: path.at(key).text for key in ("source", "target")}
        for key, name in ends.items():
            if name is not None and rings.present and name not in kinds:
                yield path.at(key).fault(f"there is no ring {name!r}{did_you_mean(name, kinds)}")
        source, target = ends["source"], ends["target"]
        if source is None or target is None:
            continue
        if source == target:
            yield path.at("target").fault("a path leads from one ring to another")
        elif (source, target) in seen:
            first = seen[source, target].line
            yield path.fault(f"a second path {source} -> {target}; the first is on line {first}")
        elif kinds.get(source) == "gate" and kinds.get(target) == "gate":
            yield path.at("target").fault(f"a candidate goes to a runtime ring, but {target} is a gate")
        elif kinds.get(source) == "gate" and source not in reached and all_known:
            yield path.at("source").fault(f"no path leads to {source}, so it never holds a candidate")
        seen.setdefault((source, target), path)


def _gates(paths: Place, known: list[str]) -> Iterator[Fault]:
    for path in paths:
        gates = [gate for gate in path.at("gates") if gate.at("gate").text is not None]
        for place in (gate.at("gate") for gate in gates):
            if place.text not in known:
                hint = did_you_mean(str(place.text), known) or f"; installed: {', '.join(known) or 'none'}"
                yield place.fault(f"there is no gate {place.text!r}{hint}")
        for wrong in after_faults([_order_of(gate) for gate in gates]):
            yield gates[wrong.index].at(wrong.field).fault(wrong.message)


def _order_of(gate: Place) -> GateSpec:
    """Of a gate only what its order depends on, so that its other keys may still be faulty."""
    after = (place.text for place in gate.at("after"))
    label = gate.at("name").text or str(gate.at("gate").text)
    return GateSpec(gate=label, after=tuple(name for name in after if name is not None))


def _on_disk(document: Place, root: Path) -> Iterator[Fault]:
    for project in (document.at("backbone"), *document.at("rings")):
        for place in project.at("compose"):
            if _lacks(root, place.text, Path.is_file):
                yield place.fault(f"there is no file {place.text!r} in {root}")
        for place in project.at("env_files"):
            named = place if place.text is not None else place.at("path")
            if place.at("optional").value is not True and _lacks(root, named.text, Path.is_file):
                yield named.fault(f"there is no file {named.text!r} in {root}; `optional: true` skips it")
    for place in document.at("source", "paths"):
        if _lacks(root, place.text, Path.exists):
            yield place.fault(f"there is no {place.text!r} in {root}")
    for path in document.at("paths"):
        for gate in path.at("gates"):
            if _lacks(root, gate.at("cwd").text, Path.is_dir):
                yield gate.at("cwd").fault(f"there is no folder {gate.at('cwd').text!r} in {root}")


def _lacks(root: Path, name: str | None, there: Callable[[Path], bool]) -> bool:
    if name is None:
        return False
    try:
        return not there(root / name)
    except OSError:
        # A name that the file system refuses, or a folder that may not be searched.
        return True
