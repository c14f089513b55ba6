"""Rings of a test's own on the real engine: every name, port and label is theirs alone, and all of it goes again."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import docker
import httpx
import pytest
import yaml
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume

from aither_rings_mcp.domain.composition import LABEL_PIN
from aither_rings_mcp.entrypoints.cli import create_app
from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.wiring import build_manager, installation

T = TypeVar("T")
REPO = Path(__file__).parents[2]
RING_CTL = Path(sys.executable).with_name("ring-ctl")
#: On every image of a small world and so on their containers: also those that have no other name are known for ours.
LABEL_TEST = "aither.rings.test"
WORKER = "aither_rings_mcp.entrypoints.worker"
_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
#: Below the range that the kernel takes for outgoing connections, which would steal a port while its ring is down.
_PORTS = (20000, 32000)


@dataclass(frozen=True)
class Said:
    """What `ring-ctl --json` answered: exit code, the one document on stdout, and the lines on stderr."""

    code: int
    answer: dict[str, Any]
    log: str

    @property
    def error(self) -> dict[str, Any]:
        assert "error" in self.answer, self.answer
        return self.answer["error"]

    @property
    def outcome(self) -> str:
        return self.answer.get("outcome") or f"no outcome: {json.dumps(self.answer)}"


#: How much longer things may take than on a machine with nothing else to do: tests run side by side.
_BUSY = 3


def wait_for(condition: Callable[[], T | None], limit: float, what: str) -> T:
    """What `condition` gives once it gives something; fails after `limit` seconds of a machine at rest."""
    limit *= _BUSY
    until = time.monotonic() + limit
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {limit:g} s: {what}")


def free_port() -> int:
    while True:
        port = _PORTS[0] + secrets.randbelow(_PORTS[1] - _PORTS[0])
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class World:
    """One installation. `projects` are all Compose projects that it can come to run."""

    def __init__(self, engine: docker.DockerClient, root: Path, token: str, projects: Mapping[str, str]) -> None:
        self.engine = engine
        self.root = root
        self.config = root / "rings.yaml"
        self.state_dir = root / ".rings"
        self.token = token
        self.app = f"app{token}"
        self.projects = projects

    # -- the doors

    def ctl(self, *words: str, limit: float = 300, **env: str) -> Said:
        """Runs `ring-ctl --json` to its end."""
        done = subprocess.run(
            self._argv(words), env={**os.environ, **env}, capture_output=True, text=True, timeout=limit, check=False
        )
        try:
            return Said(done.returncode, json.loads(done.stdout), done.stderr)
        except ValueError:
            raise AssertionError(f"stdout is not one JSON document: {done.stdout!r}\n{done.stderr}") from None

    def quick(self, *words: str) -> Said:
        """The same in this process: no interpreter to start, and the worker is one of its own all the same."""
        stdout, stderr = io.StringIO(), io.StringIO()
        with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as left:
            create_app(build_manager)(["--json", "--config", str(self.config), *words])
        return Said(int(left.value.code or 0), json.loads(stdout.getvalue()), stderr.getvalue())

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts `ring-ctl --json` and leaves it running."""
        return subprocess.Popen(self._argv(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def manager(self) -> RingManager:
        """A manager in this process, for the config as it is now."""
        return build_manager(self.config)

    def compose_by_hand(self, ring: str, service: str) -> None:
        """What a person does past the rings: `docker compose up` of one service, with whatever its tag is now."""
        file, env_file = self.by_hand_files(ring)
        argv = ["docker", "compose", "-p", self.projects[ring], "-f", file, "--env-file", env_file]
        argv = [*argv, "up", "-d", "--no-build", "--no-deps", service]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def by_hand_files(self, ring: str) -> tuple[str, str]:
        """The Compose file and the env file of a ring."""
        of_ring = yaml.safe_load(self.config.read_text())["rings"][ring]
        return str(self.root / of_ring["compose"][0]), str(self.root / of_ring["env_files"][0])

    def release(self, fault: str) -> Said:
        """Changes the sample app so that it has `fault`, and deploys it to dev."""
        make_change = self.root / "compose/sample/make_change.py"
        subprocess.run([sys.executable, "-B", str(make_change), fault], check=True, capture_output=True)
        return self.quick("deploy", "dev")

    def arrange(self, *words: str) -> Said:
        """What a test needs to have happened before its own story begins."""
        said = self.quick(*words)
        assert said.code == 0, said
        return said

    def _argv(self, words: tuple[str, ...]) -> list[str]:
        return [str(RING_CTL), "--json", "--config", str(self.config), *words]

    # -- what is recorded; read in this process, which is quicker than one more `ring-ctl`

    def ring(self, name: str) -> dict[str, Any]:
        """One ring of `status`, in detail."""
        answer = anyio.run(self.manager.status, name, True)
        return answer.rings[0].model_dump(mode="json", exclude_none=True)

    def candidate(self) -> dict[str, Any]:
        return self.ring("staging")["candidate"]

    def history(self, ring: str | None = None) -> list[dict[str, Any]]:
        """The last 100 events, newest first."""
        answer = anyio.run(partial(self.manager.history, ring, limit=100))
        return [event.model_dump(mode="json", by_alias=True, exclude_none=True) for event in answer.events]

    def told(self, operation: str) -> list[str]:
        """The outcomes that the history tells of one operation: one, if it is told once."""
        return [event["outcome"] for event in self.history() if event["operation"] == operation]

    def healthy(self, ring: str) -> bool:
        return anyio.run(self.manager.health, ring).ok

    def recorded(self) -> bytes:
        """The state file as it is."""
        return (self.state_dir / "rings-state.json").read_bytes()

    def stored_images(self, release: str) -> dict[str, str]:
        return json.loads((self.state_dir / "releases" / release / "release.json").read_bytes())["images"]

    def latest_operation(self, ring: str) -> dict[str, Any] | None:
        for journal in sorted(self.state_dir.glob("operations/op-*/journal.json"), reverse=True):
            operation = json.loads(journal.read_bytes())
            if operation["request"]["ring"] == ring:
                return operation
        return None

    def open_operations(self) -> list[str]:
        """The operations that have not ended."""
        journals = {path: json.loads(path.read_bytes()) for path in self.state_dir.glob("operations/op-*/journal.json")}
        return [path.parent.name for path, operation in journals.items() if operation.get("ended_at") is None]

    # -- what the engine says

    def containers(self, ring: str) -> list[Container]:
        labels = {"label": f"{_PROJECT}={self.projects[ring]}"}
        return self.engine.containers.list(all=True, filters=labels, ignore_removed=True)

    def container(self, ring: str, service: str) -> Container:
        return next(c for c in self.containers(ring) if c.labels[_SERVICE] == service)

    def running_images(self, ring: str) -> dict[str, str]:
        """service -> content id of the image that its container was made from, of running containers."""
        return {c.labels[_SERVICE]: c.attrs["Image"] for c in self.containers(ring) if c.status == "running"}

    def what_runs(self, ring: str) -> dict[str, tuple[str, str]]:
        """service -> (container id, start time): equal to an earlier look only if nothing was touched."""
        return {c.labels[_SERVICE]: (str(c.id), c.attrs["State"]["StartedAt"]) for c in self.containers(ring)}

    def everything_running(self) -> dict[str, dict[str, tuple[str, str]]]:
        return {ring: self.what_runs(ring) for ring in self.projects}

    def addresses(self, ring: str, service: str | None = None) -> set[str]:
        """Every address that a ring's containers, or one of them, have on any network."""
        containers = [c for c in self.containers(ring) if service in (None, c.labels[_SERVICE])]
        networks = [network for c in containers for network in c.attrs["NetworkSettings"]["Networks"].values()]
        return {network["IPAddress"] for network in networks if network["IPAddress"]}

    def ports(self) -> dict[str, int]:
        """service -> the port of its container, by rings.yaml."""
        services = yaml.safe_load(self.config.read_text())["services"]
        return {name: service["probe"]["port"] for name, service in services.items()}

    def http(self, ring: str, service: str, path: str) -> tuple[int, dict[str, Any]]:
        """Asks a service of a ring, at its published port or else at its container's address."""
        settings = self.container(ring, service).attrs["NetworkSettings"]
        bound = next((b[0]["HostPort"] for b in settings["Ports"].values() if b), None)
        inside = next(iter(settings["Networks"].values()))["IPAddress"]
        host = f"127.0.0.1:{bound}" if bound else f"{inside}:{self.ports()[service]}"
        answer = httpx.get(f"http://{host}{path}", timeout=15, trust_env=False)
        return answer.status_code, answer.json()

    def tags(self, service: str) -> dict[str, str]:
        """tag -> image content id, of one service."""
        ours = f"{self.app}-{service}:"
        images = self.engine.images.list(name=ours[:-1])
        return {tag.removeprefix(ours): str(image.id) for image in images for tag in image.tags if tag.startswith(ours)}

    # -- other circumstances, for a while

    @contextmanager
    def rules(self, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """rings.yaml with a change, until the block ends."""
        before = self.config.read_text()
        document = yaml.safe_load(before)
        change(document)
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))
        try:
            yield
        finally:
            self.config.write_text(before)

    def set(self, env_file: str, **values: object) -> None:
        """Sets variables in one of the env files under `compose/`."""
        path = self.root / "compose" / env_file
        text = path.read_text()
        for name, value in values.items():
            text = re.sub(rf"^{name}=.*\n", "", text, flags=re.M) + f"{name}={value}\n"
        path.write_text(text)

    # -- the end

    def remove(self, *more_state: Path) -> None:
        """Takes away everything this world made, by its own labels and names only; fails if anything is left."""
        self._end_workers()
        pins = [f"{LABEL_PIN}={installation(path)}" for path in (self.state_dir, *more_state)]
        ours = [f"{_PROJECT}={project}" for project in self.projects.values()]
        with ThreadPoolExecutor(4) as several:
            for container in self._containers((*ours, *pins, f"{LABEL_TEST}={self.token}")):
                several.submit(_gone, container)
        for network in self._networks(ours):
            _removed(network)
        for volume in self._volumes(ours):
            volume.remove()
        for image in self.engine.images.list(filters={"reference": f"{self.app}-*"}):
            # by name: an image that somebody else has a name for stays theirs
            for tag in image.tags:
                if tag.startswith(f"{self.app}-"):
                    with suppress(NotFound):
                        self.engine.images.remove(tag)
        for image in self.engine.images.list(all=True, filters={"label": f"{LABEL_TEST}={self.token}"}):
            with suppress(NotFound):
                self.engine.images.remove(str(image.id))
        left = [str(found) for found in self._containers((*ours, *pins))]
        left += [str(network) for network in self._networks(ours) if not _miscounted(network)]
        left += [str(volume) for volume in self._volumes(ours)]
        left += [str(image) for image in self.engine.images.list(filters={"reference": f"{self.app}-*"})]
        assert not left, f"left behind: {left}"

    def _containers(self, labels: Iterable[str]) -> list[Container]:
        listed = partial(self.engine.containers.list, all=True, ignore_removed=True)
        return [container for label in labels for container in listed(filters={"label": label})]

    def _networks(self, labels: Iterable[str]) -> list[Network]:
        return [network for label in labels for network in self.engine.networks.list(filters={"label": label})]

    def _volumes(self, labels: Iterable[str]) -> list[Volume]:
        return [volume for label in labels for volume in self.engine.volumes.list(filters={"label": label})]

    def processes_with(self, *words: str) -> list[int]:
        """Processes of this machine that have all these words in their command line."""
        found: list[int] = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if {*words} <= {*(process / "cmdline").read_text().split("\0")}:
                    found.append(int(process.name))
        return found

    def workers_end(self) -> None:
        """Waits for workers that still see to pins and leftovers after their operation ended."""
        try:
            wait_for(lambda: not self.workers(), 30, "workers end")
        except AssertionError as error:
            pytest.fail("\n".join([str(error), *map(self._of_worker, self.workers())]), pytrace=False)

    def workers(self) -> list[int]:
        """The workers of this installation, those that only watch included."""
        return self.processes_with(WORKER, str(self.config))

    def _of_worker(self, process: int) -> str:
        """Where a worker stands that does not end."""
        with suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            folder = self.state_dir / "operations" / words[words.index("--operation") + 1]
            os.kill(process, signal.SIGUSR1)
            time.sleep(1)  # nothing tells that it has written
            files = [folder / "worker.err", folder / "log.txt"]
            return "\n".join([" ".join(words), *(file.read_text()[-3000:] for file in files if file.exists())])
        return f"{process} has ended meanwhile"

    def _end_workers(self) -> None:
        """A worker outlives its door, and Compose a killed worker: both would outlive a failed test."""
        ours = [(WORKER, str(self.config)), *(("--project-name", project) for project in self.projects.values())]
        for words in ours:
            for process in self.processes_with(*words):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


def _gone(container: Container) -> None:
    with suppress(NotFound):
        container.remove(force=True, v=True)


def _removed(network: Network) -> None:
    try:
        network.remove()
    except NotFound:
        pass
    except APIError as error:
        if not _miscounted(network):
            raise
        warnings.warn(f"{network.name} stays until the engine restarts: {error.explanation}", stacklevel=2)


def _miscounted(network: Network) -> bool:
    """Whether the engine holds on to a network that nothing is on: it counts endpoints that are gone (20.10)."""
    network.reload()
    return not network.containers


def runtime_ring(world: World, name: str) -> dict[str, Any]:
    """A runtime ring of rings.yaml, with the files that the world writes for it."""
    return {
        "kind": "runtime",
        "project": world.projects[name],
        "compose": [f"compose/{name}.yml"],
        "env_files": [f"compose/.env.{name}"],
    }


def copied_sample(folder: Path) -> None:
    """The sample app as it is in this checkout, without the change that somebody's release made."""
    unwanted = shutil.ignore_patterns("change.py", "__pycache__", ".*_cache")
    shutil.copytree(REPO / "compose/sample", folder / "compose/sample", ignore=unwanted)


def local_images() -> dict[str, str]:
    """The images that bootstrap built where no registry is in reach; empty where the public ones are there."""
    path = REPO / "compose/.env.images"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)
