"""Whether slots are apart, seen from inside their containers: where names lead, and what can be reached."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import anyio

from aither_rings_mcp.domain.answers import Finding
from aither_rings_mcp.domain.composition import services as config_services
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.settings import Strategy
from aither_rings_mcp.manager.world import World

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
class Seen:
    """One running copy of a ring's services, by what it is called in findings."""

    ring: str
    name: str
    containers: tuple[ContainerView, ...]
    #: every name that the slot's own networks give its services
    names: tuple[str, ...]

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(ip for container in self.containers for ip in container.addresses.values())


async def isolation(world: World) -> list[Finding]:
    """What every running container of every slot sees of the others: names, and direct connections."""
    slots = [slot for ring in world.settings.runtime_rings for slot in await _slots(world, ring)]
    preview = [settings.preview.project for settings in world.settings.rings.values() if settings.preview]
    for project in preview:
        containers = await world.engine.containers(project)
        if containers:
            slots.append(Seen(project, project, tuple(c for c in containers if c.status == "running"), ()))
    backbone = world.settings.backbone
    shared = await world.engine.containers(backbone.project) if backbone else ()
    allowed = frozenset(ip for container in shared for ip in container.addresses.values())
    names = tuple(sorted({name for slot in slots for name in slot.names}))
    findings: list[Finding] = []
    for slot in slots:
        if not slot.containers:
            findings.append(Finding(check=f"isolation:{slot.name}", ok=True, detail="nothing runs"))
            continue
        others = [container for other in slots if other is not slot for container in other.containers]
        foreign = {(ip, port) for c in others for ip in c.addresses.values() for port in _ports(world, c)}
        findings.append(await _seen_from(world, slot, names, allowed, foreign | _fronts(world, slot.ring, shared)))
    return findings


async def _slots(world: World, ring: str) -> list[Seen]:
    """Each slot of a ring that runs; one where both are on the same networks, or where nothing runs."""
    found: list[tuple[str, tuple[ContainerView, ...]]] = []
    for slot, project in world.settings.rings[ring].slots.items():
        containers = await world.engine.containers(project)
        found.append((f"{ring}/{slot}", tuple(c for c in containers if c.status == "running")))
    running = [(name, containers) for name, containers in found if containers]
    names = await _names(world, ring)
    if len(running) < 2 or world.settings.rings[ring].strategy is Strategy.ROLLING:
        return [Seen(ring, ring, tuple(c for _, containers in running for c in containers), names)]
    return [Seen(ring, name, containers, names) for name, containers in running]


def _fronts(world: World, ring: str, backbone: Sequence[ContainerView]) -> set[tuple[str, int]]:
    """Where other rings' users are let in: by way of the edge, too, no ring reaches another."""
    edge = world.settings.edge
    ports = {port for name, other in world.settings.rings.items() if name != ring for port in other.fronts.values()}
    at = [ip for one in backbone if edge and one.service == edge.service for ip in one.addresses.values()]
    return {(ip, port) for ip in at for port in ports}


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
    world: World, slot: Seen, names: Sequence[str], backbone: frozenset[str], foreign: Collection[tuple[str, int]]
) -> Finding:
    check, addresses = f"isolation:{slot.name}", sorted(foreign)
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
            if others := sorted(set(found) - allowed):
                faults.append(f"in {container.service}, {name} resolves to {', '.join(others)}")
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
