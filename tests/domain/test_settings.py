"""Durations and shares as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aither_rings_mcp.domain.settings import Duration, Limits, Share

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
SHARE: TypeAdapter[float] = TypeAdapter(Share)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("90s", 90), ("2m", 120), ("1.5h", 5400), ("7d", 604800), (" 3 s ", 3), (30, 30), (0.25, 0.25)],
)
def test_a_duration_is_seconds_once_read(written: object, seconds: float) -> None:
    assert DURATION.validate_python(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "s", "5", "5 seconds", "-5s", "0s", "1e3s", "5S", "٣s", 0, -1, float("inf"), float("nan"), None]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(written)


@pytest.mark.parametrize(
    ("written", "share"), [("50%", 0.5), ("33.3%", 0.333), (0.5, 0.5), (0, 0), (1, 1), ("100%", 1)]
)
def test_a_share_is_a_part_of_one_once_read(written: object, share: float) -> None:
    assert SHARE.validate_python(written) == pytest.approx(share)


@pytest.mark.parametrize("written", ["101%", "-1%", 50, "half%", "%", "nan%", float("nan"), None])
def test_what_is_no_share_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        SHARE.validate_python(written)


@given(st.floats(0.001, 1e6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_limit_has_an_end(number: float, unit: str) -> None:
    seconds = DURATION.validate_python(f"{number:.3f}{unit}")
    assert 0 < seconds < float("inf")
    assert Limits(up=seconds).up == seconds
