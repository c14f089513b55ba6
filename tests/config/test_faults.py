"""Every fault of a config is told at once, with its line, its path and what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from config_kit import GATES, GOOD, Faults
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from aither_rings_mcp.config import load
from aither_rings_mcp.domain.errors import ConfigInvalid, Exit

MISTAKES: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("mistakes.yaml").read_text())


def make(text: str, *mistakes: str) -> str:
    for mistake in mistakes:
        old = MISTAKES[mistake]["replace"]
        assert text.count(old) == 1, "a mistake is made once"
        text = text.replace(old, MISTAKES[mistake]["by"])
    return text


def test_a_good_config_has_no_faults(faults: Faults) -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_is_one_fault_at_its_line(mistake: str, faults: Faults) -> None:
    found = faults(make(GOOD, mistake))
    assert len(found) == 1, found
    assert found[0].startswith("rings.yaml:" + MISTAKES[mistake]["said"])


@pytest.mark.parametrize("name", ["shared", "verify"])
def test_a_ring_cannot_be_called_what_the_command_line_uses(name: str, faults: Faults) -> None:
    [said] = faults(GOOD.replace("prod:\n", f"{name}:\n").replace("target: prod", f"target: {name}"))
    assert said.startswith(f"rings.yaml:19: rings.{name}: cannot be a ring's name")


def test_a_candidate_does_not_go_from_gate_to_gate(faults: Faults) -> None:
    text = GOOD.replace("  prod:\n    kind: runtime\n", "  prod:\n    kind: gate\n")
    assert [line for line in faults(text) if "paths[1]" in line] == [
        "rings.yaml:32: paths[1].target: a candidate goes to a runtime ring, but prod is a gate"
    ]


def test_gates_that_wait_for_each_other_are_told(faults: Faults) -> None:
    text = GOOD.replace("- gate: asks", "- gate: asks\n        after: [plain]")
    text = text.replace("- gate: plain", "- gate: plain\n        after: [asks]")
    [said] = faults(text)
    assert "asks" in said
    assert "plain" in said


def test_an_optional_env_file_may_be_missing(faults: Faults) -> None:
    assert faults(GOOD.replace("[dev.env]", "[{path: none.env, optional: true}]")) == []


def test_two_gates_of_one_type_are_told_apart_by_name(faults: Faults) -> None:
    assert faults(GOOD.replace("- gate: plain", "- gate: asks\n        name: again\n        with: {url: x}")) == []


def test_every_fault_is_told_at_once_in_the_order_of_the_lines(faults: Faults) -> None:
    mistakes = (
        "unknown key",
        "text where a number belongs",
        "two rings in one project",
        "path to nowhere",
        "bad option",
    )
    found = faults(make(GOOD, *mistakes))
    assert [line.split(":")[1] for line in found] == ["6", "15", "21", "29", "32"]
    assert found == faults(make(GOOD, *mistakes))


def test_a_fault_does_not_make_others_where_nothing_is_wrong(faults: Faults) -> None:
    """A ring with a fault of its own is still a ring, and a wrongly typed project still a project."""
    text = GOOD.replace("project: shop-prod", "project: 7").replace("kind: gate", "kind: gte")
    assert [line.split(": ")[1] for line in faults(text)] == ["rings.staging.kind", "rings.prod.project"]


def test_the_error_carries_the_faults_for_programs(home: Path) -> None:
    file = home / "rings.yaml"
    file.write_text(GOOD.replace("port: 80", "port: eighty"))
    with pytest.raises(ConfigInvalid) as caught:
        load(file, GATES)
    error = caught.value
    assert error.exit_code is Exit.BAD_REQUEST
    assert error.as_dict()["code"] == "config_invalid"
    assert error.details["faults"] == [
        {"path": "services.web.probe.port", "line": 6, "message": "has to be a whole number"}
    ]
    assert error.message.startswith(f"1 fault in {file}:\n")
    assert "rings.example.yaml" in error.next_step


class Uninstalled(dict[str, type[BaseModel]]):
    """Gates of which one was found, but not what it imports."""

    def get(self, key: str, default: object = None) -> Any:
        if key == "plain":
            raise ImportError("No module named 'left_out'")
        return super().get(key, default)


def test_a_gate_whose_package_does_not_load_is_a_fault_like_others(home: Path) -> None:
    file = home / "rings.yaml"
    file.write_text(GOOD)
    with pytest.raises(ConfigInvalid, match=r"rings\.yaml:30: .*'plain' is installed, but its package does not load"):
        load(file, Uninstalled(GATES))


@pytest.mark.promise(16)
def test_a_fault_never_repeats_a_value_of_an_environment(faults: Faults) -> None:
    for wrong in ("env: {PASSWORD: 12345678}", "env: [hunter2]", "env: hunter2", "env: {A: {B: hunter2}}"):
        [said] = faults(GOOD.replace("- gate: plain", f"- gate: plain\n        {wrong}"))
        assert "hunter2" not in said
        assert "12345678" not in said
        assert "http" not in said


VALUES = st.recursive(
    st.sampled_from(["null", "true", "7", "1.5", ".nan", "x", "''", "2024-01-01", "~", "!!binary aGk=", "'*'", "90s"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["a", "gate", "port", "on", "8"]), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, len(GOOD.splitlines()) - 1), value=VALUES)
def test_any_value_anywhere_loads_or_is_a_fault_with_a_line(line: int, value: str, home: Path) -> None:
    lines = GOOD.splitlines()
    lines[line] = lines[line].partition(":")[0] + ": " + value
    file = home / "rings.yaml"
    file.write_text("\n".join(lines))
    try:
        load(file, GATES)
    except ConfigInvalid as error:
        assert error.details["faults"]
