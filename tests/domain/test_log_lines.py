"""A log's lines: their own times, and whose words they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aither_rings_mcp.domain.log_lines import is_quoted, quoted, seconds_into, unstamped

BEGAN = datetime(2026, 1, 2, 23, 59, 50, 900000, tzinfo=UTC)


@pytest.mark.parametrize(
    "line", ["#5 [web internal] load", " Container shop-web-1  Started", "-> done", "gate x: passed", ""]
)
def test_what_another_program_wrote_is_told_apart_whatever_it_says(line: str) -> None:
    assert is_quoted(quoted("compose", line).rstrip())
    assert not is_quoted(line)


def test_a_line_tells_its_own_time_also_past_midnight_and_otherwise_it_is_now() -> None:
    now = BEGAN + timedelta(hours=2)
    assert seconds_into("23:59:50 -> building", BEGAN, now) == 0
    assert seconds_into("00:00:05 -> switching", BEGAN, now) == 15
    assert seconds_into("still building", BEGAN, now) == 7200


def test_only_a_stamp_is_taken_off() -> None:
    assert unstamped("12:00:01   compose | 12:00:01 x") == "  compose | 12:00:01 x"
    assert unstamped("still building") == "still building"
