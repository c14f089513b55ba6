"""What the manager and the gates need of the world, as small protocols declared by who uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from aither_rings_mcp.domain.drill import Ware
from aither_rings_mcp.domain.evidence import Bundle, Section
from aither_rings_mcp.domain.health import ContainerView, ListedContainer, ProbeResult, ServiceHealth
from aither_rings_mcp.domain.model import Actor, Event, RecordedEvent, Release, State
from aither_rings_mcp.domain.plan import Plan
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.settings import Settings
from aither_rings_mcp.domain.slots import Route, Slot, Traffic
from aither_rings_mcp.domain.tokens import Token
from aither_rings_mcp.domain.verdict import Evidence, FailedItem, GateResult, Verdict
from aither_rings_mcp.domain.watch import Memory

#: Receives one line of progress or log at a time.
OnLine = Callable[[str], None]
#: A Compose config as `docker compose config --format json` renders it.
ComposeConfig = dict[str, Any]


class Clock(Protocol):
    """Durations from `monotonic` (seconds), records from `now` (aware UTC)."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class ImageView:
    """An image the engine has. `id` is its content id."""

    id: str
    architecture: str
    os: str
    labels: Mapping[str, str]
    size: int
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class NamedImage:
    """One of an image's names (`repository:tag`), and when the image was built."""

    reference: str
    id: str
    created: datetime


