"""A small shop with three rings on the simulated machine. State, history, journals, claims are real files."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from aither_rings_mcp.adapters.claim_files import ClaimFiles
from aither_rings_mcp.adapters.evidence_files import EvidenceFiles
from aither_rings_mcp.adapters.gate_cache import FileGateCache
from aither_rings_mcp.adapters.history_file import HistoryFile
from aither_rings_mcp.adapters.host import HostCommands
from aither_rings_mcp.adapters.journal_files import JournalFiles
from aither_rings_mcp.adapters.key_file import KeyFile
from aither_rings_mcp.adapters.monitor_file import MonitorFile
from aither_rings_mcp.adapters.operation_log import OperationLogFiles
from aither_rings_mcp.adapters.plan_files import PlanFiles
from aither_rings_mcp.adapters.release_files import ReleaseFiles
from aither_rings_mcp.adapters.state_file import StateFile
from aither_rings_mcp.adapters.token_file import TokenFile
from aither_rings_mcp.domain.answers import MonitorAnswer
from aither_rings_mcp.domain.errors import DockerUnavailable
from aither_rings_mcp.domain.model import Actor, Event, RingRecord, Value
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.gates.health_check import HealthCheck
from aither_rings_mcp.gates.manual_approval import ManualApproval
from aither_rings_mcp.gates.tests_pass import TestsPass
from aither_rings_mcp.manager import working
from aither_rings_mcp.manager.gatekeeper import Gatekeeper
from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import Claim, Death, Finding, GateContext
from fakes.clock import FakeClock
from fakes.docker import FakeCapacity, FakeCompose, FakeEdge, FakeEngine, FakeHealer, FakePins, FakeProber
from fakes.machine import Fault, Machine, image_id
from fakes.power import Power, PoweredDisk, is_power_cut

T = TypeVar("T")
ANN = Actor(name="ann")
EVE = Actor(name="eve")
BOT = Actor(name="bot", kind="agent", door="mcp")


class Audit:
    """A gate that refuses images built to be refused."""

    version: ClassVar[str] = "1"

    class Options(Value):
        pass

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        for image in ctx.release.images.values():
            found = await ctx.engine.image(image)
            if found and found.labels["fault"] == "refused":
                return Finding(Verdict.FAILED, f"{image[:19]} is refused", "refused")
        return Finding(Verdict.PASSED, "nothing to find fault with")


def settings(**other: Any) -> Settings:
    runtime = {"kind": "runtime", "compose": ["c.yml"]}
    return Settings.model_validate(
        {
            "app": "shop",
            "backbone": {"project": "shop-shared", "compose": ["s.yml"]},
            "services": {
                "api": {"critical": True, "probe": {"http": "/health", "port": 8000}},
                "web": {"probe": {"http": "/health", "port": 8000}},
            },
            "rings": {
                "dev": {**runtime, "project": "shop-dev", "build": True, "on_unhealthy": "keep"},
                "staging": {"kind": "gate", "preview": {"project": "shop-preview"}, "candidate_ttl": "1h"},
                "prod": {**runtime, "project": "shop-prod"},
            },
            "paths": [
                {"source": "dev", "target": "staging", "gates": [{"gate": "health_check"}]},
                {"source": "staging", "target": "prod", "gates": [{"gate": "health_check"}, {"gate": "audit"}]},
            ],
            "limits": {"healthy": 4, "healthy_window": 1, "poll": 0.5, "engine": 30, "plan": 900},
            "keep_releases": 3,
            **other,
        }
    )


def twins(**prod: Any) -> Settings:
    """The shop with an edge, and a second slot in prod."""
    rings = settings().model_dump(mode="json", by_alias=True, exclude_unset=True)["rings"]
    fronts = {"fronts": {"api": 9001, "web": 9002}, "green": {"project": "shop-prod-green"}}
    rings["prod"] = {**rings["prod"], **fronts, **prod}
    return settings(edge={}, rings=rings)


@dataclass
class Tree:
    """`ports.SourceTree`: whatever the machine would build now."""

    machine: Machine

    def digest(self) -> str:
        return f"digest of {self.machine.source}"

    def commit(self) -> str:
        return self.machine.source.encode().hex().ljust(40, "0")


@dataclass
class Hands:
    """`ports.Workers` in this process: the claim's lock is handed over as a second descriptor of it."""

    queue: list[tuple[str, int]] = field(default_factory=list)
    #: Left for the test to run.
    held: bool = False

    def expect(self) -> None:
        pass

    def start(self, operation_id: str, claim: Claim) -> int:
        self.queue.append((operation_id, os.dup(claim.fd)))
        return os.getpid()

    def die(self) -> None:
        for _, fd in self.queue:
            os.close(fd)
        self.queue.clear()


@dataclass
class Calls:
    """`ports.Alarm`: whom nobody answers."""

    events: list[Event] = field(default_factory=list)

    async def call(self, event: Event) -> str | None:
        self.events.append(event)
        return None


class NoDeaths:
    """`ports.Deaths`: an engine that tells nothing; the monitor looks by itself."""

    async def follow(self, heard: Callable[[Death], None]) -> None:
        raise DockerUnavailable("the Docker engine's event stream ended", "Start the engine.")


@dataclass(frozen=True)
class Snapshot:
    """A shop at rest, to start from again and again."""

    machine: bytes
    folder: Path
    settings: Settings


