"""The monitor's rule: what a window of looks comes to, and that nothing else counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.settings import RollbackRule
from aither_rings_mcp.domain.watch import Call, Judgement, RingWatch, Sample, judge

RULE = RollbackRule()
FAST = RollbackRule.model_validate({"profile": "fast"})
FOUR = ("genesis", "veil", "node", "secrets")


def look(at: float, unhealthy: int = 0, **more: object) -> Sample:
    return Sample.model_validate({"at": at, "critical": 4, "unhealthy": FOUR[:unhealthy], **more})


def every(seconds: float, until: float, unhealthy: int = 0, start: float = 0.0, **more: object) -> list[Sample]:
    count = round((until - start) / seconds) + 1
    return [look(start + number * seconds, unhealthy, **more) for number in range(count)]


@pytest.mark.promise(10, 11)
@pytest.mark.parametrize(
    ("unhealthy", "bad_for", "call"),
    [
        (2, 1000.0, Call.WELL),
        (3, 90.0, Call.SUSPECT),
        (3, 90.1, Call.CONDEMNED),
        (4, 90.1, Call.CONDEMNED),
    ],
    ids=["half is not more than half", "90 s are not more than 90 s", "three of four, 90.1 s", "all of them"],
)
def test_the_articles_rule_to_the_tenth(unhealthy: int, bad_for: float, call: Call) -> None:
    bad = [look(0.0, unhealthy), look(45.0, unhealthy), look(bad_for, unhealthy)]
    assert judge([look(-15.0), *bad], RULE).call is call


@pytest.mark.promise(11)
def test_one_bad_look_condemns_nobody_however_long_ago() -> None:
    assert judge([look(0), look(1, 4)], RULE).call is Call.SUSPECT
    assert judge([look(0), look(1, 4), look(600, 4)], RULE).call is Call.SUSPECT
    assert judge([look(0), look(1, 4), look(300, 4), look(600, 4)], RULE).call is Call.CONDEMNED


@pytest.mark.promise(11)
def test_flapping_does_not_set_the_clock_back() -> None:
    flapping = [look(at, 4 if at % 30 else 0) for at in range(0, 121, 15)]
    assert judge(flapping[:5], RULE).call is Call.SUSPECT
    assert judge([*flapping, look(135, 4)], RULE).call is Call.CONDEMNED


@pytest.mark.promise(11)
def test_a_ring_that_stayed_well_for_long_enough_starts_afresh() -> None:
    ill_once = [*every(15, 60, 4), *every(15, 90, 0, start=75)]
    assert judge([*ill_once], RULE).call is Call.SUSPECT
    assert judge([*ill_once, look(105)], RULE).call is Call.WELL
    assert judge([*ill_once, look(105), look(120, 4)], RULE).bad_for == 0


def test_a_clock_that_runs_out_while_all_is_well_waits_for_the_next_bad_look() -> None:
    ill = every(15, 90, 4)
    assert judge([*ill, look(95)], RULE).call is Call.SUSPECT
    assert judge([*ill, look(95), look(97, 4)], RULE).call is Call.CONDEMNED


@pytest.mark.promise(11)
def test_one_dead_critical_service_does_not_get_ninety_seconds() -> None:
    dead = [look(at, 1, dead=("veil",)) for at in (0, 3, 6, 9, 12)]
    assert judge(dead[:4], RULE).call is Call.SUSPECT
    condemned = judge(dead, RULE)
    assert (condemned.call, condemned.reason) == (Call.CONDEMNED, "critical services exit or restart: veil")


@pytest.mark.promise(11)
def test_a_crash_looper_is_seen_through_its_restart_count_when_every_look_finds_it_running() -> None:
    loops = [look(at, 0, restarts={"veil": at}) for at in range(0, 16, 3)]
    assert judge(loops, RULE).call is Call.CONDEMNED
    steady = [look(at, 0, restarts={"veil": 7}) for at in range(0, 16, 3)]
    assert judge(steady, RULE).call is Call.WELL


@pytest.mark.promise(10)
def test_what_has_an_excuse_is_held_and_does_not_count_afterwards() -> None:
    excused = [look(at, 4, excuse="the backbone is not well: redis") for at in range(0, 181, 15)]
    held = judge(excused, RULE)
    assert (held.call, held.reason) == (Call.HELD, "the backbone is not well: redis")
    # the backbone is back, and the services need a moment to find it
    after = [*excused, look(195, 4), look(198, 4), look(201, 4)]
    assert judge(after, RULE).call is Call.SUSPECT
    assert judge([*after, look(286, 4)], RULE).call is Call.CONDEMNED
    assert judge([*after, *every(15, 240, 0, start=204)], RULE).call is Call.WELL


@pytest.mark.promise(10)
def test_an_excuse_without_any_trouble_is_no_news_of_the_ring() -> None:
    assert judge(every(15, 60, 0, excuse="the engine does not answer"), RULE).call is Call.WELL


def test_the_fast_profile_condemns_one_sick_critical_service_within_seconds() -> None:
    sick = [look(at / 2, 1) for at in range(8)]
    assert judge(sick[:7], FAST).call is Call.SUSPECT
    assert judge(sick, FAST).call is Call.CONDEMNED


def test_only_a_ring_that_was_seen_well_has_gone_bad() -> None:
    well_first, bad_first = RingWatch(), RingWatch()
    for sample in [look(0), look(15, 4), look(18, 4)]:
        well_first = well_first.seen("r-1", sample, RULE)
    for sample in [look(15, 4), look(18, 4)]:
        bad_first = bad_first.seen("r-1", sample, RULE)
    assert (well_first.onset(RULE), bad_first.onset(RULE)) == (15, None)


def test_another_release_starts_afresh() -> None:
    watch = RingWatch()
    for sample in every(15, 90, 4):
        watch = watch.seen("r-1", sample, RULE)
    assert judge(watch.seen("r-2", look(105, 4), RULE).samples, RULE).bad_for == 0


LOOKS = st.lists(
    st.tuples(
        # what binary fractions say exactly: half a thousandth of a second must not come of adding
        st.integers(32, 2560).map(lambda sixtyfourths: sixtyfourths / 64),
        st.integers(0, 4),
        st.booleans(),
        st.sampled_from([None, None, None, "the engine does not answer"]),
    ),
    max_size=40,
)


def samples_of(looks: Sequence[tuple[float, int, bool, str | None]]) -> list[Sample]:
    at, samples = 0.0, []
    for wait, unhealthy, dead, excuse in looks:
        at += wait
        samples.append(look(at, unhealthy, dead=FOUR[:1] if dead else (), excuse=excuse))
    return samples


@given(LOOKS)
@pytest.mark.promise(11)
def test_the_verdict_depends_on_the_window_and_on_nothing_else(
    looks: list[tuple[float, int, bool, str | None]],
) -> None:
    """Not on a restart of the monitor, nor on what it forgot because all was well, nor on when on earth it is."""
    samples, watch = samples_of(looks), RingWatch()
    for number, sample in enumerate(samples, start=1):
        watch = RingWatch.model_validate_json(watch.model_dump_json()).seen("r-1", sample, RULE)
        assert verdict(judge(watch.samples, RULE)) == verdict(judge(samples[:number], RULE))
    later = [sample.model_copy(update={"at": sample.at + 1e6}) for sample in samples]
    assert judge(later, RULE).call is judge(samples, RULE).call


@given(LOOKS)
@pytest.mark.promise(10, 11)
def test_nobody_is_condemned_on_a_good_look_or_with_an_excuse_or_on_fewer_than_three_bad_ones(
    looks: list[tuple[float, int, bool, str | None]],
) -> None:
    samples = samples_of(looks)
    if judge(samples, RULE).call is Call.CONDEMNED:
        latest = samples[-1]
        assert latest.excuse is None
        assert latest.dead or len(latest.unhealthy) > 2
        assert len([s for s in samples if s.excuse is None and (s.dead or len(s.unhealthy) > 2)]) >= RULE.failures


def verdict(judgement: Judgement) -> tuple[Call, float]:
    return judgement.call, round(judgement.bad_for, 6)


def watched(*looks: Sample) -> list[Call]:
    """What each look comes to, one after the other."""
    watch, calls = RingWatch(), list[Call]()
    for one in looks:
        watch = watch.seen("r-1", one, FAST)
        calls.append(judge(watch.samples, FAST).call)
    return calls


DEAD = {"unhealthy": 1, "dead": ("veil",)}


@pytest.mark.promise(10)
def test_what_died_with_the_engine_is_held_until_it_was_seen_up_again() -> None:
    left = look(2, excuse="no engine", engine_left=True)
    felled = [look(at, **DEAD) for at in range(3, 20)]
    assert watched(look(1), left, *felled) == [Call.WELL, Call.WELL, *[Call.HELD] * len(felled)]
    # the engine was back before anybody looked
    assert watched(look(1), look(2, **DEAD, engine_left=True), *felled)[-1] is Call.HELD
    up_again = [look(at) for at in range(20, 27)]
    assert watched(look(1), left, *felled, *up_again)[-1] is Call.WELL
    later = [look(at, **DEAD) for at in range(27, 40)]
    assert watched(look(1), left, *felled, *up_again, *later)[-1] is Call.CONDEMNED


@pytest.mark.promise(10)
def test_an_engine_that_was_away_excuses_nothing_that_was_dead_before_or_dies_later() -> None:
    left = look(5, excuse="no engine", engine_left=True)
    dying = [look(at, **DEAD) for at in (2, 3, 4)]
    after = [look(at, **DEAD) for at in range(6, 20)]
    assert watched(look(1), *dying, left, *after)[-1] is Call.CONDEMNED
    assert watched(look(1), left, look(6), *after[1:])[-1] is Call.CONDEMNED
