"""The server as two public clients see it, over stdio: the Inspector's command line and the TypeScript SDK."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from npm_clients import Clients, installed

REPO = Path(__file__).parents[2]
SERVER = (sys.executable, str(REPO / "tests" / "doors" / "mcp_fake_server.py"))
LIMIT_S = 60
TOOLS = [
    "ring_status", "ring_health", "ring_plan", "ring_promote", "ring_rollback", "ring_history", "ring_operation",
    "ring_evidence", "ring_cancel",
]  # fmt: skip
#: Exit code of the Inspector for a result with isError.
TOOL_ERROR = 5

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def clients() -> Clients:
    return installed()


def run(argv: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(REPO), "NO_COLOR": "1"}
    return subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, env=env, check=False)


def inspect(clients: Clients, home: Path, *method: str, code: int = 0, fake: str = "") -> dict[str, Any]:
    given = ("-e", f"PYTHONPATH={REPO}", "-e", f"FAKE_RINGS={fake or 'nothing'}")
    done = run([clients.node, clients.inspector, "--cli", *given, *SERVER, *method], home)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_inspector_lists_the_tools_and_finds_their_schemas_portable(clients: Clients, tmp_path: Path) -> None:
    listed = inspect(clients, tmp_path, "--method", "tools/list", "--strict")
    assert [tool["name"] for tool in listed["tools"]] == TOOLS


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome"),
    [
        ("ring_health", ["ring=prod"], None),
        ("ring_promote", ["source=dev", "target=staging"], "candidate_tagged"),
        ("ring_promote", ["source=staging", "target=prod"], "promoted"),
        ("ring_history", ["ring=prod", "limit=5"], None),
        ("ring_rollback", ["ring=prod"], "rolled_back"),
    ],
)
def test_the_inspector_makes_the_articles_calls(
    clients: Clients, tmp_path: Path, tool: str, arguments: list[str], outcome: str | None
) -> None:
    result = inspect(clients, tmp_path, "--method", "tools/call", "--tool-name", tool, "--tool-arg", *arguments)
    assert not result.get("isError")
    assert result["structuredContent"]["ok"] is True
    assert result["structuredContent"].get("outcome") == outcome


def test_the_inspector_shows_a_blocked_gate_as_a_result(clients: Clients, tmp_path: Path) -> None:
    call = ("--method", "tools/call", "--tool-name", "ring_promote", "--tool-arg", "source=dev", "target=staging")
    content = inspect(clients, tmp_path, *call, fake="blocked")["structuredContent"]
    assert (content["ok"], content["outcome"]) == (False, "blocked")
    assert content["gates"][0]["failed_items"][0]["id"] == "tests/test_app.py::test_root"


def test_the_inspector_shows_a_refusal_that_teaches(clients: Clients, tmp_path: Path) -> None:
    call = ("--method", "tools/call", "--tool-name", "ring_health", "--tool-arg", "ring=qa")
    result = inspect(clients, tmp_path, *call, code=TOOL_ERROR)
    assert result["isError"] is True
    assert result["content"][0]["text"].startswith("ERROR unknown_ring: ")


def test_the_typescript_sdk_makes_the_articles_calls_and_accepts_every_result(clients: Clients, tmp_path: Path) -> None:
    program = shutil.copy(Path(__file__).parent / "article.mjs", clients.folder)  # imports resolve from where it lies
    done = run([clients.node, str(program), *SERVER], tmp_path)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["server"]["name"] == "aither-rings"
    assert seen["tools"] == TOOLS
    assert seen["progress"] > 0
    *good, misspelt = (entry["result"] for entry in seen["results"])
    assert len(good) == 8
    for result in good:
        assert result["structuredContent"]["ok"] is True
    assert misspelt["isError"] is True
    assert "did you mean 'dry_run'?" in misspelt["content"][0]["text"]
    assert "structuredContent" not in misspelt


def test_the_inspector_reaches_the_projects_own_server(clients: Clients, tmp_path: Path) -> None:
    given = ("-e", f"PYTHONPATH={REPO}", "-e", f"RINGS_CONFIG={REPO}/rings.yaml", "-e", f"RINGS_STATE_DIR={tmp_path}")
    call = ("--method", "tools/call", "--tool-name", "ring_history", "--tool-arg", "ring=prod", "limit=5")
    own = (sys.executable, "-m", "aither_rings_mcp")
    done = run([clients.node, clients.inspector, "--cli", *given, *own, *call], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["structuredContent"]["events"] == []


def test_the_lock_file_names_no_host() -> None:
    assert "://" not in (Path(__file__).parent / "package-lock.json").read_text()
