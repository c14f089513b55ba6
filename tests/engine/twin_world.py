"""A prod with two slots behind an edge of its own: three services of the sample app, quick limits, no gates."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import anyio
import docker
import yaml
from docker.models.containers import Container
from worlds import LABEL_TEST, REPO, Said, World, copied_sample, free_port, local_images, runtime_ring, wait_for

from aither_rings_mcp.adapters.edge import HaproxyEdge
from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.domain.edge_map import map_read
from aither_rings_mcp.domain.slots import Route, Slot

PORTS = {"genesis": 8001, "veil": 3000, "node": 8080}
FRONTS = {"genesis": 9001, "veil": 3001}
#: How long what is open to a slot may go on before it is stopped.
DRAIN_S = 3
BASE = local_images().get("SAMPLE_BASE_IMAGE", "python:3.12-slim")
_SHIPPED = REPO / "compose/docker-compose.ring-shared.yml"
_FINAL = {"done", "blocked", "rolled_back", "failed", "cancelled", "stuck"}


def _service(world: World, ring: str, name: str) -> dict[str, Any]:
    service: dict[str, Any] = {
        "image": f"{world.app}-{name}:{ring}-latest",
        "environment": {"AITHER_RING": ring, "SETTING": "${SETTING:-}"},
        "restart": "unless-stopped",
        "stop_grace_period": "1s",
    }
    if ring == "dev":
        build = {"context": "./sample", "args": {"BASE_IMAGE": BASE, "SERVICE": name}}
        service["build"] = {**build, "labels": {LABEL_TEST: world.token}}
        return service
    # What is wrong with a release is in a file that it brings along: no image has to be built for it.
    service["volumes"] = ["./changes/${CHANGE:?}.py:/app/sample_service/change.py:ro"]
    service["networks"] = ["ring", "shared"] if name in FRONTS else ["ring"]
    return service


def _compose(world: World, ring: str) -> dict[str, Any]:
    document: dict[str, Any] = {"services": {name: _service(world, ring, name) for name in PORTS}}
    if ring == "dev":
        document["services"]["genesis"]["ports"] = ["127.0.0.1:${GENESIS_PORT:?}:8001"]
    else:
        shared = {"name": f"{world.projects['prod']}-shared-net", "external": True}
        document["networks"] = {"ring": {}, "shared": shared}
    return document


class TwinWorld(World):
    """Its prod takes every change of `SETTING` or `CHANGE` as another release, so that no promotion needs a build."""

    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        names = ("shared", "dev", "prod", "prod-green")
        super().__init__(engine, root, token, {name: f"twin{token}-{name}" for name in names})
        #: service -> where its users reach it
        self.fronts = {service: free_port() for service in FRONTS}
        copied_sample(root)
        (root / "compose/changes").mkdir()
        for ring in ("dev", "prod"):
            self.write_compose(ring, _compose(self, ring))
        self.set_fault("ok")
        (root / "compose/.env.dev").write_text(f"GENESIS_PORT={free_port()}\n")
        self.write_compose("shared", self._backbone())
        (root / "compose/.env.shared").write_text(
            "".join(f"{name}={image}\n" for name, image in local_images().items())
        )
        self.config.write_text(yaml.safe_dump(self._rules(), sort_keys=False))

    def begin(self) -> None:
        """The backbone, dev and prod come up; prod has two releases that proved themselves."""
        for words in (
            ("up", "shared"),
            ("deploy", "dev"),
            ("promote", "dev", "staging"),
            ("promote", "staging", "prod"),
        ):
            self.arrange(*words)
        self.promote_another()

    def _backbone(self) -> dict[str, Any]:
        """The edge that is shipped, on other ports and without the rings that are not here."""
        edge = yaml.safe_load(_SHIPPED.read_text())["services"]["edge"]
        edge["ports"] = [f"127.0.0.1:{self.fronts[service]}:{port}" for service, port in FRONTS.items()]
        slots = {"prod-shared": "prod", "prod-green-shared": "prod-green"}
        edge["networks"] = {"access": edge["networks"]["access"], **{key: {} for key in slots}}
        networks = {key: {"name": f"{self.projects[project]}-shared-net"} for key, project in slots.items()}
        # its name has to sort before the others': the first network is the one through which ports are published
        networks["access"] = {"name": f"twin{self.token}-access-net"}
        return {"services": {"edge": edge}, "networks": networks}

    def _rules(self) -> dict[str, Any]:
        prod = {
            **runtime_ring(self, "prod"),
            "shared_network": f"{self.projects['prod']}-shared-net",
            "fronts": FRONTS,
            "green": {
                "project": self.projects["prod-green"],
                "shared_network": f"{self.projects['prod-green']}-shared-net",
            },
        }
        backbone = {name: value for name, value in runtime_ring(self, "shared").items() if name != "kind"}
        return {
            "version": 1,
            "app": self.app,
            "source": {"paths": ["compose/sample"]},
            "backbone": backbone,
            "edge": {"drain": DRAIN_S, "api_on": "genesis"},
            "services": {
                name: {"critical": name != "node", "probe": {"http": "/health", "port": port}}
                for name, port in PORTS.items()
            },
            "rings": {
                "dev": {**runtime_ring(self, "dev"), "build": True},
                "staging": {"kind": "gate"},
                "prod": prod,
            },
            "paths": [{"source": "dev", "target": "staging"}, {"source": "staging", "target": "prod"}],
            # long enough not to end by itself
            "rollback": {"settle": "60s"},
            "limits": {"healthy": "5s", "healthy_window": "1500ms", "poll": "200ms", "engine": "20s"},
            "keep_releases": 3,
        }

    # -- releases

    def write_compose(self, ring: str, document: dict[str, Any]) -> None:
        (self.root / f"compose/{ring}.yml").write_text(yaml.safe_dump(document, sort_keys=False))

    @contextmanager
    def prod_changed(self, **services: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The services of prod's Compose file with these changes, or these ones more, until the block ends."""
        document = _compose(self, "prod")
        for name, change in services.items():
            document["services"][name] = {**document["services"].get(name, {}), **change}
        volumes = {name: {} for name in self.named_volumes(document)}
        self.write_compose("prod", {**document, "volumes": volumes})
        try:
            yield document["services"]
        finally:
            self.write_compose("prod", _compose(self, "prod"))

    @staticmethod
    def named_volumes(document: dict[str, Any]) -> set[str]:
        mounts = [mount for service in document["services"].values() for mount in service.get("volumes", [])]
        return {mount.partition(":")[0] for mount in mounts if not mount.startswith((".", "/"))}

    def set_fault(self, fault: str) -> None:
        """What staging holds becomes another release for prod: the same images, with this fault."""
        name = fault.replace(":", "-")
        (self.root / f"compose/changes/{name}.py").write_text(f"FAULT = {fault!r}\n")
        env = self.root / "compose/.env.prod"
        env.touch()
        self.set(".env.prod", CHANGE=name, SETTING=secrets.token_hex(4))

    def promote(self, fault: str = "ok") -> Said:
        """One more release with this fault, on its way to prod."""
        self.at_rest()
        self.set_fault(fault)
        return self.quick("promote", "staging", "prod")

    def promote_another(self) -> str:
        """Another good release comes to prod; its id."""
        said = self.promote()
        assert said.code == 0, said
        return said.answer["release"]

    def at_rest(self) -> None:
        """Waits until nobody changes prod, and nobody is about to."""
        wait_for(self._is_at_rest, 45, "prod is at rest")

    def _is_at_rest(self) -> bool:
        settling = self.record.get("settling")
        over = settling is not None and datetime.fromisoformat(settling["until"]) <= datetime.now(UTC)
        return not over and not self.open_operations() and "active_operation" not in self.ring("prod")

    def open_operations(self) -> list[str]:
        journals = [json.loads(path.read_bytes()) for path in self.state_dir.glob("operations/op-*/journal.json")]
        return [op["id"] for op in journals if op["phase"] not in _FINAL]

    # -- slots

    @property
    def record(self) -> dict[str, Any]:
        """What rings-state.json says of prod."""
        return json.loads(self.recorded())["rings"]["prod"]

    @property
    def slot(self) -> Slot:
        return Slot(self.record["slot"])

    def project(self, slot: Slot) -> str:
        """The key in `projects` of the slot."""
        return "prod" if slot is Slot.BLUE else "prod-green"

    def statuses(self, slot: Slot) -> set[str]:
        return {container.status for container in self.containers(self.project(slot))}

    @cached_property
    def _edge(self) -> HaproxyEdge:
        return HaproxyEdge(self.manager.settings, self.state_dir, DockerEngine())

    def routes(self) -> dict[str, Route]:
        """Where the edge sends requests, by its running map."""
        return dict(anyio.run(self._edge.routes))

    def routes_by_file(self) -> dict[str, Route]:
        return dict(map_read((self.state_dir / "edge/slots.map").read_text()))

    def edge_container(self) -> Container:
        return self.container("shared", "edge")

    def kill_edge(self) -> None:
        """`kill -9` of the process itself, as the kernel does it to one that takes too much memory."""
        pid = self.edge_container().attrs["State"]["Pid"]
        if pid:  # it may be dead already
            os.kill(pid, signal.SIGKILL)

    def kill_workers(self) -> int:
        """Kills all workers of this installation; how many there were."""
        workers = self.workers()
        for process in workers:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return len(workers)
