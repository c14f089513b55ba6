"""Proves that the installation is sound, isolation included: from inside the running containers, by what they see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import anyio

from aither_rings_mcp.domain.answers import DoctorAnswer, Finding
from aither_rings_mcp.domain.composition import services as config_services
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.policy import kept_releases
from aither_rings_mcp.manager.drift import drift
from aither_rings_mcp.manager.world import World

#: How far to look: `quick` leaves out what is looked at from inside the containers, which takes its time.
Depth = Literal["quick", "full"]

#: Names are asked several times: on a shared bridge the wrong answer comes only half of the time.
_LOOKUPS = 5
_CONNECT_S = 1.0
#: Runs inside a container that has Python: look every name up, try every address, print what was seen as JSON.
_PROBE = """
import json, os, selectors, socket, sys, time
from concurrent.futures import ThreadPoolExecutor
# A name that nobody here has goes on to the world's name servers, which may be away: one try, one second.
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
asked = json.loads(sys.argv[1])
def look_up(name):
    seen = set()
    for _ in range(asked["lookups"]):
        try:
            seen.update(info[4][0] for info in socket.getaddrinfo(name, None, socket.AF_INET))
        except OSError:
            break
    return sorted(seen)
with ThreadPoolExecutor(16) as several:
    names = dict(zip(asked["names"], several.map(look_up, asked["names"])))
def opening(addresses):
    waiting, opened = selectors.DefaultSelector(), []
    for host, port in addresses:
        s = socket.socket(); s.setblocking(False); s.connect_ex((host, port))
        waiting.register(s, selectors.EVENT_WRITE, (host, port))
    until = time.monotonic() + asked["limit"]
    while waiting.get_map() and time.monotonic() < until:
        for key, _ in waiting.select(until - time.monotonic()):
            waiting.unregister(key.fileobj)
            if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                opened.append(key.data)
    return opened
opened = opening(asked["addresses"])
if opened:
    # Docker 20.10 rewrites its firewall while any network on the machine comes or goes, and for a moment nothing is
    # kept apart: what is open only then is no way between rings.
    time.sleep(asked["limit"])
    opened = opening(opened)
opened = [f"{host}:{port}" for host, port in opened]
print(json.dumps({"names": names, "opened": opened}))
"""


@dataclass(frozen=True)
class Slot:
    """One running copy of a ring's services."""

    ring: str
    containers: tuple[ContainerView, ...]
    #: every name that the slot's own networks give its services
    names: tuple[str, ...]

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(ip for container in self.containers for ip in container.addresses.values())


async def examine(world: World, depth: Depth = "full") -> DoctorAnswer:
    """Everything that can be checked without changing anything, each as a finding."""
    findings: list[Finding] = []
    try:
        facts = await world.engine.facts()
    except RingError as error:
        findings.append(Finding(check="engine", ok=False, detail=f"{error.message}. {error.next_step}"))
        return _answer(world, findings, depth)
    findings.append(Finding(check="engine", ok=True, detail=f"Docker {facts.version}, {facts.os}/{facts.architecture}"))
    findings.append(_state(world))
    findings.append(_history(world))
    findings += [await _drift(world, ring) for ring in world.settings.runtime_rings]
    findings.append(await _way_back_images(world))
    if depth == "full":
        findings += await _isolation(world)
    return _answer(world, findings, depth)


def _answer(world: World, findings: Sequence[Finding], depth: Depth) -> DoctorAnswer:
    left_out = "" if depth == "full" else "; left out: whether the rings are apart, seen from inside"
    bad = [finding.check for finding in findings if not finding.ok]
    return DoctorAnswer(
        ok=not bad,
        summary=(
            f"{len(bad)} of {len(findings)} checks found something: {', '.join(bad)}"
            if bad
            else f"All {len(findings)} checks hold"
        )
        + f"{left_out}.",
        as_of=world.clock.now(),
        findings=tuple(findings),
    )


def _state(world: World) -> Finding:
    try:
        state = world.state.load()
    except RingError as error:
        return Finding(check="state", ok=False, detail=f"{error.message}. {error.next_step}")
    return Finding(check="state", ok=True, detail=f"{len(state.rings)} rings recorded")


def _history(world: World) -> Finding:
    events, _, broken_at, torn = world.history.verify()
    if broken_at is not None:
        return Finding(check="history", ok=False, detail=f"the chain breaks at event {broken_at}")
    return Finding(
        check="history", ok=True, detail=f"{events} events, chained" + (", torn tail ignored" if torn else "")
    )


async def _drift(world: World, ring: str) -> Finding:
    """Whether a ring runs what is recorded of it."""
    record = world.state.load().ring(ring)
    found = drift(world, record, await world.engine.containers(world.project(ring)))
    as_recorded = f"runs {record.release}, image by image" if record.running else "not running, as recorded"
    return Finding(check=f"drift:{ring}", ok=found is None, detail=found or as_recorded)


