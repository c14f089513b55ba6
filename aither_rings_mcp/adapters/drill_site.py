"""Where a drill takes place: a folder, images made of nothing, a monitor of its own. All of it goes again.

Every name carries a random token, and whatever is removed or killed is found by it: nothing else is ever touched.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import yaml

from aither_rings_mcp.adapters.drill_files import INSTRUCTIONS, compose, file_system, rules
from aither_rings_mcp.adapters.engine import PROJECT_LABEL, DockerEngine
from aither_rings_mcp.domain.composition import LABEL_PIN
from aither_rings_mcp.domain.drill import Ware
from aither_rings_mcp.domain.errors import EngineFailure, RingError

LABEL_DRILL = "aither.rings.drill"
_WORKER = "aither_rings_mcp.entrypoints.worker"
#: What a person set for rings of their own must not reach these, nor the processes that they start.
_OTHERS = ("RINGS_", "COMPOSE_")
#: Looks at what is left; two at least, as the engine may be in the middle of what a killed Compose asked for.
_ROUNDS = 4


class TemporarySite:
    """One drill's installation on the real engine. Used once: `prepare`, then whatever the drill does, then `remove`.

    `installation` names the pins of a state folder. Between `prepare` and `remove` the environment of this process is
    another: what it starts sees no variables that steer rings, and leaves its temporary files here.
    """

    def __init__(self, engine: DockerEngine, installation: Callable[[Path], str]) -> None:
        self._engine = engine
        self._installation = installation
        self._app = f"drill-{secrets.token_hex(3)}"
        self._projects = {ring: f"{self._app}-{ring}" for ring in ("dev", "prod")}
        self._folder: Path | None = None
        self._environment: dict[str, str] = {}
        self._monitor: subprocess.Popen[bytes] | None = None
        self._shipped = 0

    async def prepare(self) -> Path:
        await self._engine.facts()  # without an engine nothing is written
        # resolved, as processes are told by this path
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self._app}-")).resolve()
        self._environment = dict(os.environ)
        for name in self._environment:
            if name.startswith(_OTHERS):
                del os.environ[name]
        # a worker that is killed cannot clear away its temporary files
        os.environ["TMPDIR"] = str(self._folder)
        for ring in self._projects:
            (self._folder / f"{ring}.yml").write_text(yaml.safe_dump(compose(self._app, ring)))
        self._config.write_text(yaml.safe_dump(rules(self._app, self._projects)))
        await self._image("side", Ware.GOOD)
        return self._config

    async def ship(self, ware: Ware) -> None:
        await self._image("web", ware)

    def worker(self, operation_id: str) -> Callable[[], None] | None:
        found = next(_processes({_WORKER, str(self._config), operation_id}), None)
        return partial(_killed, found) if found is not None else None

    def start_monitor(self) -> None:
        argv = [sys.executable, "-m", "aither_rings_mcp.entrypoints.cli", "--config", str(self._config), "monitor"]
        with (self._config.parent / "monitor.log").open("ab") as log:
            self._monitor = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    def kill_monitor(self) -> None:
        if self._monitor:
            self._monitor.kill()
            self._monitor.wait()
            self._monitor = None

    async def remove(self) -> tuple[str, ...]:
        self.kill_monitor()
        left: tuple[str, ...] = ()
        if self._folder:
            projects = [{"--project-name", project} for project in self._projects.values()]
            for look in range(_ROUNDS):
                for words in ({_WORKER, str(self._config)}, *projects):
                    for process in _processes(words):
                        _killed(process)
                left = await self._cleared(self._installation(self._folder / ".rings"))
                if look and not left:
                    break
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._folder.exists():
                left = (*left, f"the folder {self._folder}")
            os.environ.clear()
            os.environ.update(self._environment)
        return left

    @property
    def _config(self) -> Path:
        if self._folder is None:
            raise AssertionError("not prepared")
        return self._folder / "rings.yaml"

    async def _image(self, service: str, ware: Ware) -> None:
        """A new image under the tag that dev runs: three programs, one of which it starts."""
        architecture = (await self._engine.facts()).architecture
        packed = file_system(architecture)
        if packed is None:
            raise EngineFailure(
                f"a drill has no programs for {architecture}", "Run it on an engine that is amd64 or arm64."
            )
        self._shipped += 1
        labels = f"LABEL {LABEL_DRILL}={self._app} {LABEL_DRILL}.number={self._shipped}"
        changes, repository = [*INSTRUCTIONS[ware], labels], f"{self._app}-{service}"
        await self._engine.call(
            lambda api: api.import_image_from_data(packed, repository=repository, tag="dev-latest", changes=changes)
        )
        if await self._engine.image(f"{repository}:dev-latest") is None:
            raise EngineFailure(f"the engine did not take the image {repository}", "See what its log says.")

    async def _cleared(self, installation: str) -> tuple[str, ...]:
        """Removes everything of ours that the engine has, and says what is there all the same."""
        try:
            with anyio.fail_after(60):
                for thing in await self._engine.call(partial(self._ours, installation)):
                    await self._engine.call(thing.remove)
                return tuple(str(thing) for thing in await self._engine.call(partial(self._ours, installation)))
        except RingError as error:
            return (f"what is named {self._app} or aither-pin-{installation}: {error.message}",)
        except TimeoutError:
            return (f"what is named {self._app} or aither-pin-{installation}: the engine takes too long",)

    def _ours(self, installation: str, api: Any) -> list[_Thing]:
        """Containers first, as they hold the others."""
        things: list[_Thing] = []
        projects = [f"{PROJECT_LABEL}={name}" for name in self._projects.values()]
        for label in (*projects, f"{LABEL_PIN}={installation}"):
            listed = api.containers(all=True, filters={"label": label})
            things += [_Thing("container", one["Id"], one["Names"][0]) for one in listed]
        for label in projects:
            things += [_Thing("network", one["Id"], one["Name"]) for one in api.networks(filters={"label": label})]
            volumes = api.volumes(filters={"label": label})["Volumes"] or ()
            things += [_Thing("volume", one["Name"], one["Name"]) for one in volumes]
        for one in api.images(all=True, filters={"label": f"{LABEL_DRILL}={self._app}"}):
            things.append(_Thing("image", one["Id"], str(one["RepoTags"])))
        return things


class _Thing:
    """Something that the engine has, and how it is removed."""

    def __init__(self, kind: str, id: str, name: str) -> None:
        self._kind, self._id, self._name = kind, id, name

    def __str__(self) -> str:
        return f"the {self._kind} {self._name.lstrip('/')} ({self._id[:19]})"

    def remove(self, api: Any) -> None:
        import docker.errors

        removing: Mapping[str, Callable[[], None]] = {
            "container": lambda: api.remove_container(self._id, force=True, v=True),
            "network": lambda: api.remove_network(self._id),
            "volume": lambda: api.remove_volume(self._id),
            "image": lambda: api.remove_image(self._id, force=True),
        }
        with suppress(docker.errors.APIError):  # gone already, or on its way: the second look tells
            removing[self._kind]()


def _processes(words: set[str]) -> Iterator[tuple[int, set[str]]]:
    """Processes that have all these words in their command line."""
    for process in Path("/proc").glob("[0-9]*"):
        if words <= _words(int(process.name)):
            yield int(process.name), words


def _words(process: int) -> set[str]:
    try:
        return {*Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")}
    except OSError:
        return set()


def _killed(process: tuple[int, set[str]]) -> None:
    """Ends the process and returns once it has ended. A number may belong to another by now: that one is left alone."""
    number, words = process
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(number)
        try:
            if words <= _words(number):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], 2.0)
        finally:
            os.close(handle)
