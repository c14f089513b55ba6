"""What desktop clients and registries are given: a bundle that packs and starts, and a description that fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from public_clients import installed

from aither_rings_mcp.entrypoints.mcp_server import main as server

REPO = Path(__file__).parents[2]
MANIFEST = REPO / "packaging/mcpb/manifest.json"
#: How the manifest's command begins; a host that has uv makes the environment of pyproject.toml first.
UV = ["uv", "run", "--directory", "${__dirname}", "aither-rings-mcp"]

pytestmark = pytest.mark.timeout(900)


def project() -> dict[str, Any]:
    return tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


async def test_the_bundle_packs_and_its_server_starts(tmp_path: Path) -> None:
    clients = installed()
    mcpb, bundle, unpacked = [clients.node, clients.mcpb], tmp_path / "rings.mcpb", tmp_path / "unpacked"
    packed = {**os.environ, "MCPB": " ".join(mcpb)}
    subprocess.run([str(REPO / "tools/bundle"), str(bundle)], env=packed, check=True, capture_output=True)
    subprocess.run([*mcpb, "unpack", str(bundle), str(unpacked)], check=True, capture_output=True)
    subprocess.run([*mcpb, "validate", str(unpacked / "manifest.json")], check=True, capture_output=True)

    run = json.loads((unpacked / "manifest.json").read_text())["server"]["mcp_config"]
    command = [run["command"], *run["args"]]
    assert command[: len(UV)] == UV
    said = {"${user_config.config}": str(REPO / "rings.yaml"), "${user_config.role}": "operator"}
    # the environment of these tests stands for the one that uv would make
    process = StdioServerParameters(
        command=sys.executable,
        args=["-m", "aither_rings_mcp", *(said.get(word, word) for word in command[len(UV) :])],
        env={**os.environ, "PYTHONPATH": str(unpacked), "RINGS_STATE_DIR": str(tmp_path / "state")},
        cwd=unpacked,
    )
    async with Client(process) as client:
        assert len((await client.list_tools()).tools) == 9


def test_the_bundle_and_the_registrys_description_are_of_this_version() -> None:
    described = json.loads((REPO / "server.json").read_text())
    (package,) = described["packages"]
    assert package["identifier"] == project()["name"] == json.loads(MANIFEST.read_text())["name"]
    versions = {described["version"], package["version"], json.loads(MANIFEST.read_text())["version"]}
    assert versions == {project()["version"]}
    assert len(described["description"]) <= 100  # the registry's limit


def test_the_registrys_description_names_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    (package,) = json.loads((REPO / "server.json").read_text())["packages"]
    with pytest.raises(SystemExit):
        server(["--help"])
    told = capsys.readouterr().out
    for argument in package["packageArguments"]:
        assert f"{argument['name']} " in told
