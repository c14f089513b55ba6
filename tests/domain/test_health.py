"""Promise 11: healthy is a window, not a sample."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.health import (
    ContainerView,
    ProbeResult,
    ServiceHealth,
    ServiceState,
    Window,
    judge_service,
    ring_state,
)

STARTED = datetime(2025, 1, 1, tzinfo=UTC)
ENDED = datetime(2025, 1, 2, tzinfo=UTC)
WELL = ProbeResult(ok=True, http_status=200, latency_ms=3.0)
UNWELL = ProbeResult(ok=False, http_status=503, reason="HTTP 503")


def container(status: str = "running", **facts: object) -> ContainerView:
    known = {"id": "c1", "name": "web-1", "service": "web", "project": "p", "image_id": "sha256:1"}
    return ContainerView.model_validate({**known, "status": status, "started_at": STARTED, **facts})


JUDGED = [
    # container, probe, one-shot -> state, part of the reason
    (None, None, False, ServiceState.MISSING, "no container"),
    (None, WELL, True, ServiceState.MISSING, "no container"),
    (container(), WELL, False, ServiceState.HEALTHY, None),
    (container(), UNWELL, False, ServiceState.UNHEALTHY, "HTTP 503"),
    (container(), None, False, ServiceState.HEALTHY, None),
    (container(health="starting"), UNWELL, False, ServiceState.STARTING, "HTTP 503"),
    (container(health="starting"), None, False, ServiceState.STARTING, "has not passed yet"),
    (container(health="unhealthy"), None, False, ServiceState.UNHEALTHY, "healthcheck fails"),
    (container(health="healthy"), None, False, ServiceState.HEALTHY, None),
    # the probe is newer than Docker's healthcheck, both ways
    (container(health="unhealthy"), WELL, False, ServiceState.HEALTHY, None),
    (container(health="healthy"), UNWELL, False, ServiceState.UNHEALTHY, "HTTP 503"),
    # a crash-looper answers between restarts; the container's state outranks the probe
    (container("restarting", exit_code=137), WELL, False, ServiceState.RESTARTING, "exit code 137"),
    (container("exited", exit_code=1), WELL, False, ServiceState.EXITED, "exited, exit code 1"),
    (container("exited", exit_code=0), None, False, ServiceState.EXITED, "exit code 0"),
    (container("exited", exit_code=0), None, True, ServiceState.HEALTHY, "one-shot"),
    (container("exited", exit_code=3), None, True, ServiceState.EXITED, "exit code 3"),
    (container("dead"), None, True, ServiceState.EXITED, "dead"),
    (container("created"), None, False, ServiceState.EXITED, "created"),
    (container("paused"), WELL, False, ServiceState.EXITED, "paused"),
    (container("removing"), None, False, ServiceState.EXITED, "removing"),
]


@pytest.mark.parametrize(("seen", "probe", "one_shot", "state", "reason"), JUDGED)
def test_one_look_at_a_service_is_judged(
    seen: ContainerView | None, probe: ProbeResult | None, one_shot: bool, state: ServiceState, reason: str | None
) -> None:
    judged = judge_service("web", True, seen, probe, one_shot)
    assert judged.state is state
    assert judged.healthy == (state is ServiceState.HEALTHY)
    assert (reason in str(judged.reason)) if reason else judged.reason is None
    assert judged.critical


def test_what_was_measured_is_passed_on() -> None:
    judged = judge_service("web", False, container(restarts=2), WELL)
    assert (judged.http_status, judged.latency_ms, judged.restarts, judged.since) == (200, 3.0, 2, STARTED)


def test_a_stopped_service_is_stopped_since_it_ended() -> None:
    assert judge_service("web", False, container("exited", finished_at=ENDED), None).since == ENDED
    assert judge_service("web", False, container("exited"), None).since == STARTED


def service(
    name: str, state: ServiceState = ServiceState.HEALTHY, critical: bool = False, restarts: int = 0
) -> ServiceHealth:
    return ServiceHealth(name=name, state=state, critical=critical, restarts=restarts)


def test_a_ring_in_one_word() -> None:
    well, sick = service("a"), service("b", ServiceState.UNHEALTHY)
    critical = service("c", ServiceState.STARTING, critical=True)
    gone = service("d", ServiceState.MISSING, critical=True)
    assert ring_state([well, well]) == "healthy"
    assert ring_state([well, sick]) == "degraded"
    assert ring_state([well, critical]) == "unhealthy"
    assert ring_state([well, gone]) == "unhealthy"
    assert ring_state([gone, gone]) == "down"
    assert ring_state([]) == "down"


#: One look: for each of two services, healthy or not and how often restarted.
LOOKS = st.lists(st.tuples(*[st.tuples(st.booleans(), st.integers(0, 2))] * 2), max_size=20)


def looked(look: tuple[tuple[bool, int], ...]) -> list[ServiceHealth]:
    return [
        service(name, ServiceState.HEALTHY if well else ServiceState.UNHEALTHY, restarts=restarts)
        for name, (well, restarts) in zip("ab", look, strict=True)
    ]


@pytest.mark.promise(11)
@given(looks=LOOKS, needed=st.integers(1, 6))
def test_a_release_is_proven_exactly_when_the_last_looks_were_all_healthy_without_a_restart(
    looks: list[tuple[tuple[bool, int], ...]], needed: int
) -> None:
    window = Window(needed=needed)
    for count, look in enumerate(looks, start=1):
        window = window.seen(looked(look))
        last = looks[max(0, count - needed) : count]
        steady = len({tuple(restarts for _, restarts in one) for one in last}) == 1
        healthy = all(well for one in last for well, _ in one)
        assert window.proven == (count >= needed and steady and healthy)


@pytest.mark.promise(11)
@given(looks=st.integers(0, 50), needed=st.integers(2, 5))
def test_flapping_never_proves_anything(looks: int, needed: int) -> None:
    window = Window(needed=needed)
    for number in range(looks):
        window = window.seen(looked(((number % needed != 0, 0), (True, 0))))
        assert not window.proven


@pytest.mark.promise(11)
def test_a_service_that_restarts_between_looks_proves_nothing_although_each_look_is_healthy() -> None:
    window = Window(needed=2)
    for restarts in range(10):
        window = window.seen([service("a", restarts=restarts)])
        assert not window.proven
    assert window.seen([service("a", restarts=9)]).proven


def test_no_services_prove_nothing() -> None:
    window = Window(needed=1)
    assert not window.seen([]).proven
    assert not window.proven


def test_proof_is_lost_by_one_bad_look() -> None:
    window = Window(needed=1).seen([service("a")])
    assert window.proven
    assert not window.seen([service("a", ServiceState.STARTING)]).proven


def test_a_crash_loop_is_counted_from_the_first_look() -> None:
    window = Window(needed=2, crash_limit=3).seen([service("a", restarts=7), service("b")])
    assert window.crash_looping == ()
    assert window.seen([service("a", restarts=9), service("b")]).crash_looping == ()
    assert window.seen([service("a", restarts=10), service("b", restarts=3)]).crash_looping == ("a", "b")


@given(LOOKS)
def test_a_window_is_a_value_and_looking_changes_no_earlier_one(looks: list[tuple[tuple[bool, int], ...]]) -> None:
    windows = [Window(needed=2)]
    for look in looks:
        windows.append(windows[-1].seen(looked(look)))
    assert windows[0] == Window(needed=2)
