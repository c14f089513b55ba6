"""Health as a window, not a sample: what one look at a service means, and what a series of looks adds up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime

from aither_rings_mcp.domain.value import Value


class ServiceState(StrEnum):
    HEALTHY = "healthy"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    EXITED = "exited"
    MISSING = "missing"


#: What Docker's own healthcheck of a container says.
Healthcheck = Literal["starting", "healthy", "unhealthy"]


class ListedContainer(Value):
    """What the engine's list says of one container. `health` is of one that runs, and has a healthcheck."""

    id: str
    name: str
    service: str
    project: str
    image_id: str
    status: Literal["created", "running", "restarting", "paused", "removing", "exited", "dead"]
    health: Healthcheck | None = None
    #: network name -> IPv4 address
    addresses: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}


class ContainerView(ListedContainer):
    """What the engine says of one container when asked for it."""

    exit_code: int = 0
    restarts: int = 0
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    #: container port -> (host address, host port)
    published: Mapping[int, tuple[str, int]] = {}


class ProbeResult(Value):
    """One answer to one probe. `http_status` is set when something spoke HTTP at all."""

    ok: bool
    http_status: int | None = None
    latency_ms: float | None = None
    reason: str | None = None


class ServiceHealth(Value):
    """One service at one moment, as every door shows it."""

    name: str
    state: ServiceState
    critical: bool
    http_status: int | None = None
    latency_ms: float | None = None
    restarts: int = 0
    since: AwareDatetime | None = None
    reason: str | None = None

    @property
    def healthy(self) -> bool:
        return self.state is ServiceState.HEALTHY


def judge_service(
    name: str, critical: bool, container: ContainerView | None, probe: ProbeResult | None, one_shot: bool = False
) -> ServiceHealth:
    """One service's state from what the engine says and what the probe answered.

    A probe outranks Docker's healthcheck: it is newer. A service without either is healthy while it runs.
    """
    if container is None:
        return ServiceHealth(name=name, state=ServiceState.MISSING, critical=critical, reason="no container")
    facts: dict[str, Any] = {
        "name": name,
        "critical": critical,
        "restarts": container.restarts,
        "since": container.started_at,
        "http_status": probe.http_status if probe else None,
        "latency_ms": probe.latency_ms if probe else None,
    }
    if container.status == "restarting":
        return ServiceHealth(
            state=ServiceState.RESTARTING, reason=f"restarting after exit code {container.exit_code}", **facts
        )
    if container.status != "running":
        if one_shot and container.status == "exited" and container.exit_code == 0:
            return ServiceHealth(state=ServiceState.HEALTHY, reason="finished, as a one-shot service should", **facts)
        facts["since"] = container.finished_at or container.started_at
        return ServiceHealth(
            state=ServiceState.EXITED, reason=f"{container.status}, exit code {container.exit_code}", **facts
        )
    if probe is not None:
        if probe.ok:
            return ServiceHealth(state=ServiceState.HEALTHY, **facts)
        state = ServiceState.STARTING if container.health == "starting" else ServiceState.UNHEALTHY
        return ServiceHealth(state=state, reason=probe.reason, **facts)
    match container.health:
        case "unhealthy":
            return ServiceHealth(state=ServiceState.UNHEALTHY, reason="Docker's healthcheck fails", **facts)
        case "starting":
            return ServiceHealth(state=ServiceState.STARTING, reason="Docker's healthcheck has not passed yet", **facts)
        case _:
            return ServiceHealth(state=ServiceState.HEALTHY, **facts)


def ring_state(services: Iterable[ServiceHealth]) -> Literal["healthy", "degraded", "unhealthy", "down"]:
    """The ring in one word: unhealthy when a critical service is, degraded when only others are."""
    seen = list(services)
    if all(s.state is ServiceState.MISSING for s in seen):
        return "down"
    if any(s.critical and not s.healthy for s in seen):
        return "unhealthy"
    return "healthy" if all(s.healthy for s in seen) else "degraded"


class Window(Value):
    """Consecutive looks at a ring after a switch, folded one by one with `seen`.

    A release is `proven` after `needed` looks in a row with every service healthy and no restart in
    between; it is `condemned` at once when a container was restarted `crash_limit` times since the switch.
    """

    needed: int
    crash_limit: int = 3
    passes: int = 0
    restarts: Mapping[str, int] = {}
    first_restarts: Mapping[str, int] = {}

    def seen(self, services: Iterable[ServiceHealth]) -> Window:
        looked = list(services)
        restarts = {s.name: s.restarts for s in looked}
        steady = all(restarts[name] == before for name, before in self.restarts.items() if name in restarts)
        good = all(s.healthy for s in looked) and bool(looked)
        return self.model_copy(
            update={
                "passes": (self.passes + 1 if steady else 1) if good else 0,
                "restarts": restarts,
                "first_restarts": self.first_restarts or restarts,
            }
        )

    @property
    def proven(self) -> bool:
        return self.passes >= self.needed

    @property
    def crash_looping(self) -> tuple[str, ...]:
        return tuple(
            name
            for name, count in sorted(self.restarts.items())
            if count - self.first_restarts.get(name, 0) >= self.crash_limit
        )
