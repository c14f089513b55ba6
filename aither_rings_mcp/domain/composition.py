"""A rendered Compose config as a value: what of it makes a release, and what is added to run one.

The shape is Compose's own (`docker compose config --format json`), so it stays a plain mapping here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, cast

from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.domain.model import Release, SchemaChange
from aither_rings_mcp.domain.naming import digest
from aither_rings_mcp.domain.settings import Ring, Service, Strategy
from aither_rings_mcp.domain.slots import Slot

Config = dict[str, Any]

#: Labels on every container that a release runs in.
LABEL_APP = "aither.rings.app"
LABEL_RING = "aither.rings.ring"
LABEL_SLOT = "aither.rings.slot"
LABEL_RELEASE = "aither.rings.release"
#: On an image or a service: what its release does to the data it shares, `expand` or `contract`.
LABEL_SCHEMA = "aither.rings.schema"
#: On the containers that keep images from being pruned: the installation that holds them.
LABEL_PIN = "aither.rings.pin"


def services(config: Mapping[str, Any]) -> dict[str, Config]:
    return cast("dict[str, Config]", config.get("services") or {})


def image_references(config: Mapping[str, Any], project: str) -> dict[str, str]:
    """service -> the image reference that Compose would run; a built service without `image` has Compose's own name."""
    return {
        name: cast("str", service.get("image") or f"{project}-{name}") for name, service in services(config).items()
    }


def declared_schema(config: Mapping[str, Any], images: Iterable[Mapping[str, str]]) -> SchemaChange | None:
    """What services and images declare by label; a contract outweighs everything. Raises `config_invalid` for a word
    that is neither.
    """
    said = [cast("Mapping[str, str]", service.get("labels") or {}) for service in services(config).values()]
    words = {labels[LABEL_SCHEMA] for labels in (*said, *images) if LABEL_SCHEMA in labels}
    if unknown := words - {*SchemaChange}:
        raise ConfigInvalid(
            f"the label {LABEL_SCHEMA} says {', '.join(sorted(unknown))}",
            f"Write {' or '.join(SchemaChange)}, on the image or on the service.",
        )
    return weightier(*(SchemaChange(word) for word in words))


def weightier(*changes: SchemaChange | None) -> SchemaChange | None:
    """The one of several that has to be minded."""
    for change in (SchemaChange.CONTRACT, SchemaChange.EXPAND):
        if change in changes:
            return change
    return None


def essence(config: Mapping[str, Any]) -> Config:
    """The config without what differs between machines and builds of one release: images, build recipes, name."""
    kept = {key: value for key, value in config.items() if key != "name"}
    kept["services"] = {
        name: {key: value for key, value in service.items() if key not in {"image", "build"}}
        for name, service in services(config).items()
    }
    return kept


def fingerprint(value: object) -> str:
    """A digest of a JSON-like value that does not depend on the order of keys."""
    if isinstance(value, Mapping):
        pairs = sorted(cast("Mapping[str, object]", value).items())
        return digest("map", *(part for key, item in pairs for part in (key, fingerprint(item))))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return digest("list", *(fingerprint(item) for item in cast("Sequence[object]", value)))
    return digest(type(value).__name__, str(value))


def runnable(config: Mapping[str, Any], release: Release, app: str, slot: str) -> Config:
    """The config that runs exactly `release`: images by content id, never pulled, every container labelled.

    A service learns what it is part of from AITHER_RELEASE and AITHER_COMMIT.
    """
    running = essence(config)
    labels = {LABEL_APP: app, LABEL_RING: release.ring, LABEL_SLOT: slot, LABEL_RELEASE: release.id}
    for name, service in services(running).items():
        service["image"] = release.images[name]
        service["pull_policy"] = "never"
        service["labels"] = {**(service.get("labels") or {}), **labels}
        service["environment"] = {
            **(service.get("environment") or {}),
            "AITHER_RELEASE": release.id,
            "AITHER_COMMIT": release.commit,
        }
    return running


