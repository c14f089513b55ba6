"""The way to the engine that the monitor's container has: enough for every rollout, and nothing to look inside with."""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import docker
import pytest
from docker.models.containers import Container
from tiny_world import TinyWorld
from worlds import LABEL_TEST, REPO, local_images, wait_for

from aither_rings_mcp.adapters.capacity import HostCapacity
from aither_rings_mcp.adapters.edge import HaproxyEdge
from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.domain.errors import ConfigInvalid, EngineFailure
from aither_rings_mcp.domain.settings import Settings

pytestmark = pytest.mark.engine
HAPROXY = local_images().get("HAPROXY_IMAGE", "haproxy:3.0-alpine")
PYTHON = local_images().get("SAMPLE_BASE_IMAGE", "python:3.12-slim")


class _Socket(http.client.HTTPConnection):
    """HTTP over a unix socket, with paths as they are written here: every client tidies them up."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def asked(proxy: Path, method: str, path: str) -> int:
    """The status that a request gets."""
    connection = _Socket(proxy)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def tiny(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyWorld]:
    world = TinyWorld(engine, tmp_path_factory.mktemp("tiny"))
    try:
        yield world
    finally:
        world.remove()


@pytest.fixture(scope="module")
def proxy(engine: docker.DockerClient, tiny: TinyWorld) -> Iterator[Path]:
    """The socket of a proxy like the one in docker-compose.ring-shared.yml, in front of the real engine."""
    own = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with tempfile.TemporaryDirectory(prefix="control-", dir="/tmp") as folder:  # a socket's path has to be short
        Path(folder).chmod(0o755)  # as a volume is
        volumes = [f"{REPO}/compose/control-proxy.cfg:/etc/control-proxy.cfg:ro"]
        volumes += [f"{own}:/var/run/docker.sock", f"{folder}:/run/control"]
        container = engine.containers.run(
            HAPROXY,
            ["haproxy", "-db", "-f", "/etc/control-proxy.cfg"],
            detach=True,
            user="root",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            read_only=True,
            network_mode="none",
            volumes=volumes,
            labels={LABEL_TEST: tiny.token},
        )
        at = Path(folder) / "docker.sock"
        try:
            wait_for(lambda: _answers(at, container), 10, "the proxy answers")
            yield at
        finally:
            container.remove(force=True)


def _answers(at: Path, container: Container) -> bool:
    container.reload()
    assert container.status in {"created", "running"}, container.logs().decode()
    return at.exists() and asked(at, "GET", "/_ping") == 200


def test_a_whole_rollout_goes_through_the_proxy(proxy: Path, tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.arrange("deploy", "dev")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy}")
    tiny.arrange("promote", "dev", "staging")
    tiny.arrange("promote", "staging", "prod")
    tiny.new_setting()
    tiny.arrange("promote", "staging", "prod")
    tiny.workers_end()
    assert tiny.ring("prod")["rollback_ready"]
    tiny.arrange("rollback", "prod", "--reason", "to see whether that passes as well")
    tiny.workers_end()
    assert tiny.healthy("prod")


def test_so_does_what_the_monitor_and_the_pins_ask(proxy: Path, tiny: TinyWorld) -> None:
    image = engine_image(tiny)
    client = docker.APIClient(base_url=f"unix://{proxy}", version="auto")
    made = client.create_container(image, ["sleep", "60"], labels={LABEL_TEST: tiny.token})["Id"]
    try:
        client.put_archive(made, "/", b"\0" * 1024)
        client.start(made)
        client.pause(made)
        client.unpause(made)
        assert client.logs(made, tail=5) is not None
        assert client.stats(made, stream=False, one_shot=True)["memory_stats"]
        client.rename(made, f"renamed-{tiny.token}")
        name = f"{tiny.app}-through/the-proxy"
        client.tag(image, name, "v1")
        assert client.inspect_image(f"{name}:v1")["Id"] == client.inspect_image(image)["Id"]
        assert image in {tag for one in client.images(all=True) for tag in one["RepoTags"] or ()}
        client.remove_image(f"{name}:v1", noprune=True)
        now = int(time.time())
        events = list(client.events(since=now - 20, until=now + 1, filters={"container": made}, decode=True))
        assert {"create", "start", "pause"} <= {event["Action"] for event in events}
    finally:
        client.remove_container(made, force=True, v=True)
        client.close()


async def test_how_much_memory_a_slot_uses_passes_too(
    engine: docker.DockerClient, proxy: Path, tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = f"measured{tiny.token}"
    labels = {"com.docker.compose.project": project, LABEL_TEST: tiny.token}
    engine.containers.run(PYTHON, ["sleep", "60"], labels=labels, network_mode="none", init=True, detach=True)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy}")
    used = await HostCapacity(DockerEngine(), tmp_path).used(project)
    assert used is not None
    assert (len(used.sizes), used.unknown) == (1, 0)


async def test_a_changed_configuration_of_the_edge_is_checked_through_it_too(
    engine: docker.DockerClient, proxy: Path, tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = f"checked{tiny.token}"
    names = {"com.docker.compose.project": project, "com.docker.compose.service": "edge"}
    labels = {**names, "com.docker.compose.oneoff": "False", LABEL_TEST: tiny.token}
    (tmp_path / "edge").mkdir()
    user, volumes = f"{os.getuid()}:{os.getgid()}", [f"{tmp_path}/edge:/etc/edge"]
    engine.containers.create(HAPROXY, user=user, labels=labels, volumes=volumes, network_mode="none")
    shop = {"kind": "runtime", "project": "shop", "compose": ["x.yml"], "fronts": {"web": 9001}}
    document = {
        "app": "shop",
        "backbone": {"project": project, "compose": ["x.yml"]},
        "edge": {},
        "services": {"web": {"probe": {"port": 80}}},
        "rings": {"shop": {**shop, "hostnames": {"web": ["odd'name"]}}},
    }
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy}")
    edge = HaproxyEdge(Settings.model_validate(document), tmp_path, DockerEngine(), patience=0)
    with pytest.raises(ConfigInvalid, match=r"HAProxy refuses.*unmatched quote"):
        await edge.prepare({}, lambda line: None)
    assert not (tmp_path / "edge/haproxy.cfg").exists()
    document["rings"] = {"shop": shop}
    edge = HaproxyEdge(Settings.model_validate(document), tmp_path, DockerEngine(), patience=0)
    with pytest.raises(EngineFailure, match="does not answer"):  # it takes it over, and has no network to run in
        await edge.prepare({}, lambda line: None)
    assert "frontend shop-web" in (tmp_path / "edge/haproxy.cfg").read_text()


def test_what_image_names_have_may_be_encoded(proxy: Path, tiny: TinyWorld) -> None:
    image = engine_image(tiny)
    assert asked(proxy, "GET", f"/images/{image}/json") == 200
    assert asked(proxy, "GET", f"/images/{quote(image, safe='/')}/json") == 200
    nowhere = f"nowhere/x@sha256:{'0' * 64}"
    assert asked(proxy, "GET", f"/images/{quote(nowhere, safe='/:')}/json") == 404
    assert asked(proxy, "GET", f"/v1.41/images/{nowhere}/json") == 404


DENIED = [
    "GET /containers/{id}/archive?path=/etc/hostname", "HEAD /containers/{id}/archive?path=/",
    "GET /containers/{id}/top", "GET /containers/{id}/export", "POST /containers/{id}/exec",
    "POST /containers/{id}/attach", "GET /containers/{id}/attach/ws", "GET /containers/{id}/changes",
    "POST /containers/{id}/update", "POST /containers/{id}/archive?path=/", "POST /containers/prune",
    "POST /exec/{id}/start", "POST /commit?container={id}", "GET /containers/{id}/%65xport",
    "GET /containers/{id}%2Fexport", "GET /containers/{id}/archiv%65?path=/etc/hostname",
    "GET /v1.41/containers/{id}/%61rchive?path=/etc/hostname", "GET /containers/{id}/%2561rchive",
    "GET /containers/%00/json", "GET //containers/{id}/json", "GET /containers//{id}/export",
    "GET /containers/{id}/json/../export", "GET /containers/{id}/./export", "GET /images/x/json/%2e%2e/get",
    "GET /images/x/%2E%2E/json", "GET http://engine/containers/{id}/export", "GET /%63ontainers/{id}/export",
    "POST /build", "POST /session", "POST /grpc", "POST /images/create?fromImage=x", "POST /images/x/push",
    "POST /images/load", "GET /images/get?names=x", "GET /images/x/get", "GET /images/search?term=x",
    "POST /images/prune", "GET /images/x/history", "GET /distribution/x/json", "POST /auth", "GET /plugins",
    "POST /plugins/pull", "GET /swarm", "POST /swarm/init", "GET /nodes", "GET /services", "GET /tasks",
    "GET /secrets", "POST /secrets/create", "GET /configs", "GET /system/df", "POST /volumes/prune",
    "POST /networks/prune", "OPTIONS *",
]  # fmt: skip


@pytest.mark.parametrize("asking", DENIED)
def test_nobody_gets_into_a_container_or_changes_the_engine(proxy: Path, inside: str, asking: str) -> None:
    method, path = asking.format(id=inside).split(" ", 1)
    assert asked(proxy, method, path) == 403


@pytest.fixture(scope="module")
def inside(engine: docker.DockerClient, tiny: TinyWorld) -> str:
    """A container that there is something to get out of."""
    made = engine.containers.create(HAPROXY, ["sleep", "60"], labels={LABEL_TEST: tiny.token})
    return str(made.id)


def test_a_monitor_that_is_not_root_reaches_the_engine(
    engine: docker.DockerClient, proxy: Path, tiny: TinyWorld
) -> None:
    asks = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/control/docker.sock');"
    asks += "s.sendall(b'GET /_ping HTTP/1.0\\r\\n\\r\\n'); print(s.recv(100))"
    said = engine.containers.run(
        PYTHON,
        ["python3", "-c", asks],
        remove=True,
        user="1234:1234",
        cap_drop=["ALL"],
        network_mode="none",
        volumes=[f"{proxy.parent}:/run/control"],
        labels={LABEL_TEST: tiny.token},
    )
    assert b"200 OK" in said


def engine_image(tiny: TinyWorld) -> str:
    return next(f"{tiny.app}-genesis:{tag}" for tag in tiny.tags("genesis"))
