"""What a config becomes in a slot, and which services would harm each other there."""

from __future__ import annotations

from typing import Any

import pytest

from aither_rings_mcp.domain.composition import cannot_run_twice, in_slot, left_out, start_order
from aither_rings_mcp.domain.settings import Probe, Ring, Service, Strategy
from aither_rings_mcp.domain.slots import Slot

RING = Ring.model_validate(
    {
        "kind": "runtime", "project": "shop", "compose": ["c.yml"], "shared_network": "shop-shared",
        "fronts": {"api": 9001}, "green": {"project": "shop-green", "shared_network": "shop-green-shared"},
    }
)  # fmt: skip
KNOWN = {"api": Service(probe=Probe(port=8000))}
PUBLISHED = [{"published": "9001", "target": 8000}]
CONFIG: dict[str, Any] = {
    "services": {
        "api": {"container_name": "api", "ports": PUBLISHED, "networks": {"ring": {}, "shared": {}}},
        "admin": {"ports": [{"published": "7000", "target": 7000}]},
    },
    "networks": {
        "ring": {"name": "shop-net"},
        "shared": {"name": "shop-shared", "external": True},
        "company": {"name": "company", "external": True},
    },
    "volumes": {"data": {"name": "shop_data"}},
}


def networks(config: dict[str, Any]) -> dict[str, str]:
    return {key: network["name"] for key, network in config["networks"].items()}


@pytest.mark.promise(1)
def test_green_has_networks_of_its_own_and_the_rings_volumes() -> None:
    blue, green = (in_slot(CONFIG, RING, slot, KNOWN) for slot in (Slot.BLUE, Slot.GREEN))
    assert networks(blue) == {"ring": "shop-net", "shared": "shop-shared", "company": "company"}
    assert networks(green) == {"ring": "shop-green-ring", "shared": "shop-green-shared", "company": "company"}
    assert blue["volumes"] == green["volumes"] == CONFIG["volumes"]


@pytest.mark.parametrize("slot", list(Slot))
def test_the_edge_has_the_front_ports_and_names_are_composes(slot: Slot) -> None:
    services = in_slot(CONFIG, RING, slot, KNOWN)["services"]
    assert "ports" not in services["api"]
    assert "container_name" not in services["api"]
    assert services["admin"]["ports"], "what has no front is published as the file says"
    assert services["api"]["environment"]["AITHER_SLOT"] == slot


def api_ports(published: list[dict[str, Any]], ring: Ring = RING, **api: Any) -> list[dict[str, Any]] | None:
    """What is left of the ports of a service with a front on 9001, where the edge goes to its 8000."""
    config = {"services": {"api": {"ports": published}}}
    known = {"api": KNOWN["api"].model_copy(update=api)}
    return in_slot(config, ring, Slot.BLUE, known)["services"]["api"].get("ports")


def test_a_second_port_of_a_service_with_a_front_stays() -> None:
    metrics, elsewhere, taken = (
        {"published": "7000", "target": 7000},
        {"published": "18000", "target": 8000},
        {"published": "9001", "target": 9999},
    )
    assert api_ports([*PUBLISHED, metrics]) == [metrics]
    assert api_ports([*PUBLISHED, metrics], RING.model_copy(update={"green": None})) == [metrics]
    assert api_ports([elsewhere, taken]) is None, "the edge leads there, or listens there"


def test_a_port_on_which_nobody_listens_any_more_is_told() -> None:
    ports = [*PUBLISHED, {"published": "18000", "target": 8000}, {"published": "7000", "target": 7000}]
    config = {"services": {"api": {"ports": ports}, "admin": CONFIG["services"]["admin"]}}
    assert left_out(config, RING, KNOWN) == {"api": ("18000",)}
    twice = {"api": KNOWN["api"].model_copy(update={"twice": True})}
    assert left_out(config, RING, twice) == {"api": ("18000", "7000")}, "no two slots can have a port of the host"
    assert left_out(CONFIG, RING, KNOWN) == {}


