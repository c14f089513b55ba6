"""The image of this project, built by its Dockerfile and run as docs/serve.md says: a release comes to prod by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from tiny_world import TinyWorld
from worlds import LABEL_TEST, REPO, free_port, local_images, wait_for

#: Building the image and its bases takes most of it.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
SHARED = REPO / "compose/docker-compose.ring-shared.yml"


class Contained:
    """The server in a container of its image, for the rings of a tiny world."""

    def __init__(self, tiny: TinyWorld, image: str) -> None:
        self.tiny = tiny
        self.port = free_port()
        self.project = tiny.projects["controller"]
        override = tiny.root / "controller.yml"
        command = ["serve", "--port", str(self.port)]
        override.write_text(yaml.safe_dump({"services": {"controller": {"command": command}}}))
        self._files = ["-f", str(SHARED), "-f", str(override)]
        socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        owner = tiny.root.stat()
        self._env = {
            **os.environ, **local_images(), "RINGS_IMAGE": image, "RINGS_HOME": str(tiny.root), "DOCKER_SOCKET": socket,
            "RINGS_UID": str(owner.st_uid), "RINGS_GID": str(owner.st_gid),
        }  # fmt: skip

    def up(self) -> None:
        argv = ["docker", "compose", "-p", self.project, *self._files, "--profile", "controller"]
        argv += ["up", "-d", "--no-build", "controller"]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        wait_for(self._answers, 30, "it serves")

    def _answers(self) -> bool:
        container = self.tiny.container("controller", "controller")
        assert container.status == "running", container.logs().decode()
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def exec(self, *words: str) -> dict[str, Any]:
        """What `ring-ctl --json` says inside."""
        argv = ["docker", "exec", self.name, "ring-ctl", "--json", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    @property
    def name(self) -> str:
        return f"{self.project}-controller-1"


@pytest.fixture(scope="module")
def contained(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    tiny = TinyWorld(engine, tmp_path_factory.mktemp("image"))
    tiny.projects = {**tiny.projects, "controller": f"tiny{tiny.token}-controller"}
    try:
        server = Contained(tiny, built(tiny))
        tiny.arrange("deploy", "dev")
        tiny.arrange("promote", "dev", "staging")
        server.up()
        yield server
    finally:
        tiny.remove()


def test_a_release_comes_to_prod_and_goes_back_by_the_server_in_its_container(contained: Contained) -> None:
    tiny = contained.tiny
    token = contained.exec("token", "create", "agent", "--role", "operator")["token"]

    def act(path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(
            f"http://127.0.0.1:{contained.port}/rings/prod/{path}",
            headers={"Authorization": f"Bearer {token}"},
            json=body,
            timeout=120,
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return answer.json()

    first = act("promote", source="staging")
    assert first["outcome"] == "promoted", first
    tiny.new_setting()
    second = act("promote", source="staging")
    assert second["outcome"] == "promoted", second
    assert act("rollback")["outcome"] == "rolled_back"
    assert tiny.ring("prod")["release"] == first["release"] != second["release"]
    assert tiny.healthy("prod")
    assert contained.exec("history", "verify")["ok"]


async def test_an_agent_on_the_host_has_it_over_stdio(contained: Contained) -> None:
    said = StdioServerParameters(command="docker", args=["exec", "-i", contained.name, "aither-rings-mcp"])
    async with Client(stdio_client(said)) as client:
        result = await client.call_tool("ring_health", {"ring": "dev"})
    assert result.structured_content, result
    assert result.structured_content["healthy"] == result.structured_content["total"] == 1


# -- the image


def built(tiny: TinyWorld) -> str:
    """Builds the image as its Dockerfile says; where no registry is in reach, on bases made of what is here."""
    name, bases = f"{tiny.app}-rings:test", ["--pull=false"]
    if base := local_images().get("SAMPLE_BASE_IMAGE"):
        for argument, image in (("PYTHON_IMAGE", _python(tiny, base)), ("DOCKER_CLI_IMAGE", _docker_cli(tiny))):
            bases += ["--build-arg", f"{argument}={image}"]
    return _build(tiny, REPO, name, *bases)


def _python(tiny: TinyWorld, base: str) -> str:
    """`base` with pip, and what pip is to find: the packages of the lock."""
    context = tiny.root / "python-image"
    asks = ["docker", "run", "--rm", base, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(asks, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    locked = tiny.root / "locked.txt"
    lines = (REPO / "requirements.lock").read_text().splitlines()
    locked.write_text("\n".join(line.rstrip(" \\") for line in lines if line[:1].isalnum()))
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"], "pip"]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version", version]
    argv += ["--dest", str(context / "wheels"), "--constraint", str(locked), *needed]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (context / "Dockerfile").write_text(
        f"FROM {base}\nCOPY wheels /wheels\n"
        "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_BREAK_SYSTEM_PACKAGES=1\n"
        "RUN PYTHONPATH=$(echo /wheels/pip-*.whl) python3 -m pip install pip\n"
    )
    return _build(tiny, context, f"{tiny.app}-python:test")


def _docker_cli(tiny: TinyWorld) -> str:
    """The client and the plugin that this machine has."""
    context = tiny.root / "docker-cli-image"
    context.mkdir()
    asks = ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"]
    plugins = json.loads(subprocess.run(asks, capture_output=True, check=True, timeout=60).stdout)
    client = shutil.which("docker")
    assert client
    shutil.copy(client, context / "docker")
    shutil.copy(next(one["Path"] for one in plugins if one["Name"] == "compose"), context / "docker-compose")
    (context / "Dockerfile").write_text(
        "FROM scratch\nCOPY docker /usr/local/bin/docker\n"
        "COPY docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose\n"
    )
    return _build(tiny, context, f"{tiny.app}-docker-cli:test")


def _build(tiny: TinyWorld, context: Path, name: str, *options: str) -> str:
    argv = [
        "docker",
        "build",
        "--quiet",
        "--label",
        f"{LABEL_TEST}={tiny.token}",
        "--tag",
        name,
        *options,
        str(context),
    ]
    env = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return name
