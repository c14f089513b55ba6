"""The typed form of rings.yaml. `config.py` makes these from the file, or says everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from aither_rings_mcp.domain.cron import checked_cron, checked_zone
from aither_rings_mcp.domain.model import RingKind, SchemaChange
from aither_rings_mcp.domain.slots import Slot
from aither_rings_mcp.domain.value import Value

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\Z", re.ASCII)


def parse_duration(value: object) -> object:
    """`90s`, `2m`, `500ms`, `24h`, `7d` or a bare number of seconds -> seconds."""
    if isinstance(value, str):
        match = _DURATION.match(value.strip())
        if not match:
            raise ValueError("write a duration such as 500ms, 90s, 2m, 24h or 7d")
        return float(match[1]) * _UNITS[match[2]]
    return value


def parse_share(value: object) -> object:
    """`50%` or `0.5` -> 0.5."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            raise ValueError("write a share such as 50% or 0.5") from None
    return value


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$"},
    ],
    "description": "a duration: 500ms, 90s, 2m, 24h, 7d, or seconds",
}
Duration = Annotated[
    float, Field(gt=0, allow_inf_nan=False), BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)
]
Share = Annotated[
    float,
    Field(ge=0, le=1),
    BeforeValidator(parse_share),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": r"^\d+(\.\d+)?%$"}]}
    ),
]
#: Lower case, as Compose wants project and service names; also safe as a file name.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class EnvFile(Value):
    """An env file handed to Compose. `optional`: skipped when it is not there."""

    path: str
    optional: bool = False


