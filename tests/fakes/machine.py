"""The simulated machine: images by content id, tags, and containers that behave as their image's fault says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aither_rings_mcp.domain.composition import LABEL_PIN
from aither_rings_mcp.domain.errors import DockerUnavailable, EngineFailure, ImageMissing
from aither_rings_mcp.domain.slots import Route, Traffic
from fakes.clock import FakeClock
from fakes.power import Power

FaultKind = Literal["ok", "never-healthy", "crash-loop", "late", "refuses-to-start", "refused", "stumbles"]


@dataclass(frozen=True)
class Fault:
    """How the containers of an image misbehave, in which projects, and (late) after how many looks, or (stumbles) at
    how many looks once users come.
    """

    kind: FaultKind = "ok"
    projects: frozenset[str] = frozenset({"shop-prod", "shop-prod-green"})
    after: int = 0


@dataclass(frozen=True)
class Spec:
    """What a container was created from; Compose recreates it when this changes."""

    image: str
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[int, ...] = ()


@dataclass
class Container:
    id: str
    project: str
    service: str
    spec: Spec
    status: Literal["created", "running", "restarting", "exited"] = "created"
    restarts: int = 0
    looks: int = 0
    stumbled: int = 0

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(self.spec.labels)

    @property
    def pin(self) -> bool:
        return LABEL_PIN in self.labels


@dataclass
class Machine:
    """Survives power cuts; what runs on it keeps running unless `reboot` says otherwise."""

    clock: FakeClock
    images: dict[str, Fault] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    #: What `docker compose build` would build now.
    source: str = "v0"
    fault: Fault = Fault()
    #: What every service is given besides, and what every container writes into its log.
    environment: dict[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    #: After how many more effects the engine goes away, and for how many seconds (None: until told otherwise).
    dies_in: int | None = None
    away_for: float | None = None
    #: Whether its containers stop with it.
    stops_with_it: bool = False
    away: bool = False
    #: Whether it was ever away.
    lost: bool = False
    back_at: float | None = None
    made: int = 0
    healer_suspended: bool = False
    #: Of the machine; images are all for amd64.
    architecture: str = "amd64"
    #: ring -> the projects that its users are sent to, by the edge as it runs and by the file it starts from; what it
    #: counted; and every image that users met an answer of.
    routed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    on_file: dict[str, tuple[str, ...]] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    edge_away: bool = False
    #: Whether it refuses the configuration that rings.yaml gives by now.
    edge_refuses: bool = False
    #: How many requests users make from look to look, and the projects that answer every other one badly.
    users: int = 0
    answers_badly: set[str] = field(default_factory=set)
    #: What is free, in bytes.
    memory: int = 2**34
    store: int = 2**40
    #: Of how many containers of a project nobody can tell what they use.
    unmeasured: int = 0
    power: Power = field(default_factory=Power)

    def __getstate__(self) -> dict[str, object]:
        """A machine at rest: who feeds it power is not part of it."""
        return {**self.__dict__, "power": None}

    # -- the engine as a process

    def answer(self) -> None:
        """Raises `docker_unavailable` while nobody is there."""
        if self.away and self.back_at is not None and self.clock.monotonic() >= self.back_at:
            self.away = False
        if self.away:
            raise DockerUnavailable("the Docker engine does not answer", "Start it, then ask again.")

    def effect(self, name: str) -> None:
        self.answer()
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.dies_in, self.away, self.lost = None, True, True
                if self.stops_with_it:
                    self.reboot()
                self.back_at = None if self.away_for is None else self.clock.monotonic() + self.away_for
                self.answer()
        self.power.effect(name)
        for places in self.routed.values():
            there = [c for c in self.containers.values() if {c.project, f"{c.project}/{c.service}"} & {*places}]
            self.met |= {c.spec.image for c in there if c.status == "running"}

    def reboot(self) -> None:
        """Every container stops; nothing starts by itself, except the backbone, as its restart policy says."""
        for container in self.containers.values():
            if container.status != "created" and container.project != "shop-shared":
                container.status = "exited"

    # -- images

    def build(self, service: str, reference: str) -> None:
        self.effect(f"build {service}")
        image = image_id(service, self.source)
        self.images.setdefault(image, self.fault)
        self.tags[reference] = image

    def image(self, reference: str) -> str | None:
        self.answer()
        found = self.tags.get(reference, reference)
        return found if found in self.images else None

    def tag(self, image: str, reference: str) -> None:
        if self.image(image) is None:
            raise ImageMissing(f"the image {image} is not on this machine any more", "Deploy again.", image=image)
        self.effect(f"tag {reference}")
        self.tags[reference] = image

    def prune_images(self) -> None:
        """`docker image prune -a`: takes every image that no container has, tagged or not."""
        used = {container.spec.image for container in self.containers.values()}
        self.images = {image: fault for image, fault in self.images.items() if image in used}
        self.tags = {reference: image for reference, image in self.tags.items() if image in used}

    def untag(self, reference: str) -> None:
        """`docker rmi`: the image goes with its last name, unless a container has it."""
        image = self.tags.get(reference)
        if image is None:
            return
        last = list(self.tags.values()).count(image) == 1
        if last and any(container.spec.image == image for container in self.containers.values()):
            return
        self.effect(f"untag {reference}")
        del self.tags[reference]
        if last:
            del self.images[image]

    def prune_system(self) -> None:
        """`docker system prune -a`: takes every container that does not run, then what `prune_images` takes."""
        self.containers = {i: c for i, c in self.containers.items() if c.status in {"running", "restarting"}}
        self.prune_images()

    # -- containers

    def of(self, project: str) -> list[Container]:
        self.answer()
        return sorted((c for c in self.containers.values() if c.project == project), key=lambda c: c.service)

    def pins(self) -> set[str]:
        """The images that a pin holds."""
        return {c.spec.image for c in self.containers.values() if c.pin}

    def create(self, project: str, service: str, spec: Spec) -> Container:
        if self.image(spec.image) is None:
            raise EngineFailure(f"no such image: {spec.image}", "Fix what the log names, then ask again.")
        self.effect(f"create {project}/{service}")
        self.made += 1
        container = Container(f"c{self.made}", project, service, spec)
        self.containers[container.id] = container
        return container

    def start(self, container: Container) -> None:
        for other in self.containers.values():
            if (
                other.id != container.id
                and other.status == "running"
                and set(other.spec.ports) & set(container.spec.ports)
            ):
                raise EngineFailure("port is already allocated", "Fix what the log names, then ask again.")
        if self.misbehaves(container) == "refuses-to-start":
            raise EngineFailure("the container did not start", "Fix what the log names, then ask again.")
        self.effect(f"start {container.project}/{container.service}")
        container.status, container.looks = "running", 0

    def stop(self, container: Container) -> None:
        self.effect(f"stop {container.project}/{container.service}")
        container.status = "exited"

    def remove(self, container: Container) -> None:
        self.effect(f"remove {container.project}/{container.service}")
        del self.containers[container.id]

    # -- behaviour

    def misbehaves(self, container: Container) -> FaultKind:
        fault = self.images[container.spec.image]
        return fault.kind if container.project in fault.projects else "ok"

    def look(self, container: Container) -> None:
        """Time passes for a container from look to look."""
        if container.status in {"running", "restarting"}:
            container.looks += 1
            if self.misbehaves(container) == "crash-loop":
                container.restarts += 1
                container.status = "restarting" if container.looks % 2 else "running"

    def well(self, container: Container) -> bool:
        """Whether its service says that it is healthy; a crash-looper does while it lives."""
        match self.misbehaves(container):
            case "never-healthy":
                return False
            case "late":
                return container.looks <= self.images[container.spec.image].after
            case "stumbles" if any(container.project in places for places in self.routed.values()):
                container.stumbled += 1
                return container.stumbled > self.images[container.spec.image].after
            case _:
                return container.status == "running"


def image_id(service: str, source: str) -> str:
    return "sha256:" + hashlib.sha256(f"{service} {source}".encode()).hexdigest()
