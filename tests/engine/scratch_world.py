"""Two services from images with one tiny program in them: no registry, no build, no gates, no probes, no ports."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import yaml
from worlds import Said, World, runtime_ring, wait_for

from aither_rings_mcp.adapters.tiny_program import waits
from aither_rings_mcp.domain.composition import LABEL_RELEASE

SERVICES = ("api", "web")


def _compose(world: World, ring: str) -> dict[str, Any]:
    def service(name: str) -> dict[str, Any]:
        image = f"{world.app}-{name}:{ring}-latest"
        return {"image": image, "restart": "unless-stopped", "stop_grace_period": "0s"}

    return {"services": {name: service(name) for name in SERVICES}}


def _rules(world: World) -> dict[str, Any]:
    return {
        "version": 1,
        "app": world.app,
        "services": {name: {"critical": True} for name in SERVICES},
        "rings": {
            "dev": {**runtime_ring(world, "dev"), "build": True},
            "staging": {"kind": "gate"},
            "prod": runtime_ring(world, "prod"),
        },
        "paths": [{"source": "dev", "target": "staging"}, {"source": "staging", "target": "prod"}],
        "limits": {"healthy": "8s", "healthy_window": "400ms", "poll": "100ms", "engine": "60s"},
    }


class ScratchWorld(World):
    """`ready` makes a release in a second or two, each with images of its own."""

    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        super().__init__(engine, root, token, {ring: f"scratch{token}-{ring}" for ring in ("dev", "prod")})
        (root / "compose").mkdir()
        for ring in self.projects:
            (root / f"compose/{ring}.yml").write_text(yaml.safe_dump(_compose(self, ring), sort_keys=False))
            (root / f"compose/.env.{ring}").write_text("")
        self.config.write_text(yaml.safe_dump(_rules(self), sort_keys=False))

    def ready(self) -> None:
        """A new release waits in staging."""
        self.deployed()
        self.arrange("promote", "dev", "staging")

    def deployed(self) -> None:
        """dev runs a new release."""
        program = waits(self.engine.version()["Arch"])
        assert program, "no program for this engine's processor"
        for service in SERVICES:
            self.engine.api.import_image_from_data(
                _packed({"program": program, "version": secrets.token_bytes(8)}),
                repository=f"{self.app}-{service}",
                tag="dev-latest",
                changes=['CMD ["/program"]'],
            )
        self.arrange("deploy", "dev", "--no-build")

    def promoted(self) -> str:
        """A new release runs in prod, and its worker has ended; its id."""
        self.ready()
        said: Said = self.arrange("promote", "staging", "prod")
        assert said.outcome == "promoted"
        self.workers_end()
        return str(said.answer["release"])

    def at_rest(self) -> None:
        """Brings prod to where every test may begin, whatever one before left: a release runs, nothing is under way."""
        self.workers_end()
        if (operation := self.latest_operation("prod")) and not operation.get("ended_at"):
            self.arrange("recover")
            wait_for(self.ended, 60, "prod's operation ends")
            self.workers_end()
        if "release" not in self.ring("prod"):
            self.promoted()
        self.arrange("up", "prod")

    def switching(self) -> dict[str, Any]:
        """prod's operation, as soon as it touches what runs."""

        def look() -> dict[str, Any] | None:
            operation = self.latest_operation("prod")
            return operation if operation and operation["phase"] == "switching" else None

        return wait_for(look, 20, "prod is switching")

    def loses_its_processes(self) -> None:
        """`kill -9` of all that works for prod: workers, and the Compose that they started."""
        self._end_workers()

    def log_of(self, operation: dict[str, Any]) -> str:
        return (self.state_dir / "operations" / operation["id"] / "log.txt").read_text()

    def ended(self) -> dict[str, Any] | None:
        """prod's latest operation, if it has ended."""
        operation = self.latest_operation("prod")
        return operation if operation and operation.get("ended_at") else None

    def faults(self, operation: dict[str, Any]) -> Iterator[str]:
        """Where what runs, what is recorded, what is told and how the operation ended do not say the same."""
        ends = {"done": operation["release"]["id"], "rolled_back": operation.get("previous")}
        release, phase = self.ring("prod")["release"], operation["phase"]
        if ends.get(phase) != release:
            yield f"{release} is recorded after {phase} of {ends}"
        runs = sorted(
            (c.labels["com.docker.compose.service"], c.attrs["Image"], c.labels[LABEL_RELEASE], c.status, c.name)
            for c in self.containers("prod")
        )
        images, project = self.stored_images(release), self.projects["prod"]
        wanted = [(name, images[name], release, "running", f"{project}-{name}-1") for name in SERVICES]
        if runs != wanted:
            yield f"{runs} instead of {wanted}"
        told, verified = self.told(operation["id"]), self.quick("history", "verify")
        if told != [{"done": "promoted"}.get(phase, phase)] or verified.code != 0:
            yield f"told {told} after {phase}; {verified.answer}"


def _packed(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
