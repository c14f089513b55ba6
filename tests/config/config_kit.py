"""A small, faultless config to break in one place at a time."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from aither_rings_mcp.domain.model import Value

REPO = Path(__file__).parents[2]

GOOD = """\
app: shop
backbone: {project: shop-shared, compose: [shared.yml]}
services:
  web:
    critical: true
    probe: {http: /health, port: 80}
  db: {}
rings:
  dev:
    kind: runtime
    project: shop-dev
    compose: [dev.yml]
    env_files: [dev.env]
    shared_network: dev-net
    build: true
  staging:
    kind: gate
    preview: {project: shop-preview, shared_network: preview-net}
  prod:
    kind: runtime
    project: shop-prod
    compose: [prod.yml]
    shared_network: prod-net
paths:
  - source: dev
    target: staging
    gates:
      - gate: asks
        with: {url: http://x}
      - gate: plain
  - source: staging
    target: prod
"""

#: The same with an edge, its fronts and a second slot.
EDGED = """\
app: shop
edge: {service: edge, api_on: web}
backbone: {project: shop-shared, compose: [shared.yml]}
services:
  web: {critical: true, probe: {http: /health, port: 80}}
  db: {probe: {tcp: true, port: 5432}}
  job: {}
rings:
  dev:
    kind: runtime
    project: shop-dev
    compose: [dev.yml]
    shared_network: dev-net
    fronts: {web: 8001, db: 8002}
    hostnames: {web: [dev.example.org]}
  staging:
    kind: gate
  prod:
    kind: runtime
    project: shop-prod
    compose: [prod.yml]
    shared_network: prod-net
    fronts:
      web: 9001
    hostnames:
      web: [example.org, "*.example.org"]
    green: {project: shop-prod-green, shared_network: green-net}
    strategy: blue_green
    canary: {steps: [5, 25, 100], hold: 30s}
"""


class Plain(Value):
    """Options of a gate that takes none."""


class Header(Value):
    name: str


class Asks(Value):
    url: str
    tries: Annotated[int, Field(ge=1)] = 1
    headers: tuple[Header, ...] = ()


GATES: Mapping[str, type[BaseModel]] = {"plain": Plain, "asks": Asks}

#: Loads a text as rings.yaml and returns what is wrong with it, a line each.
Faults = Callable[[str], list[str]]


def built_in_gates() -> Mapping[str, type[BaseModel]]:
    """The options of the gates that this package brings, whichever others are installed."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    options: dict[str, type[BaseModel]] = {}
    for name, target in project["entry-points"]["aither_rings.gates"].items():
        module, _, gate = target.partition(":")
        options[name] = getattr(import_module(module), gate).Options
    return options
