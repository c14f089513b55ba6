"""The Docker ports on the simulated machine: engine, pins, Compose, prober."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from aither_rings_mcp.domain.composition import LABEL_PIN, LABEL_RELEASE, host_ports
from aither_rings_mcp.domain.composition import services as config_services
from aither_rings_mcp.domain.errors import ConfigInvalid, EngineFailure, ImageMissing
from aither_rings_mcp.domain.health import ContainerView, ListedContainer, ProbeResult
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Route, Slot, Traffic
from aither_rings_mcp.ports import ComposeConfig, EngineFacts, Images, ImageView, MemoryUse, NamedImage, OnLine
from fakes.clock import START
from fakes.machine import Container, Machine, Spec

APP_PORT = 8000
STAMP = "2026-01-31T12:00:00.000000000Z"


class FakeEngine:
    """`ports.Engine`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def facts(self) -> EngineFacts:
        self._machine.answer()
        return EngineFacts(version="27", architecture=self._machine.architecture, os="linux")

    async def containers(self, project: str) -> tuple[ContainerView, ...]:
        found = self._machine.of(project)
        for container in found:
            self._machine.look(container)
        return tuple(view(container) for container in found)

    async def listed(self, project: str) -> tuple[ListedContainer, ...]:
        """Nobody asks the containers themselves, so that it is no look at them."""
        return tuple(view(container) for container in self._machine.of(project))

    async def image(self, reference: str) -> ImageView | None:
        image = self._machine.image(reference)
        if image is None:
            return None
        labels = {"fault": self._machine.images[image].kind}
        return ImageView(id=image, architecture="amd64", os="linux", labels=labels, size=1)

    async def images(self) -> Images:
        """Images are as old as their place among all that were built."""
        self._machine.answer()
        built = list(self._machine.images)
        names = tuple(
            NamedImage(reference, image, START + timedelta(seconds=built.index(image)))
            for reference, image in self._machine.tags.items()
            if image in self._machine.images
        )
        return Images(frozenset(built), names)

    async def untag(self, reference: str) -> None:
        self._machine.untag(reference)

    async def tag(self, image_id: str, reference: str) -> None:
        self._machine.tag(image_id, reference)

    async def logs(self, container_id: str, tail: int) -> tuple[str, ...]:
        self._machine.answer()
        container = self._machine.containers[container_id]
        started = f"{STAMP} started {container.spec.image}"
        return (started, *(f"{STAMP} {line}" for line in self._machine.said))[-tail:]

    async def health_log(self, container_id: str) -> tuple[str, ...]:
        self._machine.answer()
        well = self._machine.well(self._machine.containers[container_id])
        return (f"{STAMP} exit code {0 if well else 1}: {' '.join(self._machine.said)}",)

    async def exec(self, container_id: str, argv: Sequence[str]) -> tuple[int, str]:
        raise NotImplementedError("nobody looks from inside here")


