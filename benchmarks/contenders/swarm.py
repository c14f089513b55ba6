"""Docker Swarm on an engine of its own: `docker swarm init` would change the machine's.

Its services find each other by DNS round robin and an HAProxy stands before them, because Swarm's own mesh needs IPVS,
which not every kernel has. Update order `start-first`, failure action `rollback`, all else as Swarm has it by default.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import yaml

from benchmarks.contenders.by_hand import proxy_config
from benchmarks.measure import run
from benchmarks.users import until_good
from benchmarks.worlds import BenchWorld, PrivateEngine, local_images, tag_of, wait_for

_FRONTS = ("genesis", "veil", "node")
_UPDATE = {"parallelism": 1, "order": "start-first", "failure_action": "rollback"}


def possible() -> bool:
    """Whether this machine can have another engine beside its own, on a network of its own."""
    needed = ("dockerd", "containerd", "unshare", "nsenter", "ip")
    return os.geteuid() == 0 and all(shutil.which(name) for name in needed)


class Swarm:
    """A stack of the same images, healthchecks and limits. The engine starts with the first story."""

    name = "Docker Swarm, start-first"
    attended = False  # its own monitor is part of the update: with that, an update ends

    def __init__(self, world: BenchWorld, ends: ExitStack) -> None:
        self._world = world
        self._ends = ends
        self._engine: PrivateEngine | None = None
        self._loaded: set[str] = set()
        self._folder = world.root / "swarm"
        self._folder.mkdir()
        self._stack = self._next = ""

    @property
    def where(self) -> tuple[str, ...]:
        assert self._engine
        return self._engine.where

    def front(self) -> tuple[str, ...]:
        ports = self._world.ports()
        return tuple(f"http://127.0.0.1:{ports[name]}/" for name in _FRONTS)

    def start(self) -> None:
        if self._engine is None:
            self._engine = PrivateEngine()
            self._ends.callback(self._engine.stop)
            self._engine.start()
            run([*self.where, "ip", "link", "set", "lo", "up"])
            self._docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        self._stack = f"stack-{self._world.next_name()}"
        self.prepare("ok")
        self.promote()
        assert until_good(self.where, self.front(), "", 60, 1), "the stack did not come up"

    def prepare(self, fault: str) -> None:
        if fault != "ok":
            self._world.stage(fault)
        self._load(fault)
        self._next = self._world.next_name()
        for service in self._world.ports():
            repository = f"{self._world.app}-{service}"
            self._docker("tag", f"{repository}:{tag_of(fault)}", f"{repository}:{self._next}")

    def promote(self) -> str:
        file = self._folder / "stack.json"
        file.write_text(json.dumps(self._document(self._next)))
        deploy = ("stack", "deploy", "--detach=false", "--resolve-image", "never")
        # an update that was rolled back ends with another code: that is an answer too
        subprocess.run(self._argv(*deploy, "--compose-file", str(file), self._stack), check=False, capture_output=True)
        return self._next

    def rollback(self) -> None:
        with ThreadPoolExecutor(4) as several:
            for service in self._world.ports():
                several.submit(self._docker, "service", "rollback", "--detach=false", f"{self._stack}_{service}")

    def stop(self) -> None:
        self._docker("stack", "rm", self._stack)
        wait_for(lambda: not self._docker("ps", "--all", "--quiet"), 90, "the stack's containers are gone")

    def _document(self, release: str) -> dict[str, Any]:
        """What of prod's Compose file a stack takes."""
        shipped = yaml.safe_load((self._world.root / "compose/docker-compose.ring-prod.yml").read_text())
        taken = ("healthcheck", "read_only", "cap_drop", "stop_grace_period")
        services: dict[str, Any] = {}
        for name, service in shipped["services"].items():
            services[name] = {
                **{key: service[key] for key in taken if key in service},
                "image": f"{self._world.app}-{name}:{release}",
                "environment": {"AITHER_RING": "prod", "AITHER_RELEASE": release},
                "networks": ["ring"],
                "deploy": {
                    "endpoint_mode": "dnsrr",
                    "update_config": _UPDATE,
                    "rollback_config": {"order": "start-first"},
                    "resources": {"limits": {"memory": "128M"}},
                },
            }
        inside = {name: self._world.ports()[name] for name in _FRONTS}
        config = self._folder / "haproxy.cfg"
        config.write_text(proxy_config(inside))
        services["front"] = {
            "image": _proxy_image(),
            "command": ["haproxy", "-db", "-f", "/etc/front.cfg"],
            "configs": [{"source": "front", "target": "/etc/front.cfg"}],
            "networks": ["ring"],
            "deploy": {"endpoint_mode": "dnsrr"},
            "ports": [{"target": port, "published": port, "mode": "host"} for port in inside.values()],
        }
        return {
            "version": "3.9",
            "services": services,
            "networks": {"ring": {}},
            "configs": {"front": {"file": str(config)}},
        }

    def _load(self, fault: str) -> None:
        """Brings the images with `fault` over from the machine's engine, once."""
        if fault in self._loaded:
            return
        images = [f"{self._world.app}-{service}:{tag_of(fault)}" for service in self._world.ports()]
        with subprocess.Popen(["docker", "save", *images, _proxy_image()], stdout=subprocess.PIPE) as saved:
            subprocess.run(self._argv("load"), stdin=saved.stdout, stdout=subprocess.DEVNULL, check=True)
        self._loaded.add(fault)

    def _docker(self, *words: str) -> str:
        return run(self._argv(*words))

    def _argv(self, *words: str) -> list[str]:
        assert self._engine
        return ["docker", "--host", self._engine.url, *words]


def _proxy_image() -> str:
    return local_images().get("HAPROXY_IMAGE", "haproxy:3.0-alpine")