async def _way_back_images(world: World) -> Finding:
    state = world.state.load()
    gone: list[str] = []
    for ring in world.settings.rings:
        for release_id in kept_releases(state.ring(ring)):
            images = world.releases.load(release_id).images
            gone += [f"{release_id}/{name}" for name, i in images.items() if await world.engine.image(i) is None]
    if gone:
        return Finding(
            check="images", ok=False, detail=f"recorded images are gone: {', '.join(sorted(set(gone))[:10])}"
        )
    return Finding(check="images", ok=True, detail="every recorded release's images are here")


async def _isolation(world: World) -> list[Finding]:
    """What every running container of every slot sees of the others: names, and direct connections."""
    slots = [await _slot(world, ring) for ring in world.settings.runtime_rings]
    preview = [settings.preview.project for settings in world.settings.rings.values() if settings.preview]
    for project in preview:
        containers = await world.engine.containers(project)
        if containers:
            slots.append(Slot(project, tuple(c for c in containers if c.status == "running"), ()))
    backbone = world.settings.backbone
    shared = await world.engine.containers(backbone.project) if backbone else ()
    allowed = frozenset(ip for container in shared for ip in container.addresses.values())
    names = tuple(sorted({name for slot in slots for name in slot.names}))
    findings: list[Finding] = []
    for slot in slots:
        if not slot.containers:
            findings.append(Finding(check=f"isolation:{slot.ring}", ok=True, detail="nothing runs"))
            continue
        others = [container for other in slots if other is not slot for container in other.containers]
        findings.append(await _seen_from(world, slot, names, allowed, others))
    return findings


async def _slot(world: World, ring: str) -> Slot:
    containers = await world.engine.containers(world.project(ring))
    running = tuple(container for container in containers if container.status == "running")
    return Slot(ring, running, await _names(world, ring))


async def _names(world: World, ring: str) -> tuple[str, ...]:
    """Service names and network aliases, from the release's own config."""
    found = set(world.settings.services)
    record = world.state.load().ring(ring)
    if record.release is None:
        return tuple(sorted(found))
    for name, service in config_services(world.releases.config(record.release)).items():
        found.add(name)
        networks = cast("Mapping[str, Mapping[str, object] | None]", service.get("networks") or {})
        for network in networks.values():
            found.update(cast("list[str]", (network or {}).get("aliases") or []))
    return tuple(sorted(found))


async def _seen_from(
    world: World, slot: Slot, names: Sequence[str], backbone: frozenset[str], others: Sequence[ContainerView]
) -> Finding:
    check = f"isolation:{slot.ring}"
    addresses = sorted({(ip, port) for c in others for ip in c.addresses.values() for port in _ports(world, c)})
    asked = json.dumps({"names": list(names), "lookups": _LOOKUPS, "addresses": addresses, "limit": _CONNECT_S})
    faults: list[str] = []
    unmeasured: list[str] = []
    allowed = slot.addresses | backbone

    async def ask(container: ContainerView) -> None:
        try:
            code, output = await world.engine.exec(container.id, ["python3", "-c", _PROBE, asked])
        except RingError:  # it stopped in between
            code, output = 1, ""
        if code != 0:
            unmeasured.append(container.service)
            return
        seen = cast("dict[str, object]", json.loads(output.strip().splitlines()[-1]))
        for name, found in cast("dict[str, list[str]]", seen["names"]).items():
            foreign = sorted(set(found) - allowed)
            if foreign:
                faults.append(f"in {container.service}, {name} resolves to {', '.join(foreign)}")
        faults.extend(f"{container.service} opens {address}" for address in cast("list[str]", seen["opened"]))

    async with anyio.create_task_group() as group:
        for container in slot.containers:
            group.start_soon(partial(ask, container))
    if faults:
        return Finding(check=check, ok=False, detail="; ".join(sorted(faults)[:5]) + f" ({len(faults)} in all)")
    measured = len(slot.containers) - len(unmeasured)
    said = (
        f"{measured} containers: {len(names)} names, {_LOOKUPS} look-ups each, stay inside; "
        f"{len(addresses)} foreign addresses stay closed"
    )
    if unmeasured:
        # not measured is not proven
        said += f"; could not look from inside {', '.join(sorted(unmeasured))} (it stopped, or has no python3)"
    return Finding(check=check, ok=not unmeasured, detail=said)


def _ports(world: World, container: ContainerView) -> tuple[int, ...]:
    service = world.settings.services.get(container.service)
    declared = (service.probe.port,) if service and service.probe.port else ()
    return tuple(sorted({*declared, *container.published}))
