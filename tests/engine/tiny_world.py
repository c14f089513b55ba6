"""One service of the sample app, no gates, no backbone, no grace on stopping: a promotion takes a second or two."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import docker
import yaml
from worlds import LABEL_TEST, World, copied_sample, free_port, local_images, runtime_ring


def _compose(world: World, ring: str) -> dict[str, Any]:
    base = local_images().get("SAMPLE_BASE_IMAGE", "python:3.12-slim")
    service: dict[str, Any] = {
        "image": f"{world.app}-genesis:{ring}-latest",
        "environment": {"AITHER_RING": ring, "SETTING": "${SETTING:-}"},
        "restart": "unless-stopped",
        "stop_grace_period": "0s",
    }
    if ring == "prod":
        service["ports"] = ["127.0.0.1:${GENESIS_PORT:?}:8001"]
    if ring == "dev":
        args = {"BASE_IMAGE": base, "SERVICE": "genesis"}
        service["build"] = {"context": "./sample", "args": args, "labels": {LABEL_TEST: world.token}}
    return {"services": {"genesis": service}}


def _rules(world: World) -> dict[str, Any]:
    return {
        "version": 1,
        "app": world.app,
        "source": {"paths": ["compose/sample"]},
        "services": {"genesis": {"critical": True, "probe": {"http": "/health", "port": 8001}}},
        "rings": {
            "dev": {**runtime_ring(world, "dev"), "build": True},
            "staging": {"kind": "gate"},
            "prod": runtime_ring(world, "prod"),
        },
        "paths": [{"source": "dev", "target": "staging"}, {"source": "staging", "target": "prod"}],
        "limits": {"healthy": "5s", "healthy_window": "400ms", "poll": "100ms", "engine": "10s"},
    }


class TinyWorld(World):
    """Its prod takes every change of `SETTING` as another release, so that a promotion needs no new build."""

    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        super().__init__(engine, root, token, {ring: f"tiny{token}-{ring}" for ring in ("dev", "prod")})
        copied_sample(root)
        for ring in self.projects:
            (root / f"compose/{ring}.yml").write_text(yaml.safe_dump(_compose(self, ring), sort_keys=False))
            (root / f"compose/.env.{ring}").write_text(f"GENESIS_PORT={free_port()}\n")
        self.config.write_text(yaml.safe_dump(_rules(self), sort_keys=False))

    def new_setting(self) -> None:
        """Makes what staging holds another release for prod: other configuration, same images."""
        self.set(".env.prod", SETTING=secrets.token_hex(4))