class FakePins:
    """`ports.Pins`: one container per image, created or running."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def hold(self, images: Mapping[str, str], release: str) -> None:
        for image in sorted(set(images.values())):
            if image in self._machine.pins():
                continue
            if self._machine.image(image) is None:
                raise ImageMissing(f"the image {image} is not on this machine any more", "Deploy again.", image=image)
            labels = ((LABEL_PIN, "here"), (LABEL_RELEASE, release))
            self._machine.create("", f"pin-{image[7:19]}", Spec(image, labels))

    async def stand(self, images: frozenset[str]) -> frozenset[str]:
        self._machine.answer()
        pins = {c.spec.image: c for c in self._machine.containers.values() if c.pin}
        failed: set[str] = set()
        for image in sorted(images):
            try:
                if image not in pins:
                    await self.hold({"": image}, "")
                    pins = {c.spec.image: c for c in self._machine.containers.values() if c.pin}
                if pins[image].status != "running":
                    self._machine.start(pins[image])
            except ImageMissing:
                failed.add(image)
        for pin in pins.values():
            if pin.spec.image not in images and pin.status == "running":
                self._machine.stop(pin)
        return frozenset(failed)

    async def standing(self) -> frozenset[str]:
        self._machine.answer()
        return frozenset(c.spec.image for c in self._machine.containers.values() if c.pin and c.status == "running")

    async def held(self) -> frozenset[str]:
        self._machine.answer()
        return frozenset(self._machine.pins())

    async def let_go(self, keep: frozenset[str]) -> None:
        self._machine.answer()
        for container in [c for c in self._machine.containers.values() if c.pin and c.spec.image not in keep]:
            self._machine.remove(container)


class FakeCompose:
    """`ports.Compose`: container by container, so that it can be cut off between any two."""

    def __init__(self, machine: Machine, settings: Settings) -> None:
        self._machine = machine
        self._settings = settings

    async def render(self, ring: str) -> ComposeConfig:
        project, app = str(self._settings.rings[ring].project), self._settings.app
        base = 20000 + 100 * list(self._settings.rings).index(ring)
        return {
            "name": project,
            "services": {
                name: {
                    "image": f"{app}-{name}:{ring}-latest",
                    "environment": {"RING": ring, **self._machine.environment},
                    "ports": [{"host_ip": "127.0.0.1", "published": str(base + number), "target": APP_PORT}],
                }
                for number, name in enumerate(self._settings.services)
            },
        }

    async def build(self, ring: str, on_line: OnLine) -> None:
        for name in self._settings.services:
            on_line(f"building {name}")
            self._machine.build(name, f"{self._settings.app}-{name}:{ring}-latest")

    async def up(self, project: str, file: Path, on_line: OnLine, *, services: Sequence[str] = ()) -> None:
        machine, wanted = self._machine, config_services(json.loads(file.read_bytes()))
        have = {container.service: container for container in machine.of(project)}
        for name in sorted({*have} - {*wanted}):
            machine.remove(have[name])
        for name, service in sorted((n, s) for n, s in wanted.items() if not services or n in services):
            on_line(f"{name} starting")
            container, spec = have.get(name), spec_of(service)
            if container and container.spec != spec:
                machine.remove(container)
                container = None
            container = container or machine.create(project, name, spec)
            if container.status in {"created", "exited"}:
                machine.start(container)

    async def stop(self, project: str, on_line: OnLine, *, services: Sequence[str] = ()) -> None:
        for container in self._machine.of(project):
            if services and container.service not in services:
                continue
            if container.status in {"running", "restarting"}:
                self._machine.stop(container)

    async def down(self, project: str, on_line: OnLine, *, volumes: bool = False) -> None:
        for container in self._machine.of(project):
            on_line(f"{container.service} stopping")
            if container.status != "exited":
                self._machine.stop(container)
            self._machine.remove(container)

    async def up_backbone(self, on_line: OnLine) -> None:
        there = self._machine.of("shop-shared")
        image = next(iter(self._machine.images))
        for container in there or [self._machine.create("shop-shared", "redis", Spec(image))]:
            if container.status != "running":
                self._machine.start(container)

    async def down_backbone(self, on_line: OnLine) -> None:
        await self.down("shop-shared", on_line)


class FakeHealer:
    """`ports.Healer`: on a machine that has one."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def suspend(self) -> None:
        self._machine.answer()
        self._machine.healer_suspended = True

    async def resume(self) -> None:
        self._machine.answer()
        self._machine.healer_suspended = False


