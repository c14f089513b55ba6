"""`ring_health` against `docker compose ps`, for rings of 11, 65 and 202 services."""

from __future__ import annotations

import functools
import json
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import yaml

from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.wiring import build_world
from benchmarks.bench import Bench
from benchmarks.measure import in_turns, run
from benchmarks.worlds import local_images

SIZES = (11, 65, 202)
_PORT = 8000
#: As small as a service can be that answers over HTTP, from an image that bootstrap made.
_CONFIG = f"""
global
  maxconn 20
  nbthread 1
defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend all
  bind :{_PORT}
  http-request return status 200
"""
#: Compose starts that many at a time: a hundred at once is too much for a small machine.
_AT_A_TIME = 16


def health(bench: Bench) -> dict[str, Any]:
    """In one process, as the server and the monitor ask; the HTTP probes are part of it."""
    pairs: list[dict[str, Any]] = []
    engine: list[dict[str, Any]] = []
    for size in SIZES:
        bench.say(f"health of {size} services")
        with _ring(size) as (config, project):
            world = build_world(config)
            manager = RingManager(world)
            ps = ["docker", "compose", "--project-name", project, "ps", "--all", "--format", "json"]
            assert len(run(ps).splitlines()) == size
            with anyio.from_thread.start_blocking_portal() as portal:
                answer = portal.call(manager.health, "prod")
                assert (answer.state, answer.healthy) == ("healthy", size), answer.summary
                times = in_turns(
                    max(2, bench.repetitions),
                    {
                        "ours": functools.partial(portal.call, manager.health, "prod"),
                        "engine": functools.partial(portal.call, world.engine.containers, project),
                        "ps": functools.partial(run, ps),
                    },
                    warm=1,
                )
        pairs.append({"name": f"{size} services", "ours": times["ours"], "against": times["ps"]})
        engine.append({"name": f"{size} services, engine part", "ours": times["engine"], "against": times["ps"]})
    return {
        "kind": "ratios",
        "title": "`ring_health`, HTTP probes included, and its engine part alone",
        "against": "`docker compose ps --format json`",
        "pairs": [*pairs, *engine],
        "growth": list(SIZES),
    }


@contextmanager
def _ring(size: int) -> Iterator[tuple[Path, str]]:
    """A ring of that many services that runs, with its rings.yaml; nothing is recorded of it."""
    project = f"bench{secrets.token_hex(4)}"
    names = [f"s{number:03}" for number in range(size)]
    with tempfile.TemporaryDirectory(prefix="rings-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the services run as somebody else
        (folder / "service.cfg").write_text(_CONFIG)
        service = {
            "image": local_images().get("HAPROXY_IMAGE", "haproxy:3.0-alpine"),
            "command": ["haproxy", "-db", "-f", "/etc/service.cfg"],
            "volumes": [f"{folder}/service.cfg:/etc/service.cfg:ro"],
            "stop_signal": "SIGKILL",
            "network_mode": "bridge",
            "logging": {"driver": "none"},
        }
        compose = folder / "compose.json"
        compose.write_text(json.dumps({"services": dict.fromkeys(names, service)}))
        probed = {"critical": True, "probe": {"http": "/", "port": _PORT}}
        rules = {
            "version": 1,
            "app": project,
            "services": {one: dict(probed) for one in names},
            "rings": {"prod": {"kind": "runtime", "project": project, "compose": [compose.name]}},
        }
        (folder / "rings.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
        base = ["docker", "compose", "--parallel", str(_AT_A_TIME), "--project-name", project, "--file", str(compose)]
        try:
            run([*base, "up", "--detach", "--wait"])
            yield folder / "rings.yaml", project
        finally:
            run([*base, "down", "--timeout", "0"])
