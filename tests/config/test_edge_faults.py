"""What can be wrong about the edge: its fronts, host names, second slots and canaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from config_kit import EDGED, Faults

MISTAKES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("edge_mistakes.yaml").read_text())


def test_a_good_config_with_an_edge_has_no_faults(faults: Faults) -> None:
    assert faults(EDGED) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_about_the_edge_is_told_where_it_is(mistake: str, faults: Faults) -> None:
    change = MISTAKES[mistake]
    assert EDGED.count(change["replace"]) == 1, "a mistake is made once"
    found = faults(EDGED.replace(change["replace"], change["by"]))
    assert len(found) == len(change["said"]), found
    for line, said in zip(found, change["said"], strict=True):
        assert line.startswith("rings.yaml:" + said)


@pytest.mark.parametrize(
    "name", ["a.io", "x-1.example.org", "*.example.org", "0.a.b.c.example.org", "xn--bcher-kva.de"]
)
def test_host_names_that_there_are_can_be_written(name: str, faults: Faults) -> None:
    assert faults(EDGED.replace("dev.example.org", f"'{name}'").replace(', "*.example.org"', "")) == []


@pytest.mark.parametrize("name", ["*", "*.", "a..b", "-a.org", "a_b.org", "a.org.", "a.org:80", "a.org/x", ""])
def test_what_no_tunnel_could_route_is_no_host_name(name: str, faults: Faults) -> None:
    found = faults(EDGED.replace("dev.example.org", f"'{name}'"))
    assert ["is no host name" in line for line in found] == [True]


def test_a_ring_without_the_edge_can_still_be_recreated(faults: Faults) -> None:
    text = EDGED.replace("strategy: blue_green\n    canary: {steps: [5, 25, 100], hold: 30s}", "strategy: recreate")
    assert faults(text) == []


def test_every_second_slot_has_its_own_project_and_network(faults: Faults) -> None:
    mine = "    green: {project: shop-prod-green, shared_network: green-net}\n"
    found = faults(EDGED.replace("    fronts: {web: 8001", mine + "    fronts: {web: 8001"))
    assert [line.split(": ")[1] for line in found] == ["rings.prod.green.project", "rings.prod.green.shared_network"]


def test_a_port_that_only_the_edge_uses_is_enough(faults: Faults) -> None:
    """The container's state says whether it is well, and the edge knows where to go."""
    assert faults(EDGED.replace("tcp: true, port: 5432", "port: 5432")) == []
    [said] = faults(EDGED.replace("tcp: true, port: 5432", "port: 5432").replace(", db: 8002", ""))
    assert said.endswith("services.db.probe.port: does nothing without `http: /path`, `tcp: true` or a front")
