"""Compose by hand, as people do it: in place, and down and up. The file is prod's own, with a tag in it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import run
from benchmarks.users import until_good
from benchmarks.worlds import BenchWorld, free_port, local_images, tag_of

#: The monitor's rule of the article: every so often ...
_POLL_S = 15.0
#: ... more than half of the critical services unhealthy, for longer than this: back.
_UNHEALTHY_S = 90.0
_CRITICAL = ("genesis", "veil", "node", "secrets")
_GOOD = "ok"


class InPlace:
    """`docker compose up -d` with new tags: Compose replaces container after container. Nobody looks after it."""

    name = "docker compose up -d"
    attended = False
    where = ()

    def __init__(self, world: BenchWorld) -> None:
        self.world = world
        self.ports = {service: free_port() for service in ("genesis", "veil", "node")}
        self.folder = world.root / f"hand-{type(self).__name__}"
        self.folder.mkdir()
        self._env = self.folder / ".env"
        self._file = self.folder / "compose.json"
        self._file.write_text(json.dumps(self.document()))
        self._before = self._next = ""

    # -- the promises of a contender

    def front(self) -> tuple[str, ...]:
        return tuple(f"http://127.0.0.1:{port}/" for port in self.ports.values())

    def start(self) -> None:
        self.prepare(_GOOD)
        self.choose(self._next)
        self.compose("up", "--detach", "--wait")

    def prepare(self, fault: str) -> None:
        if fault != _GOOD:
            self.world.stage(fault)
        self._before, self._next = self._next, self.world.next_name()
        for service in self.world.ports():
            repository = f"{self.world.app}-{service}"
            self.world.engine.images.get(f"{repository}:{tag_of(fault)}").tag(repository, self._next)

    def promote(self) -> str:
        self.choose(self._next)
        self.bring()
        return self._next

    def rollback(self) -> None:
        self.choose(self._before)
        self.bring()

    def stop(self) -> None:
        self.compose("down")

    # -- how it does that

    def bring(self) -> None:
        """What is chosen comes to run."""
        self.compose("up", "--detach")

    def choose(self, release: str) -> None:
        lines = (self.world.root / "compose/.env.prod").read_text().splitlines()
        lines += [f"TAG={release}", f"AITHER_RELEASE={release}"]
        self._env.write_text("\n".join(lines) + "\n")

    @property
    def files(self) -> list[str]:
        return ["--file", str(self._file), "--env-file", str(self._env)]

    @property
    def project(self) -> str:
        return self.world.projects["hand"]

    def compose(self, *words: str) -> str:
        return run(["docker", "compose", "--project-name", self.project, *self.files, *words])

    def document(self) -> dict[str, Any]:
        """prod's Compose file with a variable tag, ports of its own, and a ring network named by its project."""
        document = yaml.safe_load((self.world.root / "compose/docker-compose.ring-prod.yml").read_text())
        document = {key: value for key, value in document.items() if not key.startswith("x-") and key != "name"}
        document["networks"]["ring"] = {}
        for name, service in document["services"].items():
            service["image"] = f"{self.world.app}-{name}:${{TAG:?}}"
            if name in self.ports:
                inside = self.world.ports()[name]
                service["ports"] = [f"127.0.0.1:{self.ports[name]}:{inside}"]
        return document


class DownUp(InPlace):
    """The article's way: down, up with the other tags, and its monitor's rule over it."""

    name = "compose down, then up (the article)"
    attended = True

    def start(self) -> None:
        super().start()
        self._over = threading.Event()
        self._good = self._next
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def stop(self) -> None:
        self._over.set()
        self._watcher.join()
        super().stop()

    def bring(self) -> None:
        self.compose("down")
        self.compose("up", "--detach")

    def _watch(self) -> None:
        since: float | None = None
        while not self._over.wait(_POLL_S):
            now = time.monotonic()
            if not self._mostly_unhealthy():
                since = None
            elif since is None:
                since = now
            elif now - since > _UNHEALTHY_S:
                self.rollback()
                since = None

    def _mostly_unhealthy(self) -> bool:
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        states = {one["Service"]: one["Health"] for one in map(json.loads, lines)}
        return sum(states.get(name) == "unhealthy" for name in _CRITICAL) > len(_CRITICAL) / 2


class BehindProxy(InPlace):
    """docker-rollout, a service at a time, behind an HAProxy that follows Docker's DNS.

    Its script scales a service to two, waits for the new container's healthcheck, and removes the old one.
    """

    name = "docker-rollout"

    _SCRIPT = Path(__file__).parents[1] / "vendor/docker-rollout/docker-rollout"

    def document(self) -> dict[str, Any]:
        document = super().document()
        inside = self.world.ports()
        for name in self.ports:
            del document["services"][name]["ports"]
        (self.folder / "haproxy.cfg").write_text(proxy_config({name: inside[name] for name in self.ports}))
        document["services"]["front"] = {
            "image": "${HAPROXY_IMAGE:-haproxy:3.0-alpine}",
            "command": ["haproxy", "-db", "-f", "/etc/front.cfg"],
            "volumes": [f"{self.folder}/haproxy.cfg:/etc/front.cfg:ro"],
            "networks": {"ring": {}},
            "ports": [f"127.0.0.1:{port}:{inside[name]}" for name, port in self.ports.items()],
        }
        return document

    def choose(self, release: str) -> None:
        super().choose(release)
        with (self.folder / ".env").open("a") as env:
            env.writelines(f"{name}={image}\n" for name, image in local_images().items())

    def start(self) -> None:
        super().start()
        assert until_good(self.where, self.front(), "", 30, 0), "the proxy found no service"

    def bring(self) -> None:
        for service in self.world.ports():
            argv = ["sh", str(self._SCRIPT), "rollout", "--project-name", self.project, *self.files, service]
            try:
                run(argv)
            except RuntimeError:
                return  # it went back with this service by itself; the script ends there


def proxy_config(services: dict[str, int]) -> str:
    """An HAProxy that asks Docker's DNS twice a second, checks /health, and tries a lost connection elsewhere."""
    lines = [
        "global",
        "  maxconn 500",
        "resolvers docker",
        "  nameserver dns 127.0.0.11:53",
        "  resolve_retries 3",
        "  timeout resolve 500ms",
        "  timeout retry 500ms",
        "  hold valid 500ms",
        "defaults",
        "  mode http",
        "  timeout connect 1s",
        "  timeout client 30s",
        "  timeout server 30s",
        "  retries 3",
        "  option redispatch 1",
        "  option httpchk GET /health",
    ]
    for name, port in services.items():
        lines += [
            f"frontend {name}_front",
            f"  bind :{port}",
            f"  default_backend {name}",
            f"backend {name}",
            f"  server-template {name} 3 {name}:{port} check inter 500ms resolvers docker init-addr none",
        ]
    return "\n".join(lines) + "\n"
