"""The example of docs/gates.md works as it is written there."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import do_not_ship
import pytest
from do_not_ship import DoNotShip

from aither_rings_mcp.adapters.gate_cache import FileGateCache
from aither_rings_mcp.adapters.host import HostCommands, SystemClock
from aither_rings_mcp.domain.settings import GateSpec, Settings
from aither_rings_mcp.domain.verdict import GateResult, Verdict
from aither_rings_mcp.manager.gatekeeper import Gatekeeper
from aither_rings_mcp.ports import GateContext

HERE = Path(__file__).parent
SETTINGS = Settings.model_validate(
    {
        "app": "aither",
        "services": {"genesis": {}},
        "rings": {"dev": {"kind": "runtime", "project": "t", "compose": ["c"]}},
    }
)


async def ask(root: Path, **options: Any) -> GateResult:
    unused = cast("Any", None)
    ctx = GateContext(
        settings=SETTINGS, release=unused, target="staging", root=root, cwd=root, env={}, limit=10,
        log=root / "gate.log", commands=HostCommands(), engine=unused, health=unused, services=unused,
        approval=unused, source_digest=lambda: "",
    )  # fmt: skip
    keeper = Gatekeeper({"do_not_ship": DoNotShip}, SystemClock(), FileGateCache(root / "cache"))
    (result,) = await keeper.examine([GateSpec(gate="do_not_ship", **{"with": options})], lambda spec: ctx)
    return result


async def test_the_example_gate_names_every_line_and_passes_once_they_are_gone(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x = 1\ny = 2  # DO-NOT-SHIP: a guess\n")
    found = await ask(tmp_path)
    assert (found.status, found.failed_items[0].where) == (Verdict.FAILED, "app.py:2")
    (tmp_path / "app.py").write_text("x = 1\n")
    assert (await ask(tmp_path)).status is Verdict.PASSED


async def test_the_example_gate_refuses_options_it_does_not_know(tmp_path: Path) -> None:
    assert (await ask(tmp_path, makrer="x")).reason_code == "options_invalid"


def test_the_example_is_found_by_its_entry_point_as_its_docstring_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = tomllib.loads(str(do_not_ship.__doc__).split("\n\n")[1])["project"]["entry-points"]
    ((group, points),) = declared.items()
    folder = tmp_path / "do_not_ship-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: do-not-ship\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in points.items())
    )
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = [point for point in entry_points(group="aither_rings.gates") if point.name == "do_not_ship"]
    assert found.load() is DoNotShip


def test_the_docs_show_the_example_itself() -> None:
    docs = (HERE.parent.parent / "docs" / "gates.md").read_text()
    assert (HERE / "do_not_ship.py").read_text() in docs
