"""The verdict of the edge's counters: what is bad, what is chance, and what proves nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.settings import TrafficRule
from aither_rings_mcp.domain.slots import Pace, Traffic
from aither_rings_mcp.domain.traffic import AVERAGED, Judged, Meter, Verdict, since

RULE = TrafficRule()


def steady(requests: int, errors: int = 0, ms: float = 10) -> Traffic:
    """All answers of one service, each in the same time."""
    return Traffic(requests=requests, errors=errors, paces={"web": Pace(answers=requests, mean_ms=ms)})


CALM = steady(1000)


def judged(*looks: tuple[float, int, int], baseline: Traffic = CALM, latency_ms: float = 10) -> Judged:
    """The verdict after looks at (second, requests, errors), counted from nothing at second 0."""
    meter = Meter.started(0, Traffic())
    for at, requests, errors in looks:
        meter = meter.seen(at, steady(requests, errors, latency_ms), RULE)
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
    ill = steady(1000, errors=300)
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
    slow = steady(1000, ms=200)
    assert judged((1, 100, 0), latency_ms=999, baseline=slow).verdict is Verdict.GOOD
    assert judged((1, 100, 0), latency_ms=1001, baseline=slow).verdict is Verdict.BAD
    assert judged((1, 100, 0), latency_ms=400).verdict is Verdict.GOOD, "forty times 10 ms is still fast"


def averaged(*answers: int) -> Traffic:
    """What HAProxy counts and averages of a service's answers, each given by its milliseconds: `swrate_add_dynamic`."""
    total = 0
    for number, ms in enumerate(answers, 1):
        total += ms - (-(-total // AVERAGED) if number > AVERAGED else 0)
    mean = -(-total // min(len(answers), AVERAGED)) if answers else 0
    return Traffic(requests=len(answers), paces={"web": Pace(answers=len(answers), mean_ms=mean)})


def after(before: list[int], now: list[int]) -> Judged:
    """The verdict of a release whose slot gave other answers before it came."""
    return Meter.started(0, averaged(*before)).seen(1, averaged(*before, *now), RULE).judged(RULE, CALM)


@pytest.mark.parametrize("answers", [20, 40, 150, 600, 3000])
def test_how_slow_an_earlier_release_was_in_the_same_slot_is_not_held_against_a_fast_one(answers: int) -> None:
    assert after([3000] * 600, [10] * answers).verdict is Verdict.GOOD
    assert after([30_000] * 40, [10] * answers).verdict is Verdict.GOOD


def test_a_slow_release_is_seen_in_a_slot_whose_answers_were_fast_before() -> None:
    found = after([10] * 5000, [3000] * 200)
    assert found.verdict is Verdict.BAD
    assert "ms (10 ms before)" in str(found.reason)
    assert after([], [3000] * 20).verdict is Verdict.BAD, "nobody had answered there yet"


def test_a_few_answers_in_a_mean_of_others_tell_nothing_of_their_pace() -> None:
    assert since(averaged(*[10] * 5000), averaged(*[10] * 5000, *[3000] * 100)).paces == {}


@given(st.integers(0, 2000), st.integers(0, 20_000), st.integers(1, 2000), st.integers(0, 20_000))
def test_the_pace_between_two_looks_is_that_of_the_answers_between_them(n: int, was: int, m: int, ms: int) -> None:
    pace = since(averaged(*[was] * n), averaged(*[was] * n, *[ms] * m)).paces.get("web")
    assert pace is None or (pace.answers == m and abs(pace.mean_ms - ms) < 15)
    assert pace is not None or 3 * m < n


def test_a_service_is_compared_with_itself_whatever_else_is_asked() -> None:
    baseline = Traffic(
        requests=1000, paces={"api": Pace(answers=100, mean_ms=2000), "web": Pace(answers=900, mean_ms=10)}
    )
    now = Traffic(requests=100, paces={"api": Pace(answers=100, mean_ms=2500)})
    assert Meter.started(0, Traffic()).seen(1, now, RULE).judged(RULE, baseline).verdict is Verdict.GOOD


def test_what_nobody_knows_the_beginning_of_is_no_measure() -> None:
    assert since(None, steady(1000, errors=300)) == Traffic()


def test_counters_that_an_older_version_wrote_down_are_read_and_judge_no_pace() -> None:
    old = Traffic.model_validate({"requests": 100, "errors": 1, "latency_ms": 4000.0, "open": 0})
    assert since(old, steady(200, errors=3)) == Traffic(requests=100, errors=2)


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
