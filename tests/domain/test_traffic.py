"""The verdict of the edge's counters: what is bad, what is chance, and what proves nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.settings import TrafficRule
from aither_rings_mcp.domain.slots import Traffic
from aither_rings_mcp.domain.traffic import Judged, Meter, Verdict, since

RULE = TrafficRule()
CALM = Traffic(requests=1000, errors=0, latency_ms=10)


def judged(*looks: tuple[float, int, int], baseline: Traffic = CALM, latency_ms: float = 10) -> Judged:
    """The verdict after looks at (second, requests, errors), counted from nothing at second 0."""
    meter = Meter.started(0, Traffic())
    for at, requests, errors in looks:
        traffic = Traffic(requests=requests, errors=errors, latency_ms=latency_ms)
        meter = meter.seen(at, traffic, RULE)
    return meter.judged(RULE, baseline)


def test_half_of_the_answers_failing_is_seen_at_the_first_look_with_enough_of_them() -> None:
    found = judged((0.5, 20, 10))
    assert found.verdict is Verdict.BAD
    assert found.reason == "10 of 20 answers were errors (50%; 0.0% before)"


@pytest.mark.parametrize("requests", [0, 1, 19])
def test_few_requests_prove_nothing_even_if_all_fail(requests: int) -> None:
    assert judged((0.5, requests, requests)).verdict is Verdict.UNKNOWN


def test_a_trickle_adds_up_over_the_whole_time() -> None:
    trickle = [(float(second), second, second // 2) for second in range(1, 41)]
    assert judged(*trickle[:10]).verdict is Verdict.UNKNOWN
    assert judged(*trickle).verdict is Verdict.BAD


def test_what_the_release_before_did_too_is_not_the_new_ones_fault() -> None:
    ill = Traffic(requests=1000, errors=300, latency_ms=10)
    assert judged((1, 100, 35), baseline=ill).verdict is Verdict.GOOD
    assert judged((1, 100, 95), baseline=ill).verdict is Verdict.BAD


def test_a_baseline_of_a_few_answers_counts_for_none() -> None:
    found = judged((1, 100, 35), baseline=Traffic(requests=2, errors=2))
    assert found.verdict is Verdict.BAD
    assert "nothing to compare with" in str(found.reason)


def test_chance_condemns_nobody() -> None:
    """At the allowed share, a window of twenty often has two or three errors."""
    assert judged((1, 20, 4)).verdict is Verdict.GOOD
    assert judged((1, 20, 5)).verdict is Verdict.BAD


def test_old_good_answers_do_not_hide_that_it_is_bad_now() -> None:
    long_good = [(float(second), 1000 * second, 0) for second in range(1, 61)]
    assert judged(*long_good, (60.5, 60100, 50)).verdict is Verdict.GOOD, "50 in 5000 of the window: one percent"
    assert judged(*long_good, (66, 60200, 100)).verdict is Verdict.BAD


def test_much_slower_than_before_is_bad_and_a_little_is_not() -> None:
    slow = Traffic(requests=1000, latency_ms=200)
    assert judged((1, 100, 0), latency_ms=999, baseline=slow).verdict is Verdict.GOOD
    assert judged((1, 100, 0), latency_ms=1001, baseline=slow).verdict is Verdict.BAD
    assert judged((1, 100, 0), latency_ms=400).verdict is Verdict.GOOD, "forty times 10 ms is still fast"


def test_an_edge_that_starts_anew_counts_on() -> None:
    found = judged((1, 100, 0), (2, 30, 30))
    assert found.verdict is Verdict.BAD
    assert found.requests == 130
    assert since(Traffic(requests=100, errors=3), Traffic(requests=30, errors=1)) == Traffic(requests=30, errors=1)


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1)), min_size=1, max_size=60))
def test_counters_that_only_grow_are_counted_whole_however_often_one_looks(steps: list[tuple[int, float]]) -> None:
    meter, requests, errors = Meter.started(0, Traffic()), 0, 0
    for number, (more, share) in enumerate(steps, 1):
        requests, errors = requests + more, errors + round(more * share)
        meter = meter.seen(number * 0.5, Traffic(requests=requests, errors=errors), RULE)
    assert meter.requests == requests
    assert len(meter.looks) <= 2 + RULE.window / 0.5 + 1