@dataclass(frozen=True)
class Images:
    """All images of the engine: their content ids, and their names."""

    ids: frozenset[str]
    names: tuple[NamedImage, ...]


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says of itself."""

    version: str
    architecture: str
    os: str


class Engine(Protocol):
    """The Docker API. Every verb raises `docker_unavailable` when nobody answers.

    `containers` is every container of a Compose project, asked for each; `listed` is one question for all, for whoever
    needs no more than that says. `images` is the content id of every image that is here, `names` every name that one
    has. `untag` takes a name away, never one that a container hangs on; an image goes with its last name, as with
    `docker rmi`.
    """

    async def facts(self) -> EngineFacts: ...
    async def containers(self, project: str) -> tuple[ContainerView, ...]: ...
    async def listed(self, project: str) -> tuple[ListedContainer, ...]: ...
    async def image(self, reference: str) -> ImageView | None: ...
    async def images(self) -> Images: ...
    async def tag(self, image_id: str, reference: str) -> None: ...
    async def untag(self, reference: str) -> None: ...
    async def logs(self, container_id: str, tail: int) -> tuple[str, ...]: ...
    async def health_log(self, container_id: str) -> tuple[str, ...]: ...
    async def exec(self, container_id: str, argv: Sequence[str]) -> tuple[int, str]: ...


@dataclass(frozen=True)
class Death:
    """A container of a Compose project exited."""

    project: str
    service: str
    exit_code: int


class Deaths(Protocol):
    """Containers that exit, as the engine tells it.

    `follow` calls `heard` for each and goes on until it is cancelled; it raises `docker_unavailable` when the engine
    goes away.
    """

    async def follow(self, heard: Callable[[Death], None]) -> None: ...


class Healer(Protocol):
    """Whoever restarts unhealthy containers on this machine. Suspending it twice is suspending it once."""

    async def suspend(self) -> None: ...
    async def resume(self) -> None: ...


class Alarm(Protocol):
    """Calls a person. Never raises: who cannot be reached must not stand in the way. Returns what went wrong."""

    async def call(self, event: Event) -> str | None: ...


class Edge(Protocol):
    """The traffic switch. Raises `engine` errors (EngineFailure) while nobody answers; every verb may be repeated.

    `prepare` makes its configuration that of rings.yaml and sees that it runs; rings that it has no route for are on
    the slot that is `recorded`. `route` is on disk before it takes effect, so that an edge that starts anew goes on
    where it was. `routes` is what it does now, by ring. `unreached` are the front services of a slot that it has no way
    to. `traffic` is what it counted for each slot of a ring. `open` is how many requests and connections are under way
    to a slot, or to one of its services, those from before the last change of its configuration included.
    """

    async def prepare(self, recorded: Mapping[str, Slot], on_line: OnLine) -> None: ...
    async def route(self, ring: str, route: Route) -> None: ...
    async def routes(self) -> Mapping[str, Route]: ...
    async def unreached(self, ring: str, slot: Slot) -> tuple[str, ...]: ...
    async def traffic(self, ring: str) -> Mapping[Slot, Traffic]: ...
    async def open(self, ring: str, slot: Slot, service: str | None = None) -> int: ...


@dataclass(frozen=True)
class MemoryUse:
    """The memory of containers that run, of each in bytes; `unknown` is how many nobody can tell it of."""

    sizes: tuple[int, ...] = ()
    unknown: int = 0


class Capacity(Protocol):
    """What this machine has room for, in bytes. None: nobody can tell.

    `used` is the memory that the containers of a project have now, `free` what another one could get, `disk` what is
    left for state, `store` what is left for the engine's images and containers.
    """

    async def used(self, project: str) -> MemoryUse | None: ...
    def free(self) -> int | None: ...
    def disk(self) -> int | None: ...
    async def store(self) -> int | None: ...


class MonitorMemory(Protocol):
    """What the monitor remembers between its rounds and lives. What cannot be read was never remembered."""

    def load(self) -> Memory: ...
    def save(self, memory: Memory) -> None: ...


class Pins(Protocol):
    """Keeps images from being pruned, one pin per image, whichever releases hold it.

    A pin keeps its image from `docker image prune -a`; one that stands, from every prune. `stand` makes exactly the
    pins of `images` stand, and returns the images whose pin cannot. `standing` is every image whose pin does: it is
    here for certain, as the engine removes no image of a container that runs. `held` is every image that has a pin.
    """

    async def hold(self, images: Mapping[str, str], release: str) -> None: ...
    async def stand(self, images: frozenset[str]) -> frozenset[str]: ...
    async def standing(self) -> frozenset[str]: ...
    async def held(self) -> frozenset[str]: ...
    async def let_go(self, keep: frozenset[str]) -> None: ...


class Compose(Protocol):
    """`docker compose`, one verb each. Raises `EngineFailure` with the tail of what it said.

    `services`: only these of the project, without what they depend on.
    """

    async def render(self, ring: str) -> ComposeConfig: ...
    async def build(self, ring: str, on_line: OnLine) -> None: ...
    async def up(self, project: str, file: Path, on_line: OnLine, *, services: Sequence[str] = ()) -> None: ...
    async def stop(self, project: str, on_line: OnLine, *, services: Sequence[str] = ()) -> None: ...
    async def down(self, project: str, on_line: OnLine, *, volumes: bool = False) -> None: ...
    async def up_backbone(self, on_line: OnLine) -> None: ...
    async def down_backbone(self, on_line: OnLine) -> None: ...


class Prober(Protocol):
    """Asks one container's service whether it is well. Never raises for an unwell service."""

    async def probe(self, container: ContainerView, http: str | None, port: int | None) -> ProbeResult: ...
    def address(self, container: ContainerView, port: int) -> tuple[str, int] | None: ...


@dataclass(frozen=True)
class Completed:
    """A child process that ended, or was ended at its limit.

    `output` is the redacted tail of stdout and stderr together: for people; have results written to a file.
    `code` is negative for a signal, 127 where program or folder is not there, 126 where it cannot run.
    """

    code: int
    output: str
    timed_out: bool = False

    def tail(self) -> list[str]:
        """The last lines that say something: data, as whoever wrote the program chose the words."""
        return [line for line in self.output.splitlines() if line.strip()][-20:]


