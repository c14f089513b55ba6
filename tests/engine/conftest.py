"""The real engine, and the worlds on it. Without an engine these tests fail: a skipped proof is none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest
import requests
from docker.errors import DockerException
from shipped_world import ShippedWorld
from small_world import SmallWorld
from worlds import REPO

_BOOTSTRAP = "run ./tools/bootstrap"


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env()
        client.ping()
    except (DockerException, requests.RequestException, OSError) as error:
        pytest.fail(f"no Docker engine answers ({error}): {_BOOTSTRAP}", pytrace=False)
    if not (REPO / "compose/.env.images").exists():
        pytest.fail(f"the images for the rings are not prepared: {_BOOTSTRAP}", pytrace=False)
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("RINGS_", "AITHER_", "COMPOSE_")):  # somebody's own rings
                environment.delenv(name)
        yield client
    client.close()


@pytest.fixture(scope="module")
def shipped(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedWorld]:
    world = ShippedWorld(engine, tmp_path_factory.mktemp("shipped"))
    try:
        yield world
    finally:
        world.remove()


@pytest.fixture(scope="session")
def small_world(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWorld]:
    world = SmallWorld(engine, tmp_path_factory.mktemp("small"))
    try:
        yield world
    finally:
        world.remove()


@pytest.fixture
def small(small_world: SmallWorld) -> SmallWorld:
    """The small world at rest: dev, staging and prod hold a good release, and nothing is under way."""
    small_world.settle()
    return small_world
