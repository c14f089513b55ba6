"""The way back, after a prune of everything that does not run.

No real prune here: it would take from everybody on this machine, and the engine is not this test's alone. What
`docker system prune -a` would take of the world's own is taken instead: its containers that do not run, then its images
that no container has, and of those that one has, all names but one.
"""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import suppress

import anyio
import docker
import pytest
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from small_world import SmallWorld
from worlds import LABEL_TEST

from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.adapters.pins import PinContainers
from aither_rings_mcp.domain.composition import LABEL_PIN
from aither_rings_mcp.wiring import installation

pytestmark = [pytest.mark.engine, pytest.mark.promise(9)]


def test_a_prune_of_all_that_does_not_run_leaves_the_way_back_open(small: SmallWorld) -> None:
    good = small.running_images("prod")
    assert small.release("ok").code == 0
    small.arrange("promote", "dev", "staging")
    small.arrange("promote", "staging", "prod")
    assert not set(good.values()) & set(small.running_images("prod").values())
    way = small.ring("prod")["rollback_release"]
    small.workers_end()
    assert set(good.values()) <= standing(small)
    gone = prune(small)
    assert not gone & set(good.values())
    prod = small.ring("prod")
    assert (prod["rollback_release"], prod["rollback_ready"]) == (way, True)
    back = small.ctl("rollback", "prod")
    assert (back.code, back.outcome, back.answer["to"]) == (0, "rolled_back", way), back
    assert small.running_images("prod") == good
    assert small.http("prod", "genesis", "/health")[0] == 200


def pins(world: SmallWorld) -> list[Container]:
    label = f"{LABEL_PIN}={installation(world.state_dir)}"
    return world.engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def standing(world: SmallWorld) -> set[str]:
    return {pin.attrs["Image"] for pin in pins(world) if pin.status == "running"}


def prune(world: SmallWorld) -> set[str]:
    """What a prune would take of this world, by its label; returns the images that are gone."""
    ours = {"label": f"{LABEL_TEST}={world.token}"}
    used: set[str] = set()
    for container in world.engine.containers.list(all=True, filters=ours, ignore_removed=True):
        if container.status == "running":
            used.add(container.attrs["Image"])
        else:
            container.remove(v=True)
    gone: set[str] = set()
    for image in world.engine.images.list(filters=ours):
        in_use = image.id in used
        for tag in image.tags[1 if in_use else 0 :]:
            world.engine.images.remove(tag)
        if not in_use:
            gone.add(str(image.id))
            with suppress(NotFound):
                world.engine.images.remove(str(image.id))
    return gone


# -- pins by themselves, of an image that says everything that could stand in their way

AWKWARD = (
    'ENTRYPOINT ["/not-there"]', 'CMD ["neither"]', "USER somebody", "WORKDIR /elsewhere", "VOLUME /data",
    "HEALTHCHECK --interval=1s CMD /not-there", "LABEL com.docker.compose.project=theirs",
)  # fmt: skip


@pytest.fixture
def token() -> str:
    return f"pins{secrets.token_hex(4)}"


@pytest.fixture
def awkward(engine: docker.DockerClient, token: str) -> Iterator[str]:
    """The content id of an image with nothing in it but such a config."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(token))  # unlike any other, so that it is nobody else's
    engine.api.import_image_from_data(content.getvalue(), repository=token, tag="one", changes=list(AWKWARD))
    image = str(engine.images.get(f"{token}:one").id)
    try:
        yield image
    finally:
        for container in engine.containers.list(all=True, filters={"label": f"{LABEL_PIN}={token}"}):
            container.remove(force=True, v=True)
        engine.images.remove(image, force=True)


def test_a_pin_stands_whatever_its_image_says_and_goes_without_a_trace(
    engine: docker.DockerClient, token: str, awkward: str
) -> None:
    held, nothing = frozenset({awkward}), frozenset[str]()
    by_us = {"label": f"{LABEL_PIN}={token}"}
    # as an earlier version left them: not to be started
    engine.api.create_container(
        awkward, ["/pin"], name=f"aither-pin-{token}-{awkward[7:19]}", labels={LABEL_PIN: token}
    )

    def pin() -> Container:
        (found,) = engine.containers.list(all=True, filters=by_us)
        return found

    async def story() -> None:
        ours = PinContainers(DockerEngine(), token)
        assert await ours.held() == held
        old = pin().id
        await ours.hold({"api": awkward}, "r-0123456789ab")
        assert pin().id == old
        assert await ours.standing() == nothing
        assert await ours.stand(held) == nothing
        assert await ours.standing() == held
        with pytest.raises(APIError, match="cannot be forced"):
            engine.images.remove(awkward, force=True)
        stood = pin()
        state = stood.attrs["State"]
        assert (stood.id != old, stood.status, "Health" in state) == (True, "running", False)
        assert stood.attrs["HostConfig"]["NetworkMode"] == "none"
        assert stood.labels["com.docker.compose.project"] == ""
        assert await ours.stand(held) == nothing
        assert pin().attrs["State"]["StartedAt"] == state["StartedAt"]
        stood.kill()
        assert await ours.standing() == nothing
        assert await ours.stand(held) == nothing
        assert pin().status == "running"
        assert await ours.stand(nothing) == nothing
        assert (pin().id, pin().status) == (stood.id, "exited")
        volumes = [mount["Name"] for mount in pin().attrs["Mounts"] if mount["Type"] == "volume"]
        await ours.let_go(nothing)
        assert await ours.held() == nothing
        assert not {volume.name for volume in engine.volumes.list()} & {*volumes}
        assert await ours.stand(frozenset({f"sha256:{'0' * 64}"})) == {f"sha256:{'0' * 64}"}

    anyio.run(story)
