"""The edge's configuration and its map, as text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain import edge_map
from aither_rings_mcp.domain.edge_config import backend, description, edge_config
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Route, Slot
from aither_rings_mcp.wiring import GateOptions, GateTypes, load

REPO = Path(__file__).parents[2]
_SLOTS = st.sampled_from(Slot)
_ROUTES = st.builds(
    Route,
    slot=_SLOTS,
    canary=st.integers(0, 10_000).map(lambda share: share / 100),
    services=st.dictionaries(st.sampled_from(["web", "api", "chat"]), _SLOTS),
)


def settings(**ring: object) -> Settings:
    """A ring `shop` with one front."""
    shop = {"kind": "runtime", "project": "shop", "compose": ["shop.yml"], "fronts": {"web": 8080}, **ring}
    return Settings.model_validate(
        {"app": "a", "edge": {"api_on": "web"}, "services": {"web": {"probe": {"port": 80}}}, "rings": {"shop": shop}}
    )


def shipped() -> Settings:
    return load(REPO / "rings.yaml", GateOptions(GateTypes())).settings


def frontend(config: str, name: str) -> list[str]:
    """The lines of one frontend."""
    found = re.search(rf"^frontend {name}\n((?:  .*\n)+)", config, re.M)
    assert found, f"no frontend {name}"
    return [line.strip() for line in found[1].splitlines()]


def test_the_edge_that_is_shipped_is_the_one_of_the_shipped_rings() -> None:
    """`docker compose up` without `ring-ctl` runs these files; write them anew when this fails."""
    assert (REPO / "compose/edge/haproxy.cfg").read_text() == edge_config(shipped())
    every = edge_map.with_every_ring({}, shipped(), {})
    assert (REPO / "compose/edge/slots.map").read_text() == edge_map.map_text(every) == "dev blue\nprod blue\n"


def test_every_front_of_every_slot_has_a_backend_at_the_container_that_compose_names() -> None:
    config, rules = edge_config(shipped()), shipped()
    for name, ring in rules.rings.items():
        for slot, project in ring.slots.items() if ring.fronts else ():
            for service in ring.fronts:
                port = rules.services[service].probe.port
                assert (
                    f"backend {backend(name, slot, service)}\n  server {service} {project}-{service}-1:{port} "
                    in config
                )


def test_a_front_listens_where_no_ring_is() -> None:
    binds = re.findall(r"^  bind (.*)$", edge_config(shipped()), re.M)
    assert all(bind.startswith(("edge-front:", "127.0.0.1:")) for bind in binds), binds


def test_names_that_the_world_uses_are_guarded_on_every_front() -> None:
    lines = frontend(edge_config(settings(hostnames={"web": ["Shop.example.com", "*.shop.example"]})), "shop-web")
    assert "acl public req.hdr(host),field(1,:),rtrim(.),lower -m str shop.example.com" in lines
    assert "acl public req.hdr(host),field(1,:),rtrim(.),lower -m end .shop.example" in lines
    choices = [line for line in lines if line.endswith("!public")]
    assert [line.split()[0] for line in choices] == ["http-request", "use_backend"], choices
    assert not [line for line in lines if line.startswith("use_backend controller") and "!public" not in line]


def test_the_controller_is_only_where_the_config_puts_it() -> None:
    config = edge_config(shipped())
    assert "use_backend controller if api !public" in frontend(config, "prod-genesis")
    assert not [line for line in frontend(config, "prod-veil") if line.startswith("use_backend controller")]


def test_a_ring_with_one_slot_has_no_canary_and_no_other_backend() -> None:
    config = edge_config(settings())
    assert "green" not in config
    assert not [line for line in frontend(config, "shop-web") if "rand(" in line]
    assert "rand(10000),sub(txn.share) lt 0" in edge_config(settings(green={"project": "shop-green"}))


def test_two_configurations_have_two_descriptions() -> None:
    one, other = edge_config(settings()), edge_config(settings(fronts={"web": 8081}))
    assert description(one) == description(edge_config(settings()))
    assert description(one) != description(other)


@given(st.dictionaries(st.sampled_from(["dev", "prod", "shop-1"]), _ROUTES))
def test_a_map_is_read_as_it_was_written(wanted: dict[str, Route]) -> None:
    assert edge_map.map_read(edge_map.map_text(wanted)) == wanted


@pytest.mark.parametrize("line", ["prod", "prod red", "prod blue:blue:5", "prod blue:green:10001", "prod blue green"])
def test_a_map_that_nobody_of_ours_wrote_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"prod|blue"):
        edge_map.map_read(line)


def test_a_share_is_written_in_ten_thousandths() -> None:
    assert edge_map.map_text({"prod": Route(canary=5)}) == "prod blue:green:500\n"


def test_a_ring_switches_with_one_command() -> None:
    now = edge_map.entries({"dev": Route(), "prod": Route()})
    assert edge_map.changes(now, "prod", Route(slot=Slot.GREEN)) == ("set map /etc/edge/slots.map prod green",)
    assert edge_map.changes(now, "prod", Route()) == ()
    assert edge_map.changes({}, "prod", Route()) == ("add map /etc/edge/slots.map prod blue",)


@given(_ROUTES, _ROUTES)
def test_on_the_way_no_request_goes_where_neither_route_sends_it(old: Route, new: Route) -> None:
    other = {"prod-2": "green", "prod-2/web": "blue"}
    now = {**other, **edge_map.entries({"prod": old})}
    allowed = {service: {_answer(now, service), _answer(edge_map.entries({"prod": new}), service)} for service in _ALL}
    for command in edge_map.changes(now, "prod", new):
        verb, _, _, key, *value = command.split()
        assert (key in now) == (verb != "add")
        now = {name: held for name, held in now.items() if name != key} | dict.fromkeys([key] if value else [], *value)
        assert all(_answer(now, service) in allowed[service] for service in _ALL), command
    assert now == {**other, **edge_map.entries({"prod": new})}


_ALL = ("web", "api", "chat", "mail")


def _answer(now: dict[str, str], service: str) -> str:
    """What decides a request: the service's entry, else its ring's."""
    return now.get(f"prod/{service}", now["prod"])
