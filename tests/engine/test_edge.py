"""The edge as it is shipped, in front of a ring `shop` with one small server in each slot: no request is lost."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import anyio
import docker
import pytest
from docker.models.containers import Container
from docker.types import EndpointConfig
from worlds import LABEL_TEST, REPO, World, free_port, local_images, wait_for

from aither_rings_mcp.adapters.edge import LABEL_CHECK, HaproxyEdge
from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Route, Slot

pytestmark = pytest.mark.engine
PYTHON = local_images().get("SAMPLE_BASE_IMAGE", "python:3.12-slim")
BLUE, GREEN = Route(slot=Slot.BLUE), Route(slot=Slot.GREEN)
PUBLIC = "shop.example.com"
_SERVER = """
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/slow"): time.sleep(1)
        if self.path.startswith("/socket"):
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            self.send_header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            self.end_headers()
            for line in self.rfile:
                self.wfile.write(os.environ["NAME"].encode() + b" " + line)
            return
        said = os.environ["NAME"].encode()
        self.send_response(500 if self.path.startswith("/broken") else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *args): pass
class Server(ThreadingHTTPServer): request_queue_size = 256
Server(("", 80), Handler).serve_forever()
"""


class EdgeWorld(World):
    """The shipped edge, with this ring's two slots on prod's shared networks."""

    def __init__(self, engine: docker.DockerClient, root: Path) -> None:
        token = secrets.token_hex(4)
        self.namespace = f"edge{token}"
        names = {name: f"{self.namespace}-{name}" for name in ("shared", "shop", "shop-green")}
        super().__init__(engine, root, token, names)
        self.web, self.api = free_port(), free_port()
        self.subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}"

    def settings(self, *hostnames: str, **fronts: int) -> Settings:
        ring = {
            "kind": "runtime",
            "project": self.projects["shop"],
            "compose": ["x.yml"],
            "fronts": fronts or {"web": 9001},
            "hostnames": {"web": [PUBLIC, *hostnames]},
            "green": {"project": self.projects["shop-green"]},
        }
        return Settings.model_validate(
            {
                "app": self.app,
                "backbone": {"project": self.projects["shared"], "compose": ["x.yml"]},
                "edge": {"api_on": "web"},
                "services": {name: {"probe": {"port": 80}} for name in ("web", "api")},
                "rings": {"shop": ring},
            }
        )

    def edge(self, **fronts: int) -> HaproxyEdge:
        return HaproxyEdge(self.settings(**fronts), self.state_dir, DockerEngine())

    def set_up(self) -> None:
        labels = {"com.docker.compose.project": self.projects["shared"], "com.docker.compose.network": "prod-shared"}
        pool = docker.types.IPAMPool(subnet=f"{self.subnet}.0/24")
        ipam = docker.types.IPAMConfig(pool_configs=[pool])
        self.engine.networks.create(self.network("prod-shared"), driver="bridge", labels=labels, ipam=ipam)
        said: list[str] = []
        anyio.run(self.edge().prepare, {}, said.append)
        argv = ["docker", "compose", "-p", self.projects["shared"], "--env-file", str(REPO / "compose/.env.images")]
        argv += ["-f", str(REPO / "compose/docker-compose.ring-shared.yml"), "up", "-d", "edge"]
        env = {"AITHER_NS": self.namespace, "RINGS_EDGE_DIR": str(self.state_dir / "edge")}
        env |= {"EDGE_UID": str(os.getuid()), "EDGE_GID": str(os.getgid())}
        env |= {f"DEV_{name}_PORT": str(free_port()) for name in ("GENESIS", "VEIL", "NODE")}
        env |= {"PROD_GENESIS_PORT": str(self.web), "PROD_NODE_PORT": str(self.api)}
        env |= {"PROD_VEIL_PORT": str(free_port())}
        done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        for slot in Slot:
            self.serve(slot, "web", None)
        wait_for(lambda: not any(self.unreached(slot) for slot in Slot), 15, "the edge reaches both slots")

    def open(self, slot: Slot) -> int:
        return anyio.run(self.edge().open, "shop", slot)

    def network(self, name: str) -> str:
        return f"{self.namespace}-{name}-net"

    def serve(self, slot: Slot, service: str, address: str | None, name: str = "") -> Container:
        """A container as Compose would make it; `name` for one that is no service's."""
        project = self.projects["shop" if slot is Slot.BLUE else "shop-green"]
        network = self.network("prod-shared" if slot is Slot.BLUE else "prod-green-shared")
        at = {network: EndpointConfig(self.engine.api._version, ipv4_address=address)} if address else None
        labels = {"com.docker.compose.project": project, "com.docker.compose.service": name or service}
        labels |= {"com.docker.compose.oneoff": "False", LABEL_TEST: self.token}
        return self.engine.containers.run(
            PYTHON,
            ["python3", "-c", _SERVER],
            name=name or f"{project}-{service}-1",
            environment={"NAME": name or slot.value},
            network=network,
            networking_config=at,
            labels=labels,
            detach=True,
            init=True,
        )

    def unreached(self, slot: Slot) -> tuple[str, ...]:
        return anyio.run(self.edge().unreached, "shop", slot)

    def route(self, route: Route) -> None:
        anyio.run(self.edge().route, "shop", route)

    def asked(self, path: str = "/", port: int | None = None, **headers: str) -> tuple[int, str]:
        """Status and body of one request to the ring's front."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.web, timeout=10)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def world(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeWorld]:
    # a path that is too long for a unix socket
    world = EdgeWorld(engine, tmp_path_factory.mktemp("edge") / ("long" * 25))
    world.root.mkdir()
    try:
        world.set_up()
        yield world
    finally:
        world.remove()


@pytest.fixture(autouse=True)
def on_blue(world: EdgeWorld) -> None:
    world.route(BLUE)


class Load:
    """What four clients got: two keep their connections, as a tunnel does, and two make a new one each time."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []

    @property
    def total(self) -> int:
        return self.answers.total() + len(self.failures)