def _env_file(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


EnvFiles = tuple[Annotated[EnvFile, BeforeValidator(_env_file, json_schema_input_type=str | EnvFile)], ...]


class Limits(Value):
    """Every wait has a limit, and every limit a name. All in seconds once parsed."""

    build: Duration = 1800.0
    up: Duration = 180.0
    down: Duration = 90.0
    healthy: Duration = Field(default=60.0, description="a release has to be healthy by then, or it goes back")
    healthy_window: Duration = Field(default=3.0, description="how long it has to stay healthy to have proved itself")
    engine: Duration = Field(default=300.0, description="how long a rollout waits for an engine that went away")
    evidence: Duration = Field(default=5.0, description="how long a restore waits for evidence of what failed")
    probe: Duration = 2.0
    poll: Duration = 0.5
    gate: Duration = Field(default=300.0, description="for gates that name no limit of their own")
    plan: Duration = Field(default=900.0, description="how long a plan may be applied")
    approval: Duration = Field(default=86400.0, description="how long an approval may be used")


class Probe(Value):
    """How to ask a service whether it is well: HTTP (2xx/3xx), a TCP connect, or only the container's state. Without
    either and without a healthcheck, the port of a service with a front is asked by TCP.
    """

    http: str | None = Field(default=None, pattern=r"^/")
    tcp: bool = False
    port: int | None = Field(default=None, ge=1, le=65535)


class Service(Value):
    critical: bool = False
    probe: Probe = Probe()
    one_shot: bool = Field(
        default=False, description="runs to its end with exit code 0 (a migration) and stays stopped"
    )
    twice: bool = Field(
        default=False, description="may run in both slots at once, although it writes to a volume or has a device"
    )


class Backbone(Value):
    """The Compose project that both rings share: its name, its files and what they are interpolated with."""

    project: Name
    compose: Annotated[tuple[str, ...], Field(min_length=1)]
    env_files: EnvFiles = ()
    profiles: tuple[str, ...] = ()
    probes: Mapping[Name, Probe] = Field(
        default_factory=dict,
        description="how to ask backbone services whether they are well; without, Docker's healthcheck answers, later",
    )
    one_shot: tuple[Name, ...] = Field(
        default=(), description="services that run to their end with exit code 0 and stay stopped, as a set-up does"
    )
    healer: str | None = Field(
        default=None, description="the backbone service that restarts unhealthy containers; paused during a rollout"
    )


class Hook(Value):
    """A command run at one moment of a rollout. It may run again after a crash, so it has to be repeatable."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    cwd: str = "."
    env: Mapping[str, str] = Field(default_factory=dict)
    limit: Duration = 60.0


class Hooks(Value):
    """`pre_promote` can stop a promotion before anything is touched. The others only tell: a failing hook never
    stands in the way of going back.
    """

    pre_promote: Hook | None = None
    post_promote: Hook | None = None
    pre_rollback: Hook | None = None
    post_rollback: Hook | None = None


class Preview(Value):
    """Where a candidate is run for its smoke tests when dev has moved on: a project and networks of its own."""

    project: Name
    shared_network: str | None = None


class SecondSlot(Value):
    """The slot `green`, in which a new release is started beside the one that serves: a project and networks of its
    own. The slot `blue` has the ring's own project and network.
    """

    project: Name
    shared_network: str | None = None


class Strategy(StrEnum):
    """How a release takes over from the one before."""

    BLUE_GREEN = "blue_green"
    ROLLING = "rolling"
    RECREATE = "recreate"


class Canary(Value):
    """Shares of the requests that a new release gets, one after the other, before it gets all of them."""

    steps: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1)] = (5.0, 25.0, 100.0)
    hold: Duration = Field(default=30.0, description="how long each share is judged before the next")


class Edge(Value):
    """The HAProxy in the backbone through which people reach the rings."""

    service: Name = Field(default="edge", description="its service in the backbone")
    drain: Duration = Field(
        default=30.0, description="how long open requests and WebSockets of a slot may go on before it is stopped"
    )
    api_on: Name | None = Field(
        default=None, description="the service on whose front ports /rings/* is answered by the controller"
    )
    host: str = Field(default="127.0.0.1", description="where its ports are published, as the tunnel reaches them")


class FreezeWindow(Value):
    """A time that comes again and again, in which nothing new comes into a ring."""

    cron: Annotated[str, AfterValidator(checked_cron)] = Field(description="when it opens, as cron writes it")
    lasts: Duration = Field(alias="for", le=366 * 86400, description="how long it stays open, by a stopwatch")
    reason: Annotated[str, Field(min_length=3)]
    timezone: Annotated[str, AfterValidator(checked_zone)] = Field(
        default="UTC", description="the place whose clock `cron` means"
    )


class Unhealthy(StrEnum):
    """What happens to a release that never becomes healthy: it goes back, or it stays for its author to look at."""

    RESTORE = "restore"
    KEEP = "keep"


class AskedOf(StrEnum):
    """Whose changes a person has to say yes to first."""

    NOBODY = "nobody"
    AGENTS = "agents"
    EVERYONE = "everyone"


class Ring(Value):
    """A ring. `runtime` rings run containers and need `project` and `compose`; a `gate` only validates."""

    kind: RingKind
    project: Name | None = None
    compose: tuple[str, ...] = ()
    env_files: EnvFiles = ()
    profiles: tuple[str, ...] = ()
    shared_network: str | None = Field(
        default=None, description="the external network on which this ring meets the backbone"
    )
    build: bool = Field(default=False, description="`ring-ctl deploy` may build the working tree into this ring")
    on_unhealthy: Unhealthy = Unhealthy.RESTORE
    fronts: Mapping[Name, Annotated[int, Field(ge=1, le=65535)]] = Field(
        default_factory=dict, description="service -> the port of the edge on which people reach it"
    )
    hostnames: Mapping[Name, tuple[str, ...]] = Field(
        default_factory=dict, description="service -> names under which the tunnel shows it to the world"
    )
    green: SecondSlot | None = Field(
        default=None, description="the second slot: with it, a release starts beside the one that serves"
    )
    strategy: Strategy | None = Field(
        default=None, description="by default blue_green where there are fronts and a second slot, else recreate"
    )
    canary: Canary | None = None
    candidate_ttl: Duration = 86400.0
    preview: Preview | None = None
    hooks: Hooks = Hooks()
    freeze: tuple[FreezeWindow, ...] = Field(
        default=(), description="when nothing new comes into this ring; going back is always open"
    )
    rollback_approval: Literal[AskedOf.NOBODY, AskedOf.AGENTS] = Field(
        default=AskedOf.NOBODY, description="whose rollbacks of this ring a person has to say yes to first"
    )
    url: str | None = Field(default=None, description="where people find this ring, for messages and docs")

    @property
    def slots(self) -> dict[Slot, str]:
        """The slots that a runtime ring has, with the Compose project of each."""
        found = {Slot.BLUE: str(self.project)}
        if self.green is not None:
            found[Slot.GREEN] = self.green.project
        return found


class GateSpec(Value):
    """One gate on a path, and how it is run."""

    gate: str
    name: Name | None = Field(
        default=None, description="tells two uses of one gate apart; also the name of its log file"
    )
    blocking: bool = True
    limit: Duration | None = None
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    cwd: str = "."
    env: Mapping[str, str] = Field(default_factory=dict)
    cache: bool = Field(default=False, description="a pass counts again for the same release and gate version")
    after: tuple[str, ...] = Field(default=(), description="names of gates that have to pass first")
    options: Mapping[str, Any] = Field(default_factory=dict, alias="with")

    @model_validator(mode="after")
    def _a_yes_counts_once(self) -> Self:
        if self.cache and self.gate == "manual_approval":
            raise ValueError("`cache` would make one person's yes count for every later plan: take it away here")
        return self

    @property
    def label(self) -> str:
        return self.name or self.gate


class Path(Value):
    """A way from one ring to the next, and the gates on it."""

    source: str
    target: str
    gates: tuple[GateSpec, ...] = ()
    approval: AskedOf = Field(
        default=AskedOf.NOBODY, description="whose promotions along this path a person has to say yes to first"
    )


class Approvals(Value):
    """How people are asked, beside the `approval` of each path and the `rollback_approval` of each ring."""

    force: Literal[AskedOf.NOBODY, AskedOf.AGENTS] = Field(
        default=AskedOf.AGENTS, description="whose overrides of the gates a person has to say yes to first"
    )
    elicitation: bool = Field(
        default=True, description="an agent's client may ask the person who sits at it, and pass their answer on"
    )


#: What `profile: fast` means; a key written beside it wins.
_FAST: Mapping[str, float] = {
    "poll": 1.0, "suspect_poll": 0.5, "unhealthy_share": 0.0, "unhealthy_for": 3.0, "dead_for": 3.0, "well_again": 5.0,
    "together": 5.0,
}  # fmt: skip


class TrafficRule(Value):
    """When the answers that users get condemn a release that is new in its ring, as the edge counts them.

    Both are measured against what the release before gave: what was bad before is not the new one's fault.
    """

    requests: Annotated[int, Field(ge=1)] = Field(default=20, description="fewer than these prove nothing")
    errors: Share = Field(default=0.05, description="more than this share of 5xx, and twice the old release's")
    slower: Annotated[float, Field(gt=1)] = Field(
        default=5.0, description="so many times the old release's latency, and at least 500 ms"
    )
    poll: Duration = 0.5
    window: Duration = Field(default=5.0, description="how far back answers count")


class RollbackRule(Value):
    """When the monitor takes a release back. The defaults are the article's rule, with a faster one for what is dead:
    more than `unhealthy_share` of the critical services, for longer than `unhealthy_for`, within `settle`.
    """

    profile: Literal["article", "fast"] = Field(
        default="article", description="`fast`: any critical service, within seconds; every key can still be set"
    )
    poll: Duration = Field(default=15.0, description="how often the monitor looks while all is well")
    suspect_poll: Duration = Field(default=3.0, description="and how often once something is wrong")
    unhealthy_share: Share = 0.5
    unhealthy_for: Duration = 90.0
    dead_for: Duration = Field(
        default=10.0, description="how long a critical service may exit or crash-loop before its release goes back"
    )
    failures: Annotated[int, Field(ge=2, le=100)] = Field(
        default=3, description="so many bad looks it takes at least: a look is no verdict"
    )
    well_again: Duration = Field(
        default=30.0, description="a clock that runs is set back only by this long without a bad look"
    )
    together: Duration = Field(
        default=30.0, description="rings that go bad within this time of each other have the same trouble"
    )
    settle: Duration = Field(
        default=300.0, description="how long after a deployment ill health is the release's fault; later it only alerts"
    )

    traffic: TrafficRule = TrafficRule()

    @model_validator(mode="before")
    @classmethod
    def _with_profile(cls, given: object) -> object:
        if isinstance(given, Mapping) and cast("Mapping[str, object]", given).get("profile") == "fast":
            return {**_FAST, **cast("Mapping[str, object]", given)}
        return cast("object", given)


class Alerts(Value):
    """Who is called when the monitor, or a rollout, needs a person.

    `command` gets one alert as JSON in the variable RINGS_ALERT: `{ring, event, outcome, reason, at}`.
    """

    command: tuple[str, ...] = ()
    limit: Duration = 10.0


class Agents(Value):
    """What agents may do to a runtime ring that takes promotions (no `build: true`). People may always, and going back
    is never refused.
    """

    changes_per_hour: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=12, description="promotions and rollbacks that one agent may have done in an hour"
    )
    cooldown: Duration = Field(
        default=60.0,
        le=7 * 86400,
        description="how long an agent waits after its promotion went back; doubled by each further one",
    )
    cooldown_max: Duration = Field(default=3600.0, le=7 * 86400, description="it waits no longer than this")
    breaker: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="promotions in a row that went back; then only people promote, until one stays"
    )

    @model_validator(mode="after")
    def _cools_down_in_time(self) -> Agents:
        if self.cooldown > self.cooldown_max:
            raise ValueError(f"cooldown ({self.cooldown:g} s) has to be at most cooldown_max ({self.cooldown_max:g} s)")
        return self


class Source(Value):
    """The files a release is made of; a gate that tests them checks that they are still the ones that were built."""

    paths: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ("__pycache__", "*.pyc", ".git", ".pytest_cache", ".ruff_cache", ".venv", "node_modules")
    schema_change: SchemaChange | None = Field(
        default=None,
        alias="schema",
        description="what the working tree does to shared data: `expand`, or `contract` (no automatic way back). "
        "An image or a service can say it itself with the label aither.rings.schema",
    )


class Settings(Value):
    """rings.yaml. Paths are relative to the file."""

    version: Literal[1] = 1
    app: Name
    state_dir: str = ".rings"
    backbone: Backbone | None = None
    edge: Edge | None = None
    services: Annotated[Mapping[Name, Service], Field(min_length=1)]
    rings: Annotated[Mapping[Name, Ring], Field(min_length=1)]
    paths: tuple[Path, ...] = ()
    source: Source = Source()
    rollback: RollbackRule = RollbackRule()
    alerts: Alerts = Alerts()
    agents: Agents = Agents()
    approvals: Approvals = Approvals()
    limits: Limits = Limits()
    keep_releases: Annotated[int, Field(ge=2, le=100)] = 5
    keep_evidence: Annotated[int, Field(ge=1, le=1000)] = 20

    @property
    def critical(self) -> tuple[str, ...]:
        return tuple(name for name, service in self.services.items() if service.critical)

    @property
    def runtime_rings(self) -> tuple[str, ...]:
        return tuple(name for name, ring in self.rings.items() if ring.kind is RingKind.RUNTIME)
