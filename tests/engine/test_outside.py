"""The controller lives outside every ring: no ring's failure takes the way back with it."""

from __future__ import annotations

import docker
import pytest
from small_world import SmallWorld

pytestmark = pytest.mark.engine


@pytest.mark.promise(3)
def test_the_way_back_is_open_with_every_container_of_every_ring_dead(
    small: SmallWorld, engine: docker.DockerClient
) -> None:
    assert small.promote_another().code == 0
    before = small.ring("prod")
    for ring in ("dev", "prod"):
        label = f"com.docker.compose.project={small.projects[ring]}"
        for container in engine.containers.list(filters={"label": label}):
            container.kill()

    health = small.ctl("health", "prod")
    assert (health.code, health.answer["healthy"]) == (0, 0)
    assert health.answer["next_actions"][0]["tool"] == "ring_rollback"

    back = small.ctl("rollback", "prod")
    assert (back.code, back.answer["outcome"]) == (0, "rolled_back")
    assert small.ring("prod")["release"] == before["rollback_release"]
    assert small.running_images("prod") == small.stored_images(before["rollback_release"])
    assert small.healthy("prod")
