"""What the machine is said to have room for, on the real engine."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from worlds import LABEL_TEST, local_images, wait_for

from aither_rings_mcp.adapters.capacity import HostCapacity
from aither_rings_mcp.adapters.engine import PROJECT_LABEL, DockerEngine
from aither_rings_mcp.ports import MemoryUse

pytestmark = pytest.mark.engine
PYTHON = local_images().get("SAMPLE_BASE_IMAGE", "python:3.12-slim")
MB = 2**20
#: So much of it is in use for as long as it runs.
_HOLDS = "held = bytearray(b'x') * (80 * 2**20); print('held', flush=True); import time; time.sleep(600)"


@pytest.fixture
def project(engine: docker.DockerClient) -> Iterator[str]:
    """One container that holds 80 MB, one that holds next to nothing, and one that does not run."""
    token = secrets.token_hex(4)
    name, labels = f"room{token}", {PROJECT_LABEL: f"room{token}", LABEL_TEST: token}
    try:
        big = engine.containers.run(PYTHON, ["python3", "-c", _HOLDS], labels=labels, detach=True, network_mode="none")
        engine.containers.run(PYTHON, ["sleep", "600"], labels=labels, detach=True, network_mode="none", init=True)
        engine.containers.create(PYTHON, ["sleep", "600"], labels=labels, network_mode="none")
        wait_for(lambda: b"held" in big.logs(), 30, "it holds its memory")
        yield name
    finally:
        for one in engine.containers.list(all=True, filters={"label": f"{LABEL_TEST}={token}"}):
            one.remove(force=True)


async def test_what_containers_use_is_told_of_each_that_runs(project: str, tmp_path: Path) -> None:
    used = await HostCapacity(DockerEngine(), tmp_path).used(project)
    assert used is not None
    small, big = sorted(used.sizes)
    assert used.unknown == 0
    assert 80 * MB <= big < 160 * MB
    assert 0 < small < 40 * MB


async def test_a_project_of_which_nothing_runs_uses_nothing(engine: docker.DockerClient, tmp_path: Path) -> None:
    assert await HostCapacity(DockerEngine(), tmp_path).used(f"nobody{secrets.token_hex(4)}") == MemoryUse()


async def test_what_is_free_is_told_of_memory_state_and_the_engines_store(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    capacity = HostCapacity(DockerEngine(), tmp_path)
    free, disk, store = capacity.free(), capacity.disk(), await capacity.store()
    assert free
    assert disk
    assert 0 < disk <= shutil.disk_usage(tmp_path).total
    root = Path(engine.info()["DockerRootDir"])
    assert store is None if not root.exists() else store and store <= shutil.disk_usage(root).total


async def test_without_an_engine_nobody_can_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    capacity = HostCapacity(DockerEngine(), tmp_path)
    assert (await capacity.used("any"), await capacity.store()) == (None, None)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert await capacity.store() is None, "that is another machine's disk"