class Commands(Protocol):
    """Runs child processes: argv only, a limit in seconds, the whole group ended at the limit."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        limit: float,
        log: Path | None = None,
        on_line: OnLine | None = None,
    ) -> Completed: ...


class StateStore(Protocol):
    """`rings-state.json`. `load` of a missing file is the empty state; an unreadable one is `state_unreadable`."""

    def load(self) -> State: ...
    def save(self, state: State) -> None: ...


class History(Protocol):
    """The append-only, hash-chained history."""

    def append(self, event: Event) -> RecordedEvent: ...
    def read(
        self, limit: int, before: str | None = None, where: Callable[[RecordedEvent], bool] | None = None
    ) -> tuple[tuple[RecordedEvent, ...], str | None]: ...
    def verify(self) -> tuple[int, str | None, int | None, bool]: ...


class Releases(Protocol):
    """`releases/<id>/`: what a release is, and the Compose file it runs with.

    `stale` are those that nobody saved since `before`.
    """

    def save(self, release: Release, config: ComposeConfig) -> None: ...
    def load(self, release_id: str) -> Release: ...
    def config(self, release_id: str) -> ComposeConfig: ...
    def runnable(self, release_id: str, config: ComposeConfig, name: str = "run") -> Path: ...
    def stale(self, before: datetime) -> tuple[str, ...]: ...
    def remove(self, release_id: str) -> None: ...


class Journals(Protocol):
    """`operations/<id>/`: one journal per operation, saved whole, atomically and fsynced.

    `prune` removes operations that ended, all but the newest `keep` of them, with their logs.
    """

    def create(self, operation: Operation) -> None: ...
    def save(self, operation: Operation) -> None: ...
    def load(self, operation_id: str) -> Operation: ...
    def recent(self, limit: int) -> tuple[Operation, ...]: ...
    def unfinished(self) -> tuple[Operation, ...]: ...
    def ask_to_cancel(self, operation_id: str, by: str, reason: str) -> None: ...
    def cancel_asked(self, operation_id: str) -> str | None: ...
    def folder(self, operation_id: str) -> Path: ...
    def prune(self, keep: int) -> None: ...


class OperationLogs(Protocol):
    """The log of each operation. `read` gives whole lines from a byte cursor, and the cursor to go on from."""

    def append(self, operation_id: str, line: str) -> None: ...
    def read(self, operation_id: str, cursor: int, limit: int) -> tuple[tuple[str, ...], int]: ...


class Bundles(Protocol):
    """`evidence/<operation id>/`: what was seen of a failed release, once. `load` gives only what is complete."""

    def save(self, bundle: Bundle, sections: Sequence[Section]) -> None: ...
    def load(self, operation_id: str) -> Bundle | None: ...
    def text(self, operation_id: str, section: str) -> str: ...


class Plans(Protocol):
    """Plans that were minted, and a person's answers to them (each used once).

    An answer counts once it is told: `tell` hands one that is not (approved, by whom, their note, when) to whoever
    tells the history, and notes that it was; `withdraw` takes one back that is not.
    `waiting` is the newest plan with that content that this actor asked for and can still apply; `unanswered` are those
    that nobody answered or applied and that still can be, newest first; `prune` removes those that expired before then.
    """

    def save(self, plan: Plan) -> None: ...
    def load(self, plan_id: str) -> Plan: ...
    def answer(self, plan: Plan, approved: bool, by: Actor, note: str | None, at: datetime) -> None: ...
    def tell(self, plan: Plan, tell: Callable[[bool, Actor, str | None, datetime], None]) -> None: ...
    def withdraw(self, plan: Plan) -> None: ...
    def approval(self, plan: Plan, now: datetime, operation: str = "") -> tuple[str, Actor] | None: ...
    def use(self, plan: Plan, operation: str = "") -> None: ...
    def waiting(self, plan_hash: str, by: Actor, now: datetime) -> Plan | None: ...
    def unanswered(self, now: datetime) -> tuple[Plan, ...]: ...
    def prune(self, before: datetime) -> None: ...


class Tokens(Protocol):
    """The bearer tokens of this installation. Every verb raises `state_unreadable` when nobody can tell who has one.

    `match` is the token of a text, whether it still counts or not; None where nobody has it.
    """

    def all(self) -> tuple[Token, ...]: ...
    def match(self, text: str) -> Token | None: ...
    def add(self, token: Token) -> None: ...
    def revoke(self, token_id: str, at: datetime) -> Token: ...


class Keys(Protocol):
    """The secret with which this installation seals what it will be shown again."""

    def key(self) -> bytes: ...


class Claim(Protocol):
    """The right to change one ring, held by an open lock: it dies with the processes that hold it."""

    epoch: int
    fd: int

    def release(self) -> None: ...


class Claims(Protocol):
    """One owner per ring, across processes."""

    def take(self, ring: str, operation_id: str) -> Claim | None: ...
    def adopt(self, ring: str, fd: int) -> Claim: ...
    def holder(self, ring: str) -> str | None: ...
    def epoch(self, ring: str) -> int: ...
    def clear_unreadable(self, ring: str) -> bool: ...
    def state_lock(self) -> AbstractContextManager[None]: ...


class Workers(Protocol):
    """Starts the worker of an operation in a session of its own, handing over the claim's lock.

    `expect` says that one may be wanted soon; it returns at once and never raises.
    """

    def expect(self) -> None: ...
    def start(self, operation_id: str, claim: Claim) -> int: ...


class ScratchSite(Protocol):
    """An installation of its own for a drill: its folder, its images, its monitor, and its processes to kill.

    `prepare` gives its rings.yaml. `ship` makes what the next deploy takes. `worker` finds the process that works on an
    operation; what it gives ends that process, and no other, with SIGKILL. `remove` never raises: it returns what is
    left.
    """

    async def prepare(self) -> Path: ...
    async def ship(self, ware: Ware) -> None: ...
    def worker(self, operation_id: str) -> Callable[[], None] | None: ...
    def start_monitor(self) -> None: ...
    def kill_monitor(self) -> None: ...
    async def remove(self) -> tuple[str, ...]: ...


class SourceTree(Protocol):
    """The working tree that a release is built from."""

    def digest(self) -> str: ...
    def commit(self) -> str: ...


class ApprovalDesk(Protocol):
    """Whether a person has said yes to exactly this promotion."""

    async def approved_by(self) -> str | None: ...
    async def rejected_by(self) -> str | None: ...


class ServiceReader(Protocol):
    """Health of the ring that runs the release under test."""

    async def read(self, services: Sequence[str] | None = None) -> Sequence[ServiceHealth]: ...


class Requests(Protocol):
    """Reaches a service of the release under test: its base URL from here, for one of its container ports."""

    async def base_url(self, service: str, port: int | None = None) -> str: ...


@dataclass(frozen=True)
class GateContext:
    """What a gate may use. Gates measure; they change nothing.

    `limit` is in seconds and is also enforced from outside; `log` is the file that keeps the full output.
    """

    settings: Settings
    release: Release
    target: str
    root: Path
    cwd: Path
    env: Mapping[str, str]
    limit: float
    log: Path
    commands: Commands
    engine: Engine
    health: ServiceReader
    services: Requests
    approval: ApprovalDesk
    source_digest: Callable[[], str]


@dataclass(frozen=True)
class Finding:
    """A gate's own answer; the gatekeeper adds name, time, blocking and the log's tail."""

    status: Verdict
    summary: str
    reason_code: str | None = None
    evidence: tuple[Evidence, ...] = ()
    failed_items: tuple[FailedItem, ...] = field(default=())
    fix_hint: str | None = None


class Gate(Protocol):
    """A gate: a class with an `Options` model, made once per use with its parsed options.

    `version` is part of the cache key: change it when the gate starts to measure something else.
    """

    version: ClassVar[str]
    Options: ClassVar[type[BaseModel]]

    def __init__(self, options: Any) -> None: ...

    async def check(self, ctx: GateContext) -> Finding: ...


class GateCache(Protocol):
    """Remembers passes. A lost or unreadable entry is a miss, never an error."""

    def passed(self, key: str) -> GateResult | None: ...
    def remember(self, key: str, result: GateResult) -> None: ...
