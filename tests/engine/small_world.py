"""Three services of the sample app with quick limits and no backbone: enough for everything but the main job."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import yaml
from worlds import LABEL_TEST, WORKER, Said, World, copied_sample, free_port, local_images, runtime_ring, wait_for

PORTS = {"genesis": 8001, "veil": 3000, "node": 8080}


def _compose(world: World, ring: str) -> dict[str, Any]:
    base = local_images().get("SAMPLE_BASE_IMAGE", "python:3.12-slim")
    services: dict[str, Any] = {}
    for name in PORTS:
        services[name] = {
            "image": f"{world.app}-{name}:{ring}-latest",
            "environment": {"AITHER_RING": ring, "SETTING": "${SETTING:-}"},
            "restart": "unless-stopped",
            "stop_grace_period": "1s",
        }
        if ring == "dev":
            args = {"BASE_IMAGE": base, "SERVICE": name}
            labels = {LABEL_TEST: world.token}
            services[name]["build"] = {"context": "./sample", "args": args, "labels": labels}
    services["genesis"]["ports"] = ["127.0.0.1:${GENESIS_PORT:?}:8001"]
    return {"services": services}


def _rules(world: World) -> dict[str, Any]:
    return {
        "version": 1,
        "app": world.app,
        "source": {"paths": ["compose/sample"]},
        "services": {
            name: {"critical": name != "node", "probe": {"http": "/health", "port": port}}
            for name, port in PORTS.items()
        },
        "rings": {
            "dev": {**runtime_ring(world, "dev"), "build": True, "on_unhealthy": "keep"},
            "staging": {"kind": "gate", "preview": {"project": world.projects["preview"]}},
            "prod": runtime_ring(world, "prod"),
        },
        "paths": [
            {"source": "dev", "target": "staging", "gates": [{"gate": "health_check"}, {"gate": "docker_build"}]},
            {"source": "staging", "target": "prod", "gates": []},
        ],
        "limits": {
            "healthy": "8s", "healthy_window": "1s", "poll": "200ms", "engine": "10s", "gate": "30s",
        },
    }  # fmt: skip


class SmallWorld(World):
    """Its prod takes every change of `SETTING` as another release, so that a promotion needs no new build."""

    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        rings = ("dev", "prod", "canary", "preview")
        super().__init__(engine, root, token, {ring: f"small{token}-{ring}" for ring in rings})
        copied_sample(root)
        for ring in ("dev", "prod", "canary"):
            self.add_ring_files(ring)
        self.config.write_text(yaml.safe_dump(_rules(self), sort_keys=False))

    def add_ring_files(self, ring: str) -> None:
        (self.root / f"compose/{ring}.yml").write_text(yaml.safe_dump(_compose(self, ring), sort_keys=False))
        (self.root / f"compose/.env.{ring}").write_text(f"GENESIS_PORT={free_port()}\n")

    def with_canary(self, rules: dict[str, Any]) -> None:
        """One more ring behind staging, in which nothing ever ran."""
        rules["rings"]["canary"] = runtime_ring(self, "canary")
        rules["paths"].append({"source": "staging", "target": "canary"})

    def settle(self) -> None:
        """Brings the world to rest, whatever a test before left: prod runs a good release, and staging holds it."""
        if any(op["phase"] not in _FINAL for op in self._operations()):
            self.arrange("recover")
            wait_for(lambda: all(op["phase"] in _FINAL for op in self._operations()), 60, "operations end")
        if self.ring("prod")["state"] == "stuck":
            self.arrange("unlock", "prod", "--reason", "a test before left it so")
        if self.ring("dev")["state"] != "running" or not self.healthy("dev"):
            assert self.release("ok").code == 0
        dev, staging, prod = (self.ring(name) for name in ("dev", "staging", "prod"))
        if staging["state"] != "candidate" or staging["release"] != dev["release"] or "override" in staging:
            self.arrange("promote", "dev", "staging")
        if prod["state"] != "running" or "override" in prod or not self.healthy("prod"):
            self.promote_another()

    def new_setting(self) -> None:
        """Makes what staging holds another release for prod: other configuration, same images."""
        self.set(".env.prod", SETTING=secrets.token_hex(4))

    def promote_another(self) -> Said:
        """Another good release comes to prod."""
        self.new_setting()
        return self.arrange("promote", "staging", "prod")

    def _operations(self) -> Iterator[dict[str, Any]]:
        for ring in ("dev", "staging", "prod", "canary"):
            if operation := self.latest_operation(ring):
                yield operation

    def operation_in(self, ring: str, phase: str, limit: float = 20) -> dict[str, Any]:
        """The ring's latest operation as soon as it is in `phase`."""

        def look() -> dict[str, Any] | None:
            operation = self.latest_operation(ring)
            return operation if operation and operation["phase"] == phase else None

        return wait_for(look, limit, f"{ring} is {phase}")

    def half_way(self, ring: str) -> bool:
        """Whether a container still has the name that Compose gives it until the one it replaces is gone."""
        return any(not str(c.name).startswith(self.projects[ring]) for c in self.containers(ring))

    def kill_worker(self, operation: str) -> None:
        def only() -> int | None:
            # for a moment, a child that it starts looks like it
            found = self.processes_with(WORKER, operation)
            return found[0] if len(found) == 1 else None

        worker = wait_for(only, 5, "its one worker")
        os.kill(worker, signal.SIGKILL)


_FINAL = {"done", "blocked", "rolled_back", "failed", "cancelled", "stuck"}
