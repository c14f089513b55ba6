"""The only place that builds adapters and gates and hands them over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel

from aither_rings_mcp.adapters.alarm import CommandAlarm
from aither_rings_mcp.adapters.capacity import HostCapacity
from aither_rings_mcp.adapters.claim_files import ClaimFiles
from aither_rings_mcp.adapters.compose import DockerCompose
from aither_rings_mcp.adapters.container_events import ContainerDeaths
from aither_rings_mcp.adapters.edge import FOLDER, HaproxyEdge, NoEdge, controller_socket
from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.adapters.evidence_files import EvidenceFiles
from aither_rings_mcp.adapters.gate_cache import FileGateCache
from aither_rings_mcp.adapters.healer import HealerContainer, NoHealer
from aither_rings_mcp.adapters.history_file import HistoryFile
from aither_rings_mcp.adapters.host import HostCommands, SystemClock
from aither_rings_mcp.adapters.journal_files import JournalFiles
from aither_rings_mcp.adapters.key_file import KeyFile
from aither_rings_mcp.adapters.monitor_file import MonitorFile
from aither_rings_mcp.adapters.operation_log import OperationLogFiles
from aither_rings_mcp.adapters.pins import PinContainers
from aither_rings_mcp.adapters.plan_files import PlanFiles
from aither_rings_mcp.adapters.probes import NetworkProber
from aither_rings_mcp.adapters.release_files import ReleaseFiles
from aither_rings_mcp.adapters.source_tree import SourceTree
from aither_rings_mcp.adapters.spare_worker import SpareWorker
from aither_rings_mcp.adapters.state_file import StateFile
from aither_rings_mcp.adapters.token_file import TokenFile
from aither_rings_mcp.adapters.workers import WorkerProcesses
from aither_rings_mcp.config import Loaded, load
from aither_rings_mcp.domain.naming import digest
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.manager.gatekeeper import Gatekeeper
from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import Clock, Gate, Healer, Tokens

if TYPE_CHECKING:
    from aither_rings_mcp.manager.drill import Drill

GATES_GROUP = "aither_rings.gates"
CONFIG_VARIABLE = "RINGS_CONFIG"


class GateTypes(Mapping[str, type[Gate]]):
    """Every installed gate by name, imported only when it is used: a server starts faster without them."""

    def __init__(self) -> None:
        self._entries: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=GATES_GROUP)}

    def __getitem__(self, name: str) -> type[Gate]:
        return cast("type[Gate]", self._entries[name].load())

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


class GateOptions(Mapping[str, type[BaseModel]]):
    """The options model of every gate, for the config."""

    def __init__(self, gates: GateTypes) -> None:
        self._gates = gates

    def __getitem__(self, name: str) -> type[BaseModel]:
        return self._gates[name].Options

    def __iter__(self) -> Iterator[str]:
        return iter(self._gates)

    def __len__(self) -> int:
        return len(self._gates)


def config_path(given: Path | None) -> Path:
    """`--config`, else RINGS_CONFIG, else ./rings.yaml; absolute, as a worker starts elsewhere."""
    return Path(given or os.environ.get(CONFIG_VARIABLE) or "rings.yaml").absolute()


def installation(state_dir: Path) -> str:
    """Tells installations on one machine apart, so that none lets go of another's pins."""
    return digest(str(state_dir.resolve()))[:8]


def _healer(settings: Settings, engine: DockerEngine) -> Healer:
    backbone = settings.backbone
    if backbone is None or backbone.healer is None:
        return NoHealer()
    return HealerContainer(engine, backbone.project, backbone.healer)


def build_manager(given: Path | None = None, claim_fd: int | None = None, *, spare: bool = False) -> RingManager:
    """A manager on the real world, for the rings.yaml given. Raises `config_invalid` with every fault.

    `spare`: for a door that lives long, which keeps a worker ready.
    """
    return RingManager(build_world(given, claim_fd, spare=spare))


@dataclass(frozen=True)
class Installation:
    """What a server that lives long needs. `controller` is where the edge looks for it; None without an edge."""

    manager: RingManager
    tokens: Tokens
    clock: Clock
    controller: Path | None


def build_installation(given: Path | None = None) -> Installation:
    """The real installation of the rings.yaml given, with a worker kept ready."""
    path, gates = config_path(given), GateTypes()
    loaded = load(path, GateOptions(gates))
    world = _world(path, loaded, gates, None, spare=True)
    controller = controller_socket(loaded.state_dir) if world.settings.edge else None
    return Installation(RingManager(world), world.tokens, world.clock, controller)


def build_drill() -> Drill:
    """A drill on rings of its own; it needs an engine and nothing else."""
    # Only drills need these, and every other start would wait for them.
    from aither_rings_mcp.adapters.drill_site import TemporarySite
    from aither_rings_mcp.manager.drill import Drill

    return Drill(TemporarySite(DockerEngine(), installation), build_world, SystemClock())


def build_world(given: Path | None = None, claim_fd: int | None = None, *, spare: bool = False) -> World:
    """The real world of the rings.yaml given.

    `claim_fd` is the lock that a worker inherited. Its Compose calls hold it too: after the worker was killed the
    ring is not free before Compose has ended, so that nobody carries on beside it.
    """
    path, gates = config_path(given), GateTypes()
    return _world(path, load(path, GateOptions(gates)), gates, claim_fd, spare=spare)


def _world(path: Path, loaded: Loaded, gates: GateTypes, claim_fd: int | None, *, spare: bool) -> World:
    settings, state_dir = loaded.settings, loaded.state_dir
    clock, commands, engine = SystemClock(), HostCommands(), DockerEngine()
    held = () if claim_fd is None else (claim_fd,)
    operations = state_dir / "operations"
    return World(
        settings=settings,
        root=loaded.root,
        clock=clock,
        commands=commands,
        engine=engine,
        pins=PinContainers(engine, installation(state_dir)),
        compose=DockerCompose(settings, loaded.root, HostCommands(held=held), engine, state_dir / FOLDER),
        prober=NetworkProber(settings.limits.probe),
        state=StateFile(state_dir),
        history=HistoryFile(state_dir, clock),
        releases=ReleaseFiles(state_dir),
        journals=JournalFiles(state_dir),
        logs=OperationLogFiles(operations, clock),
        evidence=EvidenceFiles(state_dir, settings.keep_evidence),
        plans=PlanFiles(state_dir, settings.limits.approval),
        tokens=TokenFile(state_dir),
        claims=ClaimFiles(state_dir, clock),
        workers=(SpareWorker if spare else WorkerProcesses)(path, operations),
        source=SourceTree(loaded.root, settings.source),
        gatekeeper=Gatekeeper(gates, clock, FileGateCache(state_dir / "gate-cache")),
        deaths=ContainerDeaths(),
        healer=_healer(settings, engine),
        alarm=CommandAlarm(settings.alerts, commands, loaded.root, state_dir / "alerts.log"),
        memory=MonitorFile(state_dir),
        edge=HaproxyEdge(settings, state_dir, engine) if settings.edge else NoEdge(),
        capacity=HostCapacity(engine, state_dir),
        keys=KeyFile(state_dir),
    )