@contextmanager
def load(port: int) -> Iterator[Load]:
    seen, end = Load(), threading.Event()

    def client(keeps: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not end.is_set():
            try:
                connection.request("GET", "/", headers={} if keeps else {"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                seen.failures.append(repr(error))
                connection.close()
                continue
            if answer.status == 200:
                seen.answers[body] += 1
            else:
                seen.failures.append(f"{answer.status} {body}")
        connection.close()

    clients = [threading.Thread(target=client, args=(number % 2 == 0,)) for number in range(4)]
    for one in clients:
        one.start()
    try:
        yield seen
    finally:
        end.set()
        for one in clients:
            one.join()


def more(seen: Load, count: int) -> None:
    """Waits for so many more answers."""
    goal = seen.total + count
    wait_for(lambda: seen.total >= goal, 30, f"{count} more requests")


def test_no_request_is_lost_while_a_ring_switches(world: EdgeWorld) -> None:
    times: list[float] = []
    with load(world.web) as seen:
        for route in (GREEN, BLUE) * 10:
            more(seen, 100)
            began = time.perf_counter()
            world.route(route)
            times.append((time.perf_counter() - began) * 1000)
    print(
        f"\n{len(times)} switches under load: median {statistics.median(times):.1f} ms, {min(times):.1f} to "
        f"{max(times):.1f} ms, file included; {len(seen.failures)} of {seen.total} requests failed"
    )
    assert (seen.failures, seen.total > 2000, {*seen.answers}) == ([], True, {"blue", "green"})


def test_what_comes_after_a_switch_is_answered_by_the_new_slot(world: EdgeWorld) -> None:
    for route in (GREEN, BLUE) * 5:
        world.route(route)
        assert {world.asked() for _ in range(10)} == {(200, route.slot.value)}


def test_an_open_request_is_answered_by_the_slot_that_got_it(world: EdgeWorld) -> None:
    got: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: got.append(world.asked("/slow")))
    slow.start()
    wait_for(lambda: world.open(Slot.BLUE) == 1, 5, "it is counted as open")
    world.route(GREEN)
    assert world.asked() == (200, "green")
    slow.join()
    assert got == [(200, "blue")]


def test_a_websocket_goes_on_with_its_slot_through_a_switch_and_a_reload(world: EdgeWorld) -> None:
    said: list[str] = []
    with socket.create_connection(("127.0.0.1", world.web), 10) as connection, connection.makefile("rwb", 0) as tunnel:
        upgrade = "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        connection.sendall(f"{upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        head = list(iter(tunnel.readline, b"\r\n"))
        assert b"101" in head[0]

        def echoed() -> bytes:
            connection.sendall(b"hello\n")
            return tunnel.readline()

        assert echoed() == b"blue hello\n"
        world.route(GREEN)
        assert world.asked() == (200, "green")
        assert echoed() == b"blue hello\n"
        assert world.open(Slot.BLUE) == 1
        # For a moment after a reload nobody may be there to ask what was open before: not after each one.
        for count in range(8):
            other = HaproxyEdge(world.settings(f"other{count}.example.com"), world.state_dir, DockerEngine())
            anyio.run(other.prepare, {}, said.append)
            assert world.open(Slot.BLUE) == 1, "it is waited for, reload or not"
        assert echoed() == b"blue hello\n"
        assert world.asked() == (200, "green")
    anyio.run(world.edge().prepare, {}, said.append)
    wait_for(lambda: world.open(Slot.BLUE) == 0, 10, "it has ended")
    assert len(said) == 9


def test_a_configuration_that_haproxy_refuses_changes_nothing(world: EdgeWorld) -> None:
    before = (world.state_dir / "edge/haproxy.cfg").read_text()
    odd = HaproxyEdge(world.settings("odd'name"), world.state_dir, DockerEngine())
    with pytest.raises(ConfigInvalid, match="HAProxy refuses"):
        anyio.run(odd.prepare, {}, lambda line: None)
    assert (world.state_dir / "edge/haproxy.cfg").read_text() == before
    assert world.asked() == (200, "blue")


def test_a_stopped_edge_is_not_given_what_haproxy_refuses(world: EdgeWorld) -> None:
    edge, file = world.container("shared", "edge"), world.state_dir / "edge/haproxy.cfg"
    before = file.read_text()
    edge.stop(timeout=1)
    odd = HaproxyEdge(world.settings("odd'name"), world.state_dir, DockerEngine())
    with pytest.raises(ConfigInvalid, match="HAProxy refuses"):
        anyio.run(odd.prepare, {}, lambda line: None)
    assert file.read_text() == before
    other = HaproxyEdge(world.settings("other.example.com"), world.state_dir, DockerEngine())
    anyio.run(other.prepare, {}, lambda line: None)
    assert "other.example.com" in file.read_text()
    anyio.run(world.edge().prepare, {}, lambda line: None)
    wait_for(lambda: not any(world.unreached(slot) for slot in Slot), 15, "both slots are reached again")
    assert not world.engine.containers.list(all=True, filters={"label": f"{LABEL_CHECK}={edge.name}"})


def test_a_stopped_edge_is_started_where_it_was(world: EdgeWorld) -> None:
    world.route(GREEN)
    world.container("shared", "edge").stop(timeout=1)
    anyio.run(world.edge().prepare, {}, lambda line: None)
    wait_for(lambda: world.asked() == (200, "green"), 15, "it answers")
    wait_for(lambda: not any(world.unreached(slot) for slot in Slot), 15, "both slots are reached again")


def test_a_killed_edge_goes_on_where_it_was(world: EdgeWorld) -> None:
    world.route(GREEN)
    pid = world.container("shared", "edge").attrs["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    # Until the last of its processes is gone, one that is dying may still answer.
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20, "it is gone")

    def answers() -> tuple[int, str] | None:
        with suppress(OSError, http.client.HTTPException):
            if (said := world.asked())[0] == 200:
                return said
        return None

    assert wait_for(answers, 20, "it answers again") == (200, "green")
    print(f"\nback after {time.monotonic() - began:.1f} s")
    assert anyio.run(world.edge().routes) == {"shop": GREEN}
    wait_for(lambda: not any(world.unreached(slot) for slot in Slot), 15, "both slots are reached again")


def test_a_killed_edge_may_be_switched_at_once(world: EdgeWorld) -> None:
    os.kill(world.container("shared", "edge").attrs["State"]["Pid"], signal.SIGKILL)
    world.route(GREEN)
    assert anyio.run(world.edge().routes) == {"shop": GREEN}
    wait_for(lambda: not any(world.unreached(slot) for slot in Slot), 15, "both slots are reached again")


def test_a_preview_chooses_the_slot_but_never_under_a_name_that_the_world_uses(world: EdgeWorld) -> None:
    assert world.asked(X_Ring_Slot="green") == (200, "green")
    assert world.asked() == (200, "blue")
    for name in (PUBLIC, PUBLIC.upper(), f"{PUBLIC}:443", f"{PUBLIC}."):
        assert world.asked(Host=name, X_Ring_Slot="green") == (200, "blue"), name
    assert world.asked(CF_Ray="8f2a", X_Ring_Slot="green") == (200, "blue")
    assert world.asked(X_Ring_Slot="red")[0] == 404


def test_a_canary_gets_its_share(world: EdgeWorld) -> None:
    world.route(Route(slot=Slot.BLUE, canary=5))
    assert anyio.run(world.edge().routes) == {"shop": Route(slot=Slot.BLUE, canary=5)}
    with load(world.web) as seen:
        more(seen, 3000)
    share = seen.answers["green"] / seen.total
    print(f"\ncanary of 5 %: {share:.2%} of {seen.total}")
    assert not seen.failures
    assert abs(share - 0.05) < 4 * (0.05 * 0.95 / seen.total) ** 0.5


def test_every_share_up_to_all_of_it(world: EdgeWorld) -> None:
    world.route(Route(slot=Slot.BLUE, canary=100))
    assert {world.asked() for _ in range(50)} == {(200, "green")}


def test_traffic_is_counted_by_slot_with_its_errors(world: EdgeWorld) -> None:
    before = anyio.run(world.edge().traffic, "shop")
    for _ in range(5):
        assert world.asked("/broken")[0] == 500
    world.asked(X_Ring_Slot="green")
    after = anyio.run(world.edge().traffic, "shop")
    assert after[Slot.BLUE].requests - before[Slot.BLUE].requests == 5
    assert after[Slot.BLUE].errors - before[Slot.BLUE].errors == 5
    assert after[Slot.GREEN].requests - before[Slot.GREEN].requests == 1
    assert after[Slot.GREEN].errors == before[Slot.GREEN].errors
    paces = [look[Slot.BLUE].paces["web"] for look in (before, after)]
    assert paces[1].answers - paces[0].answers == 5


def test_a_container_at_another_address_is_reached_and_nothing_goes_to_its_old_one(world: EdgeWorld) -> None:
    old = world.container("shop", "web")
    address = world.addresses("shop").pop()
    old.remove(force=True)
    assert world.unreached(Slot.BLUE) == ("web",)
    began = time.monotonic()
    world.serve(Slot.BLUE, "web", f"{world.subnet}.99")
    wait_for(lambda: not world.unreached(Slot.BLUE), 15, "the new address is known")
    print(f"\nreached at its new address after {time.monotonic() - began:.1f} s")
    squatter = world.serve(Slot.BLUE, "web", address, name=f"squatter-{world.token}")
    try:
        with load(world.web) as seen:
            more(seen, 300)
    finally:
        squatter.remove(force=True)
    assert ({*seen.answers}, seen.failures) == ({"blue"}, [])


def test_a_service_that_is_not_there_is_unreached_and_its_answer_is_counted_as_an_error(world: EdgeWorld) -> None:
    world.container("shop-green", "web").stop(timeout=1)
    assert world.unreached(Slot.GREEN) == ("web",)
    before = anyio.run(world.edge().traffic, "shop")[Slot.GREEN]
    status, body = world.asked(X_Ring_Slot="green")
    after = anyio.run(world.edge().traffic, "shop")[Slot.GREEN]
    assert (status, json.loads(body)["status"]) == (503, 503)
    assert (after.requests - before.requests, after.errors - before.errors) == (1, 1)
    world.container("shop-green", "web").start()
    wait_for(lambda: not world.unreached(Slot.GREEN), 15, "it is back")


def test_a_front_more_is_a_reload_that_loses_no_request(world: EdgeWorld) -> None:
    for slot in Slot:
        world.serve(slot, "api", None)
    more_fronts = world.edge(web=9001, api=9080)
    said: list[str] = []
    with load(world.web) as seen:
        more(seen, 300)
        began = time.monotonic()
        anyio.run(more_fronts.prepare, {}, said.append)
        took = time.monotonic() - began
        more(seen, 500)
        anyio.run(more_fronts.route, "shop", GREEN)
        more(seen, 100)
    print(f"\nreload in {took:.2f} s, {len(seen.failures)} of {seen.total} requests failed")
    assert (seen.failures, len(said)) == ([], 1)
    wait_for(lambda: world.asked(port=world.api) == (200, "green"), 15, "the new front switches with its ring")
    anyio.run(more_fronts.prepare, {}, said.append)
    assert len(said) == 1, "nothing changed, so nothing is reloaded"
    rolling = Route(slot=Slot.GREEN, services={"api": Slot.BLUE})
    anyio.run(more_fronts.route, "shop", rolling)
    assert anyio.run(more_fronts.routes) == {"shop": rolling}
    assert (world.asked()[1], world.asked(port=world.api)[1]) == ("green", "blue")
    anyio.run(more_fronts.route, "shop", BLUE)
    assert (world.asked()[1], world.asked(port=world.api)[1]) == ("blue", "blue")
    anyio.run(world.edge().prepare, {}, said.append)


def test_the_rings_api_is_the_controllers_and_nobody_else_gets_there(world: EdgeWorld) -> None:
    status, body = world.asked("/rings/shop")
    assert status == 503
    assert "ring-ctl serve" in json.loads(body)["detail"]
    with controller(world.state_dir / "edge/run"):
        assert world.asked("/rings/shop/rollback") == (200, "controller /rings/shop/rollback")
        assert world.asked("/rings") == (200, "controller /rings")
        assert world.asked("/rings/shop", Host=PUBLIC) == (200, "blue")
        assert world.asked("/ringside") == (200, "blue")


def test_no_ring_gets_to_a_front_through_its_own_network(world: EdgeWorld) -> None:
    ask = "import socket,sys; socket.create_connection((sys.argv[1], 9001), 2)"
    networks = world.container("shared", "edge").attrs["NetworkSettings"]["Networks"]
    inside = world.container("shop", "web")
    for network in networks.values():
        assert inside.exec_run(["python3", "-c", ask, network["IPAddress"]]).exit_code != 0, network


@contextmanager
def controller(folder: Path) -> Iterator[None]:
    """Somebody who listens where the controller will."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = f"controller {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def address_string(self) -> str:
            return "edge"

        def log_message(self, *_: Any) -> None:
            pass

    with _in(folder), ThreadingUnixStreamServer("controller.sock", Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            (folder / "controller.sock").unlink()


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """In the folder: the path of a socket has to be short."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
