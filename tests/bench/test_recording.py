"""What the benchmarks say about a recording, for recordings made up here."""

from __future__ import annotations

import pytest

from benchmarks.recording import Answer, first_bad_minute, last_answer_of, summarize, timeline


def answers(*told: tuple[float, str, str]) -> list[Answer]:
    """(end, status, release) of requests that took 10 ms each."""
    return [Answer(end - 0.01, end, status, release) for end, status, release in told]


STEADY = [(at / 10, "200", "old") for at in range(1, 11)]


def test_nothing_failed_and_nothing_was_bad_where_all_answered() -> None:
    told = summarize(answers(*STEADY))
    assert (told.requests, told.failed, told.by_bad_release) == (10, 0, 0)
    assert (told.bad_for_s, told.restored) == (None, True)
    assert told.longest_gap_s == pytest.approx(0.1)


def test_the_longest_gap_is_between_good_answers_however_many_failed_in_it() -> None:
    outage = [(1.0 + at / 10, "ConnectionRefusedError", "") for at in range(1, 21)]
    told = summarize(answers(*STEADY, *outage, (3.4, "200", "new")))
    assert (told.requests, told.failed, told.failed_share) == (31, 20, pytest.approx(20 / 31))
    assert told.longest_gap_s == pytest.approx(2.4)
    assert told.bad_for_s == pytest.approx(3.4 - 1.1)


def test_a_front_that_is_gone_is_a_gap_though_the_others_answer() -> None:
    veil = [Answer(at / 10 - 0.01, at / 10, "200", "old", "veil") for at in range(1, 31)]
    node = [Answer(at - 0.01, at, status, "", "node") for at, status in ((0.1, "200"), (1.0, "503"), (2.6, "200"))]
    told = summarize([*veil, *node])
    assert (told.failed, told.longest_gap_s) == (1, pytest.approx(2.5))


def test_an_outage_to_the_end_is_a_gap_and_is_not_restored() -> None:
    told = summarize(answers(*STEADY, (2.0, "500", ""), (4.0, "500", "")))
    assert told.longest_gap_s == pytest.approx(3.0)
    assert (told.bad_for_s, told.restored) == (None, False)


def test_a_well_meant_answer_of_the_bad_release_is_a_bad_one() -> None:
    recorded = answers(*STEADY, (1.2, "200", "bad"), (1.3, "500", ""), (1.4, "200", "bad"), (1.6, "200", "old"))
    told = summarize(recorded, bad_release="bad")
    assert (told.failed, told.by_bad_release) == (1, 2)
    assert told.bad_share == pytest.approx(3 / 14)
    assert told.bad_for_s == pytest.approx(1.6 - 1.2)
    assert last_answer_of(recorded, "bad") == pytest.approx(1.4)
    assert last_answer_of(recorded, "never seen") is None


def test_the_order_of_the_clients_does_not_matter() -> None:
    recorded = answers(*STEADY, (1.2, "500", ""), (1.5, "200", "old"))
    assert summarize(recorded[::-1]) == summarize(recorded)


def test_a_timeline_has_a_place_for_every_tenth_of_a_second() -> None:
    recorded = answers((9.95, "200", "old"), (10.05, "200", "bad"), (10.06, "500", ""), (10.25, "200", "old"))
    assert timeline(recorded, zero=10.0, bad_release="bad") == [
        (-0.1, 1, 0, 0),
        (0.0, 0, 1, 1),
        (0.1, 0, 0, 0),
        (0.2, 1, 0, 0),
    ]


def test_the_bad_minute_begins_with_the_first_failure() -> None:
    recorded = answers((1, "200", "old"), (2, "500", ""), (61, "200", "old"), (62.5, "500", ""))
    assert [answer.end for answer in first_bad_minute(recorded)] == [2, 61]
    assert first_bad_minute(answers(*STEADY)) == []


def test_an_empty_recording_says_so() -> None:
    assert (summarize([]).requests, summarize([]).longest_gap_s, timeline([], 0.0)) == (0, 0.0, [])
