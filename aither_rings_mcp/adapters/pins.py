"""Pins: one small container per image, which keeps the image from being pruned."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aither_rings_mcp.adapters.engine import PROJECT_LABEL, DockerEngine, image_gone
from aither_rings_mcp.adapters.tiny_program import waits
from aither_rings_mcp.domain.composition import LABEL_PIN, LABEL_RELEASE
from aither_rings_mcp.domain.errors import ImageMissing

_PROGRAM = "/aither-pin"
_NOBODY = "65534:65534"
#: The program needs 12 kB; the rest is room for runc, which starts inside this limit.
_MEMORY = "16m"


@dataclass(frozen=True)
class _Pin:
    id: str
    image: str
    runs: bool
    #: Whether it was made to be started; an earlier version's pins were not.
    startable: bool


class PinContainers:
    """Created, a pin keeps its image from `docker image prune -a`; running, from every prune.

    What runs in it is a program of our own, put into it before it is started: nothing of the image counts, neither its
    entrypoint nor its user, its health check or its architecture.
    """

    def __init__(self, engine: DockerEngine, installation: str) -> None:
        self._engine = engine
        self._installation = installation
        self._label = f"{LABEL_PIN}={installation}"

    async def hold(self, images: Mapping[str, str], release: str) -> None:
        def put(api: Any) -> None:
            held = self._listed(api)
            for image in sorted({*images.values()} - held.keys()):
                self._create(api, image, release)

        await self._engine.call(put)

    async def stand(self, images: frozenset[str]) -> frozenset[str]:
        """Starts first and stops later. When all is as it should be, this is one look at a list."""

        def change(api: Any) -> frozenset[str]:
            pins = self._listed(api)
            down = sorted(image for image in images if not any(pin.runs for pin in pins.get(image, ())))
            failed = self._started(api, down, pins) if down else frozenset[str]()
            for image, of_image in pins.items():
                for pin in of_image:
                    if image not in images and pin.runs:
                        _stop(api, pin.id)
                    elif image in images and image not in failed and not pin.startable:
                        _remove(api, pin.id)
            return failed

        return await self._engine.call(change)

    async def standing(self) -> frozenset[str]:
        return await self._images(stopped=False)

    async def held(self) -> frozenset[str]:
        return await self._images(stopped=True)

    async def _images(self, *, stopped: bool) -> frozenset[str]:
        return frozenset(pin["ImageID"] for pin in await self._engine.with_labels(self._label, stopped=stopped))

    async def let_go(self, keep: frozenset[str]) -> None:
        def drop(api: Any) -> None:
            for image, pins in self._listed(api).items():
                for pin in pins if image not in keep else ():
                    _remove(api, pin.id)

        await self._engine.call(drop)

    def _listed(self, api: Any) -> dict[str, list[_Pin]]:
        """image -> its pins: one, or for a moment two while an old one is being replaced."""
        found: defaultdict[str, list[_Pin]] = defaultdict(list)
        for one in api.containers(all=True, filters={"label": self._label}):
            startable = one["Command"].split()[:1] == [_PROGRAM]
            found[one["ImageID"]].append(_Pin(one["Id"], one["ImageID"], one["State"] == "running", startable))
        return dict(found)

    def _started(self, api: Any, images: Collection[str], pins: Mapping[str, list[_Pin]]) -> frozenset[str]:
        """Starts the pins of these images, making or replacing them first where need be; returns what failed."""
        import docker.errors

        program = waits(api.version()["Arch"])
        if program is None:
            return frozenset(images)
        packed, failed = _packed(program), set[str]()
        for image in images:
            of_image = pins.get(image, [])
            pin = next((pin.id for pin in of_image if pin.startable), None)
            try:
                if pin is None:
                    for old in of_image:  # it keeps the image until there is another, but not the name
                        api.rename(old.id, f"{self._name(image)}-{old.id[:6]}")
                    pin = self._create(api, image, "")
                api.put_archive(pin, "/", packed)
                api.start(pin)
            except (docker.errors.APIError, ImageMissing):
                failed.add(image)
        return frozenset(failed)

    def _create(self, api: Any, image: str, release: str) -> str:
        """Makes the pin, or finds the one that somebody else made meanwhile; its id."""
        import docker.errors
        from docker.types import LogConfig

        name = self._name(image)
        try:
            return api.create_container(
                image,
                entrypoint=[_PROGRAM],
                name=name,
                user=_NOBODY,
                working_dir="/",
                healthcheck={"test": ["NONE"]},
                stop_signal="SIGKILL",
                # Images that Compose built carry its labels, and a container inherits them: without this,
                # `docker compose down` of the ring that built it would take the pin along.
                labels={
                    LABEL_PIN: self._installation,
                    LABEL_RELEASE: release,
                    PROJECT_LABEL: "",
                    "com.docker.compose.service": "",
                },
                host_config=api.create_host_config(
                    network_mode="none",
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges:true"],
                    mem_limit=_MEMORY,
                    pids_limit=2,
                    log_config=LogConfig(type="none", config={}),
                    # Only of those that run: one that was stopped stays so when the engine starts again.
                    restart_policy={"Name": "unless-stopped"},
                ),
            )["Id"]
        except docker.errors.NotFound:
            raise image_gone(image) from None
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
            return name

    def _name(self, image: str) -> str:
        return f"aither-pin-{self._installation}-{image.removeprefix('sha256:')[:12]}"


def _packed(program: bytes) -> bytes:
    """The program as the archive that the engine unpacks into a container."""
    import tarfile

    archive, entry = io.BytesIO(), tarfile.TarInfo(_PROGRAM.lstrip("/"))
    entry.size, entry.mode = len(program), 0o755
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(entry, io.BytesIO(program))
    return archive.getvalue()


def _stop(api: Any, pin: str) -> None:
    import docker.errors

    with suppress(docker.errors.NotFound):  # somebody else let go of it
        api.stop(pin, timeout=1)


def _remove(api: Any, pin: str) -> None:
    import docker.errors

    try:
        api.remove_container(pin, force=True, v=True)
    except docker.errors.APIError as error:
        # 404 and 409: somebody else removed it, or is about to
        if error.status_code not in {404, 409}:
            raise