class FakeProber:
    """`ports.Prober`: the containers answer for themselves."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def probe(self, container: ContainerView, http: str | None, port: int | None) -> ProbeResult:
        ok = self._machine.well(self._machine.containers[container.id])
        return ProbeResult(ok=ok, http_status=200 if ok else 503, reason=None if ok else f"{http} answered 503")

    def address(self, container: ContainerView, port: int) -> tuple[str, int] | None:
        return container.published.get(port)


def spec_of(service: Mapping[str, Any]) -> Spec:
    ports = host_ports({"services": {"one": service}})
    labels = tuple(sorted((service.get("labels") or {}).items()))
    return Spec(service["image"], labels, tuple(int(address.rpartition(":")[2]) for address in ports))


def view(container: Container) -> ContainerView:
    return ContainerView(
        id=container.id,
        name=f"{container.project}-{container.service}-1",
        service=container.service,
        project=container.project,
        image_id=container.spec.image,
        status=container.status,
        restarts=container.restarts,
        published={APP_PORT: ("127.0.0.1", container.spec.ports[0])} if container.spec.ports else {},
        labels=container.labels,
    )


class FakeEdge:
    """`ports.Edge`: its file is written first, and what it does is another effect."""

    def __init__(self, machine: Machine, settings: Settings) -> None:
        self._machine = machine
        self._settings = settings

    async def prepare(self, recorded: Mapping[str, Slot], on_line: OnLine) -> None:
        if self._machine.edge_refuses:
            raise ConfigInvalid("HAProxy refuses the edge's new configuration", "Correct rings.yaml.")
        for ring, settings in self._settings.rings.items():
            if settings.fronts and ring not in self._machine.on_file:
                route = Route(slot=recorded[ring])
                self._machine.on_file[ring] = self._machine.routed[ring] = self._projects(ring, route)
                self._machine.routes[ring] = route

    async def route(self, ring: str, route: Route) -> None:
        machine, projects = self._machine, self._projects(ring, route)
        machine.effect(f"edge file {ring}")
        machine.on_file[ring] = projects
        self._answer()
        machine.effect(f"edge {ring}")
        machine.routed[ring], machine.routes[ring] = projects, route
        machine.effect(f"users of {ring}")

    async def routes(self) -> Mapping[str, Route]:
        self._answer()
        return dict(self._machine.routes)

    async def unreached(self, ring: str, slot: Slot) -> tuple[str, ...]:
        self._answer()
        running = {c.service for c in self._machine.of(self._project(ring, slot)) if c.status == "running"}
        return tuple(sorted({*self._settings.rings[ring].fronts} - running))

    async def traffic(self, ring: str) -> Mapping[Slot, Traffic]:
        self._answer()
        machine = self._machine
        for project in machine.routed.get(ring, ()):
            before = machine.traffic.get(project, Traffic())
            bad = machine.users // 2 if project in machine.answers_badly else 0
            machine.traffic[project] = Traffic(requests=before.requests + machine.users, errors=before.errors + bad)
        return {slot: machine.traffic.get(self._project(ring, slot), Traffic()) for slot in Slot}

    async def open(self, ring: str, slot: Slot, service: str | None = None) -> int:
        self._answer()
        return 0

    def _answer(self) -> None:
        if self._machine.edge_away:
            raise EngineFailure("the edge does not answer", "Start it with `ring-ctl up shared`.")

    def _projects(self, ring: str, route: Route) -> tuple[str, ...]:
        """Where users go: a whole project, or one service of it."""
        if route.services:
            fronts = self._settings.rings[ring].fronts
            return tuple(f"{self._project(ring, route.services.get(one, route.slot))}/{one}" for one in fronts)
        both = (route.slot, route.slot.other) if route.canary else (route.slot,)
        return tuple(self._project(ring, slot) for slot in both)

    def _project(self, ring: str, slot: Slot) -> str:
        of_ring = self._settings.rings[ring]
        return of_ring.slots.get(slot, str(of_ring.project))


class FakeCapacity:
    """`ports.Capacity`: room enough, unless the machine says otherwise."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def used(self, project: str) -> MemoryUse | None:
        there, unknown = [c for c in self._machine.of(project) if c.status == "running"], self._machine.unmeasured
        return MemoryUse((100 * 2**20,) * (len(there) - unknown), min(unknown, len(there)))

    def free(self) -> int | None:
        return self._machine.memory

    def disk(self) -> int | None:
        return None

    async def store(self) -> int | None:
        return self._machine.store
