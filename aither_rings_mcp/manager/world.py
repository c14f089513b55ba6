"""The ports that the use cases work through, handed over as one bundle by `wiring`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.domain.model import Release, RingKind
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Slot
from aither_rings_mcp.manager.gatekeeper import Gatekeeper
from aither_rings_mcp.ports import (
    Alarm,
    Bundles,
    Capacity,
    Claims,
    Clock,
    Commands,
    Compose,
    Deaths,
    Edge,
    Engine,
    Healer,
    History,
    Journals,
    Keys,
    MonitorMemory,
    OperationLogs,
    Pins,
    Plans,
    Prober,
    Releases,
    SourceTree,
    StateStore,
    Tokens,
    Workers,
)

#: What the backbone is called where a ring's name is expected (`ring-ctl up shared`).
BACKBONE = "shared"
#: What the monitor claims, so that there is one. No ring can have this name.
MONITOR_CLAIM = "_monitor"


@dataclass(frozen=True)
class World:
    """`root` is the folder of rings.yaml; relative paths start there."""

    settings: Settings
    root: Path
    clock: Clock
    commands: Commands
    engine: Engine
    pins: Pins
    compose: Compose
    prober: Prober
    state: StateStore
    history: History
    releases: Releases
    journals: Journals
    logs: OperationLogs
    evidence: Bundles
    plans: Plans
    tokens: Tokens
    claims: Claims
    workers: Workers
    source: SourceTree
    gatekeeper: Gatekeeper
    deaths: Deaths
    healer: Healer
    alarm: Alarm
    memory: MonitorMemory
    edge: Edge
    capacity: Capacity
    keys: Keys

    def project(self, ring: str, slot: Slot | None = None) -> str:
        """The Compose project of a runtime ring: of one of its slots, or of the one that serves by the record."""
        slot = slot or self.state.load().ring(ring).slot
        project = self.settings.rings[ring].slots.get(slot)
        if project is None:
            raise ConfigInvalid(
                f"{ring} runs in its slot green, but rings.yaml has no `green` for it any more",
                f"Put `green` back. To do without it, `ring-ctl down {ring}` first, and `up {ring}` afterwards.",
            )
        return project

    def is_gate(self, ring: str) -> bool:
        return ring in self.settings.rings and self.settings.rings[ring].kind is RingKind.GATE

    def onward(self, ring: str) -> tuple[str, ...]:
        """The rings that a path leads to from here."""
        return tuple(path.target for path in self.settings.paths if path.source == ring)

    def services_of(self, release: Release | None) -> tuple[str, ...]:
        """The services of a release; of rings.yaml while a ring has none."""
        return tuple(sorted(release.images)) if release else tuple(self.settings.services)