@pytest.mark.parametrize(
    ("service", "restart"),
    [
        ({"restart": "always"}, "unless-stopped"),
        ({"deploy": {"restart_policy": {"condition": "any"}}}, "unless-stopped"),
        ({"restart": "always", "deploy": {"restart_policy": {"condition": "always"}}}, "unless-stopped"),
        ({"restart": "on-failure"}, "on-failure"),
        ({"deploy": {"restart_policy": {"condition": "on-failure"}}}, None),
        ({}, None),
    ],
)
def test_a_slot_that_was_stopped_does_not_come_back_with_the_engine(
    service: dict[str, Any], restart: str | None
) -> None:
    """Docker starts `always` anew even where somebody stopped it."""
    made = in_slot({"services": {"queue": service}}, RING, Slot.GREEN, KNOWN)["services"]["queue"]
    assert made.get("restart") == restart
    assert made.get("deploy", {}).get("restart_policy", {}).get("condition") in {None, "on-failure"}
    alone = RING.model_copy(update={"green": None})
    assert in_slot({"services": {"queue": service}}, alone, Slot.BLUE, KNOWN)["services"]["queue"].get(
        "restart"
    ) == service.get("restart"), "a ring with one slot keeps what its file says"


def test_services_that_go_over_one_by_one_stay_on_the_rings_networks() -> None:
    rolling = RING.model_copy(update={"strategy": Strategy.ROLLING})
    green = in_slot(CONFIG, rolling, Slot.GREEN, KNOWN)
    assert networks(green) == networks(CONFIG)
    assert all(network["external"] for network in green["networks"].values())


def test_the_config_given_is_left_alone() -> None:
    before = repr(CONFIG)
    in_slot(CONFIG, RING, Slot.GREEN, KNOWN)
    assert repr(CONFIG) == before


@pytest.mark.parametrize(
    ("service", "why"),
    [
        ({"volumes": [{"type": "volume", "source": "data", "target": "/data"}]}, "it writes to data"),
        ({"volumes": [{"type": "bind", "source": "/srv/data", "target": "/data"}]}, "it writes to /srv/data"),
        ({"ports": PUBLISHED}, "it publishes port 9001 past the edge"),
        ({"network_mode": "host"}, "it shares the host's network"),
        ({"pid": "host"}, "it shares the host's pid"),
        ({"network_mode": "container:vpn"}, "it shares the network of one container (vpn)"),
        ({"scale": 2}, "it runs in 2 copies, and the edge knows one of each service and slot"),
        ({"deploy": {"replicas": 3}}, "it runs in 3 copies, and the edge knows one of each service and slot"),
        ({"gpus": [{"count": 1}]}, "it has a device of its own"),
        ({"volumes_from": ["other"]}, "it writes to volumes of another service"),
        ({"networks": {"ring": {"ipv4_address": "10.0.0.2"}}}, "it has a fixed address"),
        ({"networks": {"company": None}}, "both slots would answer to its name on the network company"),
        ({"devices": ["/dev/dri"]}, "it has a device of its own"),
        (
            {"deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia"}]}}}},
            "it has a device of its own",
        ),
    ],
)
def test_what_two_copies_would_fight_over_is_told(service: dict[str, Any], why: str) -> None:
    config = {"services": {"one": service}, "networks": CONFIG["networks"]}
    assert cannot_run_twice(config, {}, "shop-shared") == {"one": why}


@pytest.mark.parametrize(
    "service",
    [
        {"volumes": [{"type": "bind", "source": "/etc/tls", "target": "/tls", "read_only": True}]},
        {"volumes": [{"type": "tmpfs", "target": "/tmp"}]},
        {"ports": [{"target": 8000}]},
        {"volumes": [{"type": "volume", "target": "/cache"}]},
        {"networks": {"ring": None, "shared": None}},
        {"network_mode": "service:other"},
        {"deploy": {"replicas": 1}},
        {},
    ],
)
def test_what_nobody_fights_over_runs_twice(service: dict[str, Any]) -> None:
    config = {"services": {"one": service}, "networks": CONFIG["networks"]}
    assert cannot_run_twice(config, {}, "shop-shared") == {}


def test_a_front_port_is_the_edges() -> None:
    assert cannot_run_twice({"services": {"api": {"ports": PUBLISHED}}}, {"api": 8000}) == {}
    more = [*PUBLISHED, {"published": "7000", "target": 7000}]
    assert cannot_run_twice({"services": {"api": {"ports": more}}}, {"api": 8000}) == {
        "api": "it publishes port 7000 past the edge"
    }


def test_what_others_depend_on_starts_first() -> None:
    needs = {"web": ["api"], "api": ["db", "migrate"], "migrate": ["db"], "db": [], "lone": []}
    config = {"services": {name: {"depends_on": {other: {} for other in others}} for name, others in needs.items()}}
    order = start_order(config)
    assert sorted(order) == sorted(needs)
    assert all(order.index(other) < order.index(name) for name, others in needs.items() for other in others)
