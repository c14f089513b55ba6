"""`ring-ctl url` and `ring-ctl tunnel`, from a real rings.yaml: where people find the rings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from aither_rings_mcp.entrypoints.cli import create_app
from aither_rings_mcp.wiring import build_manager

RINGS = """\
app: shop
edge: {}
backbone: {project: shop-shared, compose: [c.yml]}
services: {web: {probe: {http: /, port: 80}}, api: {probe: {tcp: true, port: 81}}}
rings:
  dev: {kind: runtime, project: shop-dev, compose: [c.yml], url: "http://dev.test"}
  staging: {kind: gate}
  prod:
    kind: runtime
    project: shop-prod
    compose: [c.yml]
    fronts: {web: 9001, api: 9002}
    hostnames: {web: ["*.example.org", example.org]}
    green: {project: shop-green}
  other: {kind: runtime, project: shop-other, compose: [c.yml], fronts: {web: 9003}}
"""
CLOUDFLARED = """\
tunnel: 6ff42ae2-765d-4adf-8112-31c55c1551ef
credentials-file: /etc/cloudflared/secret.json
originRequest: {connectTimeout: 30s}
ingress:
  - hostname: ssh.example.org
    service: ssh://127.0.0.1:22
  - hostname: example.org
    service: http://127.0.0.1:9001
    originRequest: {noTLSVerify: true}
  - hostname: "*.example.org"
    service: http://127.0.0.1:9001
  - service: http_status:404
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with rings and nothing to start a program with."""
    (tmp_path / "rings.yaml").write_text(RINGS)
    (tmp_path / "c.yml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    monkeypatch.delenv("RINGS_CONFIG", raising=False)
    monkeypatch.delenv("RINGS_STATE_DIR", raising=False)
    return tmp_path


def run(*args: str) -> Any:
    return CliRunner().invoke(create_app(build_manager), list(args))


@pytest.mark.usefixtures("folder")
def test_the_tunnel_is_yaml_to_be_pasted_and_nothing_else() -> None:
    result = run("tunnel")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout) == {
        "ingress": [
            {"hostname": "example.org", "service": "http://127.0.0.1:9001"},
            {"hostname": "*.example.org", "service": "http://127.0.0.1:9001"},
            {"service": "http_status:404"},
        ]
    }


@pytest.mark.usefixtures("folder")
@pytest.mark.promise(15)
def test_the_tunnel_as_json_has_what_every_answer_has() -> None:
    answer = json.loads(run("tunnel", "--json").stdout)
    assert set(answer) == {"ok", "summary", "next_actions", "as_of", "ingress"}
    assert answer["ingress"][-1] == {"service": "http_status:404"}


def test_what_was_printed_is_what_is_checked_for(folder: Path) -> None:
    (folder / "printed.yml").write_text(run("tunnel").stdout)
    result = run("tunnel", "--check", "printed.yml")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0, ["The tunnel routes what rings.yaml says: 2 host names, all else gets 404."]
    )  # fmt: skip


def test_the_other_keys_of_a_tunnel_are_the_users(folder: Path) -> None:
    (folder / "config.yml").write_text(CLOUDFLARED)
    assert run("tunnel", "--check", "config.yml").exit_code == 0


def test_a_tunnel_that_goes_elsewhere_exits_2_and_says_where(folder: Path) -> None:
    (folder / "config.yml").write_text(CLOUDFLARED.replace(":9001\n    origin", ":9002\n    origin"))
    words, answer = run("tunnel", "--check", "config.yml"), run("tunnel", "--check", "config.yml", "--json")
    assert words.exit_code == answer.exit_code == 2
    said = "example.org goes to http://127.0.0.1:9002; it should go to http://127.0.0.1:9001"
    assert said in words.stdout
    assert (json.loads(answer.stdout)["ok"], json.loads(answer.stdout)["differences"]) == (False, [said])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("ingress: [", "is not valid YAML, line 1"),
        ("ingress: {}", "is no cloudflared config: ingress:"),
        ("ingress: [{hostname: x}]", "is no cloudflared config: ingress.0.service: Field required"),
        ("- service: x", "is no cloudflared config: the file:"),
    ],
)
@pytest.mark.promise(17)
def test_a_file_that_is_no_tunnel_config_is_refused(text: str | None, said: str, folder: Path) -> None:
    if text is not None:
        (folder / "config.yml").write_text(text)
    result = run("tunnel", "--check", "config.yml", "--json")
    assert result.exit_code == 2
    assert said in json.loads(result.stdout)["error"]["message"]


@pytest.mark.parametrize("text", ["", "tunnel: x\n"])
def test_a_tunnel_without_routes_lacks_all_of_them(text: str, folder: Path) -> None:
    (folder / "config.yml").write_text(text)
    result = run("tunnel", "--check", "config.yml", "--json")
    assert (result.exit_code, len(json.loads(result.stdout)["differences"])) == (2, 3)


@pytest.mark.usefixtures("folder")
def test_a_ring_is_found_on_its_fronts_under_its_names() -> None:
    answer = json.loads(run("url", "prod", "--json").stdout)
    assert answer["fronts"] == [
        {"service": "web", "url": "http://127.0.0.1:9001", "hostnames": ["*.example.org", "example.org"]},
        {"service": "api", "url": "http://127.0.0.1:9002", "hostnames": []},
    ]
    assert "slot" not in answer
    assert "http://127.0.0.1:9002" in run("url", "prod").stdout


@pytest.mark.parametrize("slot", ["blue", "green"])
@pytest.mark.usefixtures("folder")
def test_a_slot_is_asked_with_a_header_in_a_command_to_copy(slot: str) -> None:
    answer = json.loads(run("url", "prod", "--slot", slot, "--json").stdout)
    assert (answer["slot"], answer["header"]) == (slot, f"X-Ring-Slot: {slot}")
    command = f"curl -H 'X-Ring-Slot: {slot}' http://127.0.0.1:9001/"
    assert answer["fronts"][0]["curl"] == command
    assert command in run("url", "prod", "--slot", slot).stdout.splitlines()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("url dev", "invalid_arguments", "dev has no fronts; people find it at http://dev.test"),
        ("url other --slot green", "invalid_arguments", "other has no second slot"),
        ("url prod --slot red", "invalid_arguments", "'red' is not one of"),
        ("url staging", "invalid_transition", "gate"),
        ("url prdo", "unknown_ring", "prdo"),
    ],
)
@pytest.mark.usefixtures("folder")
@pytest.mark.promise(17)
def test_a_place_that_is_not_there_is_refused(command: str, code: str, said: str) -> None:
    result = run(*command.split(), "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"]) == (2, code)
    assert said in error["message"]
