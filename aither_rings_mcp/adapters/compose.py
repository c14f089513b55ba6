"""`docker compose`: argv from pure functions, and a thin performer that runs them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import cast

from aither_rings_mcp.domain.errors import ConfigInvalid, EngineFailure
from aither_rings_mcp.domain.log_lines import quoted
from aither_rings_mcp.domain.settings import EnvFile, Settings
from aither_rings_mcp.ports import Commands, Completed, ComposeConfig, Engine, OnLine

#: Compose looks for a compose.yaml in the working directory and above; the root has none of ours.
_NOWHERE = Path("/")
_INTERIM = re.compile(r"[0-9a-f]{12}_")


def project_argv(
    root: Path, project: str, files: Sequence[str], env_files: Sequence[EnvFile], profiles: Sequence[str]
) -> list[str]:
    """`docker compose` for the files of rings.yaml; optional env files only where they exist."""
    argv = ["docker", "compose", "--project-name", project]
    for file in files:
        argv += ["--file", str(root / file)]
    for env_file in env_files:
        path = root / env_file.path
        if not env_file.optional or path.is_file():
            argv += ["--env-file", str(path)]
    for profile in profiles:
        argv += ["--profile", profile]
    return argv


def run_argv(project: str, file: Path) -> list[str]:
    """`docker compose` for a release's own, fully rendered file."""
    return ["docker", "compose", "--project-name", project, "--file", str(file)]


def render_argv(base: Sequence[str], output: Path) -> list[str]:
    return [*base, "config", "--format", "json", "--output", str(output)]


def build_argv(base: Sequence[str]) -> list[str]:
    return ["docker", "compose", "--progress", "plain", *base[2:], "build"]


def up_argv(base: Sequence[str]) -> list[str]:
    return [*base, "up", "--detach", "--no-build", "--remove-orphans"]


def up_some_argv(base: Sequence[str], services: Sequence[str]) -> list[str]:
    return [*base, "up", "--detach", "--no-build", "--no-deps", *services]


def stop_argv(project: str, services: Sequence[str] = ()) -> list[str]:
    return ["docker", "compose", "--project-name", project, "stop", *services]


def down_argv(project: str, volumes: bool) -> list[str]:
    """By label, without a file: what is there goes, whichever release it came from."""
    argv = ["docker", "compose", "--project-name", project, "down", "--remove-orphans"]
    return [*argv, "--volumes"] if volumes else argv


def edge_env(files: Path) -> dict[str, str]:
    """Which files the edge runs with, and as whom: its sockets are for who runs `ring-ctl`, and nobody else."""
    return {"RINGS_EDGE_DIR": str(files), "EDGE_UID": str(os.getuid()), "EDGE_GID": str(os.getgid())}


def is_interim(name: str, project: str) -> bool:
    """Whether a container has the name that Compose gives it until the one it replaces is gone: `<old id>_<name>`.

    One that still has it was left by an `up` that was cut off, and the next `up` would stumble over it.
    """
    return bool(_INTERIM.match(name)) and not name.startswith(project)


class DockerCompose:
    """Runs Compose for the rings of one rings.yaml. `edge_files` is the folder that the edge is started with."""

    def __init__(
        self, settings: Settings, root: Path, commands: Commands, engine: Engine, edge_files: Path | None = None
    ) -> None:
        self._settings = settings
        self._root = root
        self._commands = commands
        self._engine = engine
        self._edge_files = edge_files

    async def render(self, ring: str) -> ComposeConfig:
        with tempfile.TemporaryDirectory(prefix="rings-") as folder:
            output = Path(folder) / "config.json"
            done = await self._commands.run(
                render_argv(self._ring(ring), output), cwd=self._root, env={}, limit=self._settings.limits.up
            )
            if done.code != 0:
                raise ConfigInvalid(
                    f"the Compose files of {ring} do not render: {_last_lines(done)}",
                    f"Fix {', '.join(self._settings.rings[ring].compose)}; `docker compose config` shows the same.",
                )
            return cast("ComposeConfig", json.loads(output.read_bytes()))

    async def build(self, ring: str, on_line: OnLine) -> None:
        await self._perform(
            build_argv(self._ring(ring)), self._root, self._settings.limits.build, f"the build of {ring}", on_line
        )

    async def up(self, project: str, file: Path, on_line: OnLine, *, services: Sequence[str] = ()) -> None:
        """May be repeated, also after one that was cut off."""
        if any(is_interim(container.name, project) for container in await self._engine.listed(project)):
            on_line(f"{project} was left half-way between two releases: down first")
            await self.down(project, on_line)
        base = run_argv(project, file)
        argv = up_some_argv(base, services) if services else up_argv(base)
        await self._perform(argv, _NOWHERE, self._settings.limits.up, f"starting {project}", on_line)

    async def stop(self, project: str, on_line: OnLine, *, services: Sequence[str] = ()) -> None:
        """The containers stay, with their logs and how they ended."""
        argv = stop_argv(project, services)
        await self._perform(argv, _NOWHERE, self._settings.limits.down, f"stopping {project}", on_line)

    async def down(self, project: str, on_line: OnLine, *, volumes: bool = False) -> None:
        """Ends well once no container is left. A network may stay: somebody's container is on it, or the engine
        counts endpoints that are gone (seen on 20.10 under load). That must not stand in the way of going back.
        """
        try:
            await self._perform(
                down_argv(project, volumes), _NOWHERE, self._settings.limits.down, f"stopping {project}", on_line
            )
        except EngineFailure as error:
            if await self._engine.listed(project):
                raise
            on_line(f"no container of {project} is left; {error.message}")

    async def up_backbone(self, on_line: OnLine) -> None:
        await self._perform(
            up_argv(self._backbone()),
            self._root,
            self._settings.limits.up,
            "starting the backbone",
            on_line,
            env=edge_env(self._edge_files) if self._settings.edge and self._edge_files else {},
        )

    async def down_backbone(self, on_line: OnLine) -> None:
        argv = [*self._backbone(), "down", "--remove-orphans"]
        await self._perform(argv, self._root, self._settings.limits.down, "stopping the backbone", on_line)

    def _ring(self, name: str) -> list[str]:
        ring = self._settings.rings[name]
        return project_argv(self._root, str(ring.project), ring.compose, ring.env_files, ring.profiles)

    def _backbone(self) -> list[str]:
        backbone = self._settings.backbone
        if backbone is None:
            raise ConfigInvalid("rings.yaml names no backbone", "Add a `backbone:` section, or leave out `shared`.")
        return project_argv(self._root, backbone.project, backbone.compose, backbone.env_files, backbone.profiles)

    async def _perform(
        self,
        argv: list[str],
        cwd: Path,
        limit: float,
        what: str,
        on_line: OnLine,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        done = await self._commands.run(
            argv, cwd=cwd, env=env, limit=limit, on_line=lambda line: on_line(quoted("compose", line))
        )
        if done.code == 0 and not done.timed_out:
            return
        # A dead engine is another matter than an engine that says no: ask it.
        await self._engine.facts()
        if done.timed_out:
            raise EngineFailure(
                f"{what} did not end within {limit:.0f} s",
                "Look at the operation's log; raise the limit in rings.yaml if it needs longer.",
                log_tail=done.tail(),
            )
        # What it wrote is data: images and builds choose these words, and messages turn up in summaries.
        raise EngineFailure(
            f"{what} failed with exit code {done.code}", "Fix what `log_tail` names, then ask again.",
            log_tail=done.tail(),
        )  # fmt: skip


def _last_lines(done: Completed) -> str:
    return " | ".join(done.tail()[-3:])[:500] or f"exit code {done.code}"
