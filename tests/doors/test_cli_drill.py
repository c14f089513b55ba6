"""`ring-ctl drill` as a command: what it prints, what it exits with, and that it needs no rings of anybody's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aither_rings_mcp.domain.answers import DrillAnswer, ScenarioView
from aither_rings_mcp.domain.errors import DockerUnavailable, RingError
from aither_rings_mcp.entrypoints.cli import create_app

HELD = ScenarioView(
    name="crash-loop", expected="the old release", ended="taken back", held=True, detected_s=2.6, recovered_s=4.1
)
BROKEN = ScenarioView(name="late", expected="the old release", ended="promoted", held=False, faults=("it stayed",))


class FakeDrill:
    """A drill that comes to `scenarios`, or for which there is no engine."""

    def __init__(self, *scenarios: ScenarioView, left: tuple[str, ...] = (), fault: RingError | None = None) -> None:
        self.scenarios, self.left, self.fault = scenarios, left, fault

    async def run(self, say: Any) -> DrillAnswer:
        if self.fault:
            raise self.fault
        for scenario in self.scenarios:
            say(f"{scenario.name}: {scenario.ended}")
        return DrillAnswer(
            ok=all(scenario.held for scenario in self.scenarios) and not self.left,
            summary=f"{len(self.scenarios)} scenarios.",
            as_of=datetime(2026, 1, 2, tzinfo=UTC),
            scenarios=self.scenarios,
            took_s=70.5,
            left=self.left,
        )


def run(drill: FakeDrill, *args: str) -> Any:
    def no_rings(config: Path | None) -> Any:
        raise AssertionError(f"asked for the rings of {config}")

    return CliRunner().invoke(create_app(no_rings, lambda: drill), list(args))  # type: ignore[arg-type, return-value]


def test_a_drill_in_which_all_held_exits_0_without_looking_at_anybodys_rings() -> None:
    result = run(FakeDrill(HELD), "--json", "drill")
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["ok"]) == (0, True)
    assert answer["scenarios"] == [HELD.model_dump(mode="json", exclude_none=True)]
    assert "crash-loop: taken back" in result.stderr


@pytest.mark.parametrize("drill", [FakeDrill(HELD, BROKEN), FakeDrill(HELD, left=("the image x",))])
def test_a_promise_that_did_not_hold_and_a_thing_left_behind_exit_1(drill: FakeDrill) -> None:
    assert run(drill, "drill").exit_code == 1


def test_the_table_says_what_held_what_did_not_and_why() -> None:
    shown = run(FakeDrill(HELD, BROKEN, left=("the image x",)), "drill").stdout
    rows = {line.split()[1]: line.split() for line in shown.splitlines() if line.startswith(("yes", "NO"))}
    assert rows["crash-loop"][2:4] == ["2.6", "4.1"]
    assert rows["late"][0] == "NO"
    assert "it stayed" in shown
    assert "the image x" in shown


def test_without_an_engine_it_exits_5() -> None:
    gone = DockerUnavailable("the Docker engine does not answer", "Start it.")
    assert run(FakeDrill(fault=gone), "--json", "drill").exit_code == 5
