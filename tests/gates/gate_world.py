"""What the tests of gates share: a context with real processes, and a small world that behaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aither_rings_mcp.adapters.host import HostCommands
from aither_rings_mcp.domain.errors import InvalidTransition
from aither_rings_mcp.domain.health import ContainerView, ServiceHealth, ServiceState
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.ports import EngineFacts, GateContext, ImageView

SETTINGS = Settings.model_validate(
    {
        "app": "aither",
        "services": {
            "genesis": {"critical": True},
            "veil": {"critical": True},
            "atlas": {},
            "migrate": {"one_shot": True},
        },
        "rings": {
            "dev": {"kind": "runtime", "project": "t-dev", "compose": ["dev.yml"]},
            "staging": {"kind": "gate"},
        },
        "limits": {"gate": "20s", "poll": "10ms"},
    }
)


def release(images: Mapping[str, str] | None = None, source_digest: str = "") -> Release:
    return Release(
        id="r-0123456789ab",
        ring="dev",
        commit="abcdef0123456789",
        tag="dev-abcdef0",
        source_digest=source_digest,
        images=images or {"genesis": "sha256:aa", "veil": "sha256:bb"},
        config_hash="c",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def service(
    name: str, state: ServiceState = ServiceState.HEALTHY, critical: bool = True, reason: str | None = None
) -> ServiceHealth:
    return ServiceHealth(name=name, state=state, critical=critical, reason=reason)


@dataclass
class Ward:
    """A `ServiceReader` of a few services."""

    services: list[ServiceHealth] = field(default_factory=lambda: [service("genesis"), service("veil")])

    async def read(self, services: Sequence[str] | None = None) -> Sequence[ServiceHealth]:
        return [s for s in self.services if services is None or s.name in services]


@dataclass
class Directory:
    """`Requests` by name."""

    urls: Mapping[str, str] = field(default_factory=dict)

    async def base_url(self, service: str, port: int | None = None) -> str:
        if service not in self.urls:
            raise InvalidTransition(f"the release has no service {service!r}", f"Its services: {', '.join(self.urls)}.")
        return self.urls[service]


@dataclass
class Desk:
    """An `ApprovalDesk` with at most one answer on it."""

    yes: str | None = None
    no: str | None = None

    async def approved_by(self) -> str | None:
        return self.yes

    async def rejected_by(self) -> str | None:
        return self.no


@dataclass
class SmallEngine:
    """An engine that has images and containers, and changes neither."""

    images: dict[str, ImageView] = field(default_factory=dict)
    running: dict[str, list[ContainerView]] = field(default_factory=dict)
    architecture: str = "x86_64"

    def build(self, image_id: str, architecture: str = "amd64") -> None:
        self.images[image_id] = ImageView(id=image_id, architecture=architecture, os="linux", labels={}, size=1)

    def run(self, project: str, service: str, image_id: str, status: str = "running") -> None:
        number = sum(len(containers) for containers in self.running.values())
        view = ContainerView.model_validate(
            {"id": f"c{number}", "name": f"{project}-{service}-1", "service": service, "project": project,
             "image_id": image_id, "status": status}
        )  # fmt: skip
        self.running.setdefault(project, []).append(view)

    async def facts(self) -> EngineFacts:
        return EngineFacts(version="27", architecture=self.architecture, os="linux")

    async def containers(self, project: str) -> tuple[ContainerView, ...]:
        return tuple(self.running.get(project, ()))

    async def image(self, reference: str) -> ImageView | None:
        return self.images.get(reference)


def context(root: Path, **other: Any) -> GateContext:
    """A context whose processes are real; `other` replaces any part of it."""
    parts: dict[str, Any] = {
        "settings": SETTINGS,
        "release": release(),
        "target": "staging",
        "root": root,
        "cwd": root,
        "env": {},
        "limit": 20.0,
        "log": root / "logs" / "gate.log",
        "commands": HostCommands(grace=0.5),
        "engine": SmallEngine(),
        "health": Ward(),
        "services": Directory(),
        "approval": Desk(),
        "source_digest": lambda: "",
    }
    return GateContext(**{**parts, **other})


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