def preview_of(config: Mapping[str, Any], preview: str, shared: str | None, preview_shared: str | None) -> Config:
    """The same release beside its ring: networks of its own, no host ports, no names that could collide.

    `shared` is the network on which the ring meets the backbone; the preview meets it on `preview_shared`.
    """
    moved = _apart(config, preview, shared, preview_shared)
    for service, original in zip(services(moved).values(), services(config).values(), strict=True):
        service["image"] = original.get("image")
        service.pop("ports", None)
        service.pop("container_name", None)
        service["labels"] = {**(service.get("labels") or {}), LABEL_SLOT: preview}
        # A preview lives for seconds: a healer has no business with it.
        service["restart"] = "no"
        service["environment"] = {**(service.get("environment") or {}), "AITHER_SLOT": preview}
    # Named volumes become the preview's own, so that it cannot write into the ring's data.
    for key, volume in cast("dict[str, Config | None]", moved.get("volumes") or {}).items():
        if volume is not None and not volume.get("external"):
            volume["name"] = f"{preview}-{key}"
    return moved


def start_order(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The services, each after those it depends on; by name where nothing else decides."""
    needs = {name: {*cast("Mapping[str, object]", service.get("depends_on") or {})} for name, service in
             sorted(services(config).items())}  # fmt: skip
    return tuple(TopologicalSorter({name: sorted(of & {*needs}) for name, of in needs.items()}).static_order())


def in_slot(config: Mapping[str, Any], ring: Ring, slot: Slot, known: Mapping[str, Service]) -> Config:
    """The config as it runs in one slot of a ring behind the edge: the edge has its front ports, and finds each
    container by the name that Compose gives it. Green has networks of its own, unless services go over one by one and
    have to reach each other all the time; volumes stay the ring's. `known`: the services of rings.yaml.
    """
    if slot is Slot.BLUE or ring.green is None:
        moved = essence(config)
    elif ring.strategy is Strategy.ROLLING:
        moved = _as_guest(config)
    else:
        moved = _apart(config, ring.green.project, ring.shared_network, ring.green.shared_network)
    for name, service in services(moved).items():
        if name in ring.fronts:
            stay = _past_the_edge(service, ring.fronts[name], known.get(name, Service()))
            service.pop("ports", None)
            service |= {"ports": stay} if stay else {}
        if ring.green is not None:
            _stays_stopped(service)
        service.pop("container_name", None)
        service["environment"] = {**(service.get("environment") or {}), "AITHER_SLOT": slot.value}
    return moved


def left_out(config: Mapping[str, Any], ring: Ring, known: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """service with a front -> the host ports that its file publishes, and on which nobody listens: the edge has it
    elsewhere.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, service in services(config).items():
        if name in ring.fronts:
            stay = _past_the_edge(service, ring.fronts[name], known.get(name, Service()))
            gone = [port for port in _ports(service) if port.get("published") and port not in stay]
            found[name] = tuple(str(p["published"]) for p in gone if str(p["published"]) != str(ring.fronts[name]))
    return {name: ports for name, ports in found.items() if ports}


def _ports(service: Config) -> list[Config]:
    return cast("list[Config]", service.get("ports") or [])


def _past_the_edge(service: Config, front: int, known: Service) -> list[Config]:
    """The ports of a service with a front that are not the edge's. One that may run twice has none: no two slots can
    have a port of the host.
    """
    if known.twice:
        return []
    return [p for p in _ports(service) if p.get("target") != known.probe.port and str(p.get("published")) != str(front)]


def _stays_stopped(service: Config) -> None:
    """Docker starts what is to run `always` with its daemon, although somebody stopped it: what waits in a slot, or was
    taken back, would work beside what serves.
    """
    deploy: Config = service.get("deploy") or {}
    policy: Config = deploy.get("restart_policy") or {}
    if policy.get("condition") in {"any", "always"}:
        service["deploy"] = {key: value for key, value in deploy.items() if key != "restart_policy"}
        service["restart"] = "unless-stopped"
    elif service.get("restart") == "always":
        service["restart"] = "unless-stopped"


def _apart(config: Mapping[str, Any], project: str, shared: str | None, own_shared: str | None) -> Config:
    """The config on networks that only `project` has; the backbone is met on `own_shared` instead of `shared`."""

    def own(key: str, network: Config) -> Config:
        if shared and network.get("name") == shared:
            return {**network, "name": own_shared}
        return network if network.get("external") else {**network, "name": f"{project}-{key}"}

    return _on_networks(config, own)


def _as_guest(config: Mapping[str, Any]) -> Config:
    """The config on the networks of another project, which has them already."""

    def joined(_: str, network: Config) -> Config:
        return {"name": network["name"], "external": True}

    return _on_networks(config, joined)


def _on_networks(config: Mapping[str, Any], changed: Callable[[str, Config], Config]) -> Config:
    moved = essence(config)
    if networks := cast("dict[str, Config | None]", moved.get("networks") or {}):
        moved["networks"] = {
            key: network if network is None else changed(key, network) for key, network in networks.items()
        }
    return moved


def cannot_run_twice(
    config: Mapping[str, Any], fronts: Mapping[str, int | None], shared: str | None = None
) -> dict[str, str]:
    """service -> why a second copy of it beside the first would do harm, or could not start.

    `fronts`: services behind the edge, with the container port that the edge goes to; `shared`: the network to the
    backbone, which each slot has for itself.
    """
    networks = cast("Mapping[str, Config | None]", config.get("networks") or {})
    common = {
        key: str(network.get("name") or key)
        for key, network in networks.items()
        if network and network.get("external") and network.get("name") != shared
    }
    found = {
        name: _in_the_way(service, name in fronts, fronts.get(name)) or _on_one_network(service, common)
        for name, service in services(config).items()
    }
    return {name: why for name, why in found.items() if why}


def _in_the_way(service: Config, has_front: bool, front: int | None) -> str | None:
    ports = [port for port in _ports(service) if port.get("published")]
    past = [str(port["published"]) for port in ports if not (has_front and port.get("target") == front)]
    if past:
        return f"it publishes port {', '.join(past)} past the edge"
    for mount in cast("list[Config]", service.get("volumes") or []):
        named = mount.get("type") == "bind" or (mount.get("type") == "volume" and mount.get("source"))
        if named and not mount.get("read_only"):
            return f"it writes to {mount.get('source') or mount.get('target')}"
    if service.get("volumes_from"):
        return "it writes to volumes of another service"
    for what in ("network_mode", "pid", "ipc"):
        owner, shared = str(service.get(what) or ""), what.removesuffix("_mode")
        if owner == "host":
            return f"it shares the host's {shared}"
        if owner.startswith("container:"):
            return f"it shares the {shared} of one container ({owner.removeprefix('container:')})"
    deploy: Config = service.get("deploy") or {}
    copies = int(service.get("scale") or deploy.get("replicas") or 1)
    if copies > 1:
        return f"it runs in {copies} copies, and the edge knows one of each service and slot"
    resources: Config = deploy.get("resources") or {}
    reservations: Config = resources.get("reservations") or {}
    if service.get("devices") or service.get("gpus") or reservations.get("devices"):
        return "it has a device of its own"
    return None


def _on_one_network(service: Config, common: Mapping[str, str]) -> str | None:
    """Where both slots are on a network, a name leads to either of them; and an address is one container's."""
    for key, joined in cast("Mapping[str, Config | None]", service.get("networks") or {}).items():
        if key in common:
            return f"both slots would answer to its name on the network {common[key]}"
        if joined and (joined.get("ipv4_address") or joined.get("ipv6_address")):
            return "it has a fixed address"
    return None


def host_ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Host addresses a config publishes, as `127.0.0.1:9001`, sorted."""
    found = {
        f"{port.get('host_ip') or '0.0.0.0'}:{port['published']}"  # noqa: S104 - this is what Docker binds by default
        for service in services(config).values()
        for port in _ports(service)
        if port.get("published")
    }
    return tuple(sorted(found))
