"""The routes of a tunnel: what rings.yaml says, in an order in which every one of them is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.tunnel import NOWHERE, TunnelRule, differences, front_url, tunnel_config

WEB, API, DEV = "http://127.0.0.1:9001", "http://127.0.0.1:9002", "http://127.0.0.1:8001"


def shop(edge: dict[str, Any] | None = None, **hostnames: dict[str, tuple[str, ...]]) -> Settings:
    def ring(name: str, **fronts: int) -> dict[str, Any]:
        names = hostnames.get(name, {})
        return {"kind": "runtime", "project": name, "compose": ("c.yml",), "fronts": fronts, "hostnames": names}

    rings = {"dev": ring("dev", web=8001), "prod": ring("prod", web=9001, api=9002)}
    return Settings.model_validate({"app": "shop", "edge": edge or {}, "services": {"web": {}}, "rings": rings})


SHOP = shop(
    dev={"web": ("dev.example.org",)},
    prod={"web": ("*.example.org", "example.org"), "api": ("api.example.org", "*.api.example.org")},
)


def routes(*pairs: tuple[str, str]) -> tuple[TunnelRule, ...]:
    return (*(TunnelRule(hostname=name, service=service) for name, service in pairs), NOWHERE)


ROUTES = routes(
    ("dev.example.org", DEV), ("example.org", WEB), ("api.example.org", API), ("*.api.example.org", API),
    ("*.example.org", WEB),
)  # fmt: skip


def test_names_come_before_wildcards_and_everything_else_gets_404() -> None:
    assert tunnel_config(SHOP) == ROUTES


def test_without_host_names_the_tunnel_shows_nothing() -> None:
    assert tunnel_config(shop()) == (NOWHERE,)


def test_it_goes_to_where_the_edge_is_published() -> None:
    there = shop({"host": "10.0.0.7"}, prod={"web": ("example.org",)})
    assert tunnel_config(there)[0].service == "http://10.0.0.7:9001"
    assert front_url(shop({"host": "::1"}), 9001) == "http://[::1]:9001"


@pytest.mark.parametrize("strategy", ["blue_green", "recreate", None])
def test_the_routes_know_no_slot(strategy: str | None) -> None:
    """What a ring runs, and in which slot, is nothing that a route could name."""
    prod = SHOP.rings["prod"].model_copy(update={"strategy": strategy, "green": None})
    assert tunnel_config(SHOP.model_copy(update={"rings": {**SHOP.rings, "prod": prod}})) == ROUTES


def test_what_it_prints_routes_the_same() -> None:
    assert differences(SHOP, ROUTES) == ()


LABEL = st.sampled_from(["a", "b", "c"])
NAME = st.builds(lambda star, labels: star + ".".join(labels), st.sampled_from(["", "*."]), st.lists(LABEL, min_size=2))


@given(st.lists(NAME, unique=True, max_size=8), st.lists(NAME, unique=True, max_size=8))
def test_every_name_is_reached_whatever_the_others_are(web: list[str], api: list[str]) -> None:
    """No rule hides one behind it; a check that follows the first fit finds nothing."""
    settings = shop(prod={"web": tuple(web), "api": tuple(name for name in api if name not in web)})
    assert differences(settings, tunnel_config(settings)) == ()


def test_rules_of_others_are_their_owners_business() -> None:
    ssh = TunnelRule(hostname="ssh.example.org", service="ssh://127.0.0.1:22")
    other = TunnelRule(hostname="other.net", path="^/x", service="http://127.0.0.1:1234")
    assert differences(SHOP, (ssh, other, *ROUTES)) == ()


def test_the_order_of_names_and_a_slash_at_the_end_make_no_difference() -> None:
    swapped = (ROUTES[1], ROUTES[0], *ROUTES[2:])
    assert differences(SHOP, swapped) == ()
    slash = ROUTES[0].model_copy(update={"service": f"{DEV}/", "hostname": "DEV.example.org"})
    assert differences(SHOP, (slash, *ROUTES[1:])) == ()


def changed(position: int, **update: str) -> tuple[TunnelRule, ...]:
    return tuple(rule.model_copy(update=update) if n == position else rule for n, rule in enumerate(ROUTES))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (changed(1, service=DEV), f"example.org goes to {DEV}; it should go to {WEB}"),
        (ROUTES[:2] + ROUTES[3:], f"api.example.org goes to {WEB} by the rule for *.example.org before it; "
                                  f"it should go to {API}"),
        ((ROUTES[4], *ROUTES[:4], NOWHERE),
         f"dev.example.org goes to {WEB} by the rule for *.example.org before it; it should go to {DEV}"),
        (ROUTES[:1] + ROUTES[2:], f"example.org has no rule; it should go to {WEB}"),
        (changed(1, path="^/shop"),
         f"example.org goes to {WEB} only where its path fits ^/shop; all of it should go to {WEB}"),
        ((TunnelRule(hostname="old.example.net", service=WEB), *ROUTES),
         f"old.example.net goes to {WEB}, but rings.yaml does not name it"),
        (changed(5, service="http_status:503"), "everything else goes to http_status:503; "
                                                "it should go to http_status:404"),
        (ROUTES[:-1], "the last rule has to be `service: http_status:404`, without a host name"),
    ],
)  # fmt: skip
def test_a_difference_is_named_with_what_should_be(found: tuple[TunnelRule, ...], said: str) -> None:
    assert said in differences(SHOP, found)


def test_a_rule_that_takes_everything_is_named_for_all_it_takes() -> None:
    catch_all = TunnelRule(service=WEB)
    found = differences(SHOP, (catch_all, *ROUTES))
    assert f"api.example.org has no rule; it should go to {API}" in found
    assert f"everything else goes to {WEB}, but rings.yaml does not name it" in found


@pytest.mark.promise(16)
def test_a_password_in_an_existing_config_is_not_repeated() -> None:
    said = " ".join(differences(SHOP, changed(1, service="http://ann:hunter2@10.0.0.1:80")))
    assert "example.org goes to" in said
    assert "hunter2" not in said
