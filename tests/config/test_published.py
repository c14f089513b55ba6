"""The published JSON Schema, the commented example and the config we ship agree with the code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_kit import GATES, GOOD, REPO, built_in_gates
from jsonschema import Draft202012Validator
from write_schema import FILE, current

from aither_rings_mcp.config import load, schema

EXAMPLE = REPO / "docs" / "rings.example.yaml"
SHIPPED = REPO / "rings.yaml"


def problems(document: Any, published: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(published).iter_errors(document)]


def test_the_published_schema_is_current() -> None:
    assert FILE.read_text() == current(), "run `python tests/config/write_schema.py`"


def test_the_published_schema_is_a_schema_and_names_no_machine() -> None:
    Draft202012Validator.check_schema(json.loads(FILE.read_text()))
    assert sys.executable not in FILE.read_text()


@pytest.mark.parametrize("file", [EXAMPLE, SHIPPED], ids=lambda file: file.name)
def test_what_we_write_fits_the_published_schema(file: Path) -> None:
    assert problems(yaml.safe_load(file.read_text()), json.loads(FILE.read_text())) == []


def test_the_schema_knows_what_each_gate_takes() -> None:
    def with_gate(entry: str) -> list[str]:
        text = GOOD.replace("      - gate: plain\n", f"      - {entry}\n")
        return problems(yaml.safe_load(text), schema(GATES))

    assert with_gate("{gate: asks, name: b, with: {url: x, tries: 2}}") == []
    assert with_gate("{gate: from-another-package, with: {anything: 1}}") == []
    assert with_gate("{gate: asks, with: {url: x, tires: 2}}")
    assert with_gate("{gate: asks, with: {url: 1}}")
    assert with_gate("{gate: asks}"), "a gate that needs options has to be given some"
    assert with_gate("{gate: plain, with: {x: 1}}")


def test_the_schema_takes_what_the_loader_takes() -> None:
    text = GOOD.replace("env_files: [dev.env]", "env_files: [dev.env, {path: dev.env, optional: true}]")
    assert problems(yaml.safe_load(text + "limits: {up: 2m, down: 30}"), schema(GATES)) == []
    assert problems(yaml.safe_load(text + "limits: {up: soon}"), schema(GATES))
    assert problems(yaml.safe_load(text + "limts: {}"), schema(GATES))


def test_the_config_we_ship_loads() -> None:
    loaded = load(SHIPPED, built_in_gates())
    assert loaded.root == REPO
    assert list(loaded.settings.rings) == ["dev", "staging", "prod"]
    assert loaded.settings.critical == ("genesis", "veil", "node", "secrets")
    assert len(loaded.settings.services) == 11


def test_the_config_we_ship_is_the_articles() -> None:
    settings = load(SHIPPED, built_in_gates()).settings
    rule = settings.rollback
    assert (rule.poll, rule.unhealthy_share, rule.unhealthy_for) == (15, 0.5, 90)
    ways = {(path.source, path.target): [gate.gate for gate in path.gates] for path in settings.paths}
    assert ways["dev", "staging"] == ["health_check", "tests_pass", "lint_clean", "docker_build"]
    assert ways["staging", "prod"] == ["smoke_tests"]
    assert [gate.gate for path in settings.paths for gate in path.gates if not gate.blocking] == ["lint_clean"]


def test_the_services_we_ship_are_those_of_both_rings_compose_files() -> None:
    settings = load(SHIPPED, built_in_gates()).settings
    for ring in settings.runtime_rings:
        composed = {name for file in settings.rings[ring].compose for name in _compose(file)["services"]}
        assert composed == set(settings.services), ring


def _compose(file: str) -> Any:
    return yaml.safe_load((REPO / file).read_text())


def test_the_example_loads(tmp_path: Path) -> None:
    (tmp_path / "compose").symlink_to(REPO / "compose")
    (tmp_path / "rings.yaml").write_text(EXAMPLE.read_text())
    load(tmp_path / "rings.yaml", built_in_gates())


def test_the_example_shows_every_key() -> None:
    published = json.loads(FILE.read_text())
    shown = set(_shown(yaml.safe_load(EXAMPLE.read_text()), published, published, ""))
    assert set(_known(published)) - shown == set()


def test_the_example_explains_every_key() -> None:
    """Where it is written first, on the line above, or on the line that holds its short form."""
    explained: set[str] = set()
    above = ""
    for line in EXAMPLE.read_text().splitlines():
        if "# " in above or "# " in line:
            explained |= set(re.findall(r"\b([a-z_]+):", line))
        above = line
    keys = {key.partition(".")[2] for key in _known(json.loads(FILE.read_text()))}
    assert keys - explained == set()


def _known(published: dict[str, Any]) -> Iterator[str]:
    """`Definition.key` for every key of the schema."""
    for name, definition in {"": published, **published["$defs"]}.items():
        yield from (f"{name}.{key}" for key in definition.get("properties", {}))


def _shown(value: Any, here: dict[str, Any], published: dict[str, Any], name: str) -> Iterator[str]:
    """`Definition.key` for every key that the document uses."""
    if "$ref" in here:
        name = here["$ref"].rpartition("/")[2]
        yield from _shown(value, published["$defs"][name], published, name)
        return
    for one in here.get("anyOf", ()):
        if "$ref" in one or one.get("type") in {"object", "array"}:
            yield from _shown(value, one, published, name)
    if isinstance(value, list):
        for item in value:
            yield from _shown(item, here.get("items", {}), published, name)
    if isinstance(value, dict):
        for key, below in value.items():
            properties = here.get("properties", {})
            if key in properties:
                yield f"{name}.{key}"
            rules = [
                properties.get(key) or here.get("additionalProperties"),
                *here.get("patternProperties", {}).values(),
            ]
            if name == "GateSpec" and key == "with":
                rules = [{"$ref": f"#/$defs/with_{value['gate']}"}]
            for rule in rules:
                if isinstance(rule, dict):
                    yield from _shown(below, rule, published, name)
