"""The drill on the real engine: every promise holds, and nothing is left of it, also when it is cut short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from worlds import REPO, wait_for

pytestmark = pytest.mark.engine
DRILL = [sys.executable, "-m", "aither_rings_mcp.entrypoints.cli", "--json", "drill"]


def traces(engine: docker.DockerClient) -> set[str]:
    """Everything on this machine that is named for a drill, or pins the image of one."""
    containers = engine.containers.list(all=True, ignore_removed=True)
    names = {f"container {c.name}" for c in containers if "drill-" in str(c.name)}
    drilled = {str(i.id) for i in engine.images.list(all=True, filters={"label": "aither.rings.drill"})}
    names |= {f"container {c.name}" for c in containers if c.attrs["Image"] in drilled}
    names |= {f"image {image}" for image in drilled}
    names |= {f"network {n.name}" for n in engine.networks.list() if str(n.name).startswith("drill-")}
    names |= {f"volume {v.name}" for v in engine.volumes.list() if str(v.name).startswith("drill-")}
    return names


@pytest.fixture
def nothing_left(engine: docker.DockerClient, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment for a drill whose temporary files are the test's to look at."""
    before = traces(engine)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # rings of somebody else's, of which it should see nothing
    yield {
        **os.environ,
        "PYTHONPATH": str(REPO),
        "TMPDIR": str(temporary),
        "RINGS_CONFIG": str(tmp_path / "none.yaml"),
        "RINGS_STATE_DIR": str(tmp_path / "state"),
    }
    assert traces(engine) - before == set()
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "state").exists()


@pytest.mark.timeout(900)
@pytest.mark.promise(4, 5, 7, 8, 12)
def test_in_a_drill_every_promise_holds_and_nothing_is_left_of_it(nothing_left: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        DRILL, env=nothing_left, cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False
    )
    answer = json.loads(done.stdout)
    assert [s for s in answer["scenarios"] if not s["held"]] == [], done.stderr
    assert (done.returncode, answer["ok"], answer["left"], len(answer["scenarios"])) == (0, True, [], 11)
    bad = {s["name"]: s["recovered_s"] for s in answer["scenarios"] if s["name"] != "good"}
    assert all(0 < seconds < 45 for seconds in bad.values()), bad


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drill_that_is_cut_short_is_cleaned_up(
    engine: docker.DockerClient, nothing_left: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    before = traces(engine)
    with (tmp_path / "out").open("wb") as out:
        drill = subprocess.Popen(DRILL, env=nothing_left, cwd=tmp_path, stdout=out, stderr=out)
    try:
        wait_for(lambda: "prod" in " ".join(traces(engine) - before), 60, "prod has a container")
        drill.send_signal(number)
        assert drill.wait(60) == 130
    finally:
        drill.kill()
    assert "interrupted" in (tmp_path / "out").read_text()