class Shop:
    """One installation, and the processes that work on it until the next `boot`."""

    def __init__(self, folder: Path, machine: Machine | None = None, config: Settings | None = None) -> None:
        self.folder = folder
        self.machine = machine or Machine(FakeClock())
        self.settings = config or settings()
        self.boot()

    def boot(self, cut_at: int | None = None, *, names_survive: bool = True) -> None:
        """New processes on what is left of disk and machine; the old ones are gone with all they held."""
        if hasattr(self, "hands"):
            self.close()
        self.clock, self.hands, self.power = self.machine.clock, Hands(), Power(cut_at)
        self.machine.power = self.power
        self.alarm, self.said = Calls(), list[str]()
        self._disk = disk = PoweredDisk(self.power, names_survive)
        state_dir = self.folder / "state"
        self.world = World(
            settings=self.settings,
            root=self.folder,
            clock=self.clock,
            commands=HostCommands(),
            engine=FakeEngine(self.machine),
            pins=FakePins(self.machine),
            compose=FakeCompose(self.machine, self.settings),
            prober=FakeProber(self.machine),
            state=StateFile(state_dir, disk=disk),
            history=HistoryFile(state_dir, self.clock, disk),
            releases=ReleaseFiles(state_dir, disk),
            journals=JournalFiles(state_dir, disk),
            logs=OperationLogFiles(state_dir / "operations", self.clock),
            evidence=EvidenceFiles(state_dir, self.settings.keep_evidence, disk),
            plans=PlanFiles(state_dir, self.settings.limits.approval, disk),
            tokens=TokenFile(state_dir, disk),
            claims=ClaimFiles(state_dir, self.clock, disk),
            workers=self.hands,
            source=Tree(self.machine),
            deaths=NoDeaths(),
            healer=FakeHealer(self.machine),
            alarm=self.alarm,
            edge=FakeEdge(self.machine, self.settings),
            capacity=FakeCapacity(self.machine),
            keys=KeyFile(state_dir, disk),
            memory=MonitorFile(state_dir, disk),
            gatekeeper=Gatekeeper(
                {
                    "health_check": HealthCheck,
                    "manual_approval": ManualApproval,
                    "audit": Audit,
                    "tests_pass": TestsPass,
                },
                self.clock,
                FileGateCache(state_dir / "gate-cache"),
            ),
        )
        self.manager = RingManager(self.world)
        self.clock.meanwhile = self._meanwhile

    def close(self) -> None:
        self.hands.die()
        self._disk.close()

    async def _meanwhile(self) -> None:
        if not self.hands.held:
            await self.work()

    async def work(self) -> None:
        """The workers that were started do their work, one after the other."""
        while self.hands.queue:
            operation_id, fd = self.hands.queue.pop(0)
            await working.execute(self.world, operation_id, fd)

    async def until_cut(self, doing: Awaitable[T]) -> T | None:
        """What `doing` came to; None when the power went first."""
        try:
            return await doing
        except BaseException as error:
            if not is_power_cut(error):
                raise
            return None

    async def recover(self) -> None:
        """`ring-ctl recover`, and its workers' work."""
        await self.manager.recover()
        await self.work()

    # -- the story so far

    async def deploy(self, source: str, fault: Fault | None = None, **other: Any) -> Any:
        self.machine.source, self.machine.fault = source, fault or Fault()
        self.clock.seconds += 10
        return await self.manager.deploy("dev", ANN, **other)

    async def stage(self, **other: Any) -> Any:
        self.clock.seconds += 10
        return await self.manager.promote("dev", "staging", ANN, **other)

    async def promote(self, **other: Any) -> Any:
        self.clock.seconds += 10
        return await self.manager.promote("staging", "prod", ANN, **other)

    async def up(self) -> Any:
        self.clock.seconds += 10
        return await self.manager.up("prod", ANN)

    async def down(self) -> Any:
        self.clock.seconds += 10
        return await self.manager.down("prod", ANN)

    async def rollback(self, **other: Any) -> Any:
        self.clock.seconds += 10
        return await self.manager.rollback("prod", ANN, **other)

    async def patrol(self, seconds: float, pace: float = 15.0) -> MonitorAnswer | None:
        """A monitor's rounds for so long, each by a new one: whatever counts has to be on disk. The last round's
        answer.
        """
        seen: MonitorAnswer | None = None
        for _ in range(round(seconds / pace)):
            self.clock.seconds += pace
            seen = await self.manager.monitor(self.said.append).round()
            await self.work()
        return seen

    def turn(self, source: str, fault: Fault) -> None:
        """What is built from `source`, and was well until now, has this fault from now on."""
        for service in self.settings.services:
            self.machine.images[image_id(service, source)] = fault
        self.machine.met.clear()  # who met it until now met it well

    async def ship(self, source: str, fault: Fault | None = None) -> Any:
        """Through all rings."""
        await self.deploy(source, fault)
        await self.stage()
        return await self.promote()

    # -- looking at it

    def record(self, ring: str = "prod") -> RingRecord:
        return self.world.state.load().ring(ring)

    def operations(self) -> tuple[Operation, ...]:
        return self.world.journals.recent(1000)

    def snapshot(self) -> Snapshot:
        return Snapshot(pickle.dumps(self.machine), self.folder, self.settings)


def reopened(snapshot: Snapshot, folder: Path, *, tampering: bool = False) -> Shop:
    """The shop anew in `folder`. Where a test writes into files itself (`tampering`), they are copied one by one."""
    shutil.copytree(snapshot.folder, folder, copy_function=shutil.copyfile if tampering else _copied)
    return Shop(folder, pickle.loads(snapshot.machine), snapshot.settings)


def _copied(source: str, target: str) -> None:
    """Files that are replaced whole may be shared; those that are appended to, or locked, may not."""
    if source.endswith(".json"):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
