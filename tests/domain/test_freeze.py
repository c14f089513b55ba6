"""When a ring is frozen: by a person, or by a window on the clock of a place, also while that clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aither_rings_mcp.domain.cron import last_due
from aither_rings_mcp.domain.errors import RingFrozen
from aither_rings_mcp.domain.freeze import Freeze, check_not_frozen, freeze_of
from aither_rings_mcp.domain.model import Actor, Frozen, Override, RingRecord
from aither_rings_mcp.domain.settings import FreezeWindow

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ANN, BOT = Actor(name="ann"), Actor(name="bot", kind="agent", door="mcp")


def window(cron: str, lasts: str, timezone: str = "Europe/Berlin", reason: str = "weekend") -> FreezeWindow:
    return FreezeWindow.model_validate({"cron": cron, "for": lasts, "reason": reason, "timezone": timezone})


def held(found: FreezeWindow, at: datetime) -> bool:
    return freeze_of(RingRecord(), [found], at) is not None


WEEKEND = window("0 17 * * fri", "62h")


@pytest.mark.parametrize(
    ("at", "frozen"),
    [
        ("2026-01-30T16:59:59+01:00", False),
        ("2026-01-30T17:00:00+01:00", True),
        ("2026-02-02T06:59:59+01:00", True),
        ("2026-02-02T07:00:00+01:00", False),
    ],
)
def test_a_window_opens_by_the_clock_of_its_place_and_closes_when_its_time_is_over(at: str, frozen: bool) -> None:
    assert held(WEEKEND, datetime.fromisoformat(at)) is frozen
    assert held(WEEKEND, datetime.fromisoformat(at).astimezone(UTC)) is frozen


@pytest.mark.parametrize(
    ("opens", "last_second"),
    [
        # clocks go forward on Sunday, 29 March: 62 hours after Friday 17:00 it is Monday 08:00
        ("2026-03-27T17:00:00+01:00", "2026-03-30T07:59:59+02:00"),
        # and back on Sunday, 25 October: Monday 06:00
        ("2026-10-23T17:00:00+02:00", "2026-10-26T05:59:59+01:00"),
    ],
)
def test_a_window_lasts_as_long_as_it_says_when_the_clocks_change_in_it(opens: str, last_second: str) -> None:
    begin, end = datetime.fromisoformat(opens), datetime.fromisoformat(last_second)
    second = timedelta(seconds=1)
    assert [held(WEEKEND, at) for at in (begin - second, begin, end, end + second)] == [False, True, True, False]


def test_a_window_in_the_hour_that_is_skipped_opens_when_that_hour_is_over() -> None:
    night = window("30 2 * * *", "10m")
    assert not held(night, datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC))
    assert held(night, datetime(2026, 3, 29, 1, 0, tzinfo=UTC)), "03:00 in Berlin, a second after 01:59:59"


def test_a_window_in_the_hour_that_comes_twice_opens_at_the_first() -> None:
    night = window("30 2 * * *", "90m")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert not held(night, first - timedelta(seconds=1))
    # 02:10 comes again 40 minutes later
    assert held(night, first + timedelta(minutes=40))
    assert held(night, first + timedelta(minutes=89))
    assert not held(night, first + timedelta(minutes=90)), "not again at the second 02:30"


CRONS = ["0 17 * * fri", "30 2 * * *", "*/20 * * * *", "0 */6 * * *", "15 3 1 * *", "0 0 29 2 *", "0 9 * * mon-fri"]


@given(
    cron=st.sampled_from(CRONS),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    now=st.datetimes(datetime(2024, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC)),
)
def test_what_was_due_last_is_the_last_that_was_due(cron: str, timezone: str, now: datetime) -> None:
    """Found backwards, it is what counting forwards from long before finds."""
    found = last_due(cron, timezone, now)
    assert found is not None
    assert found <= now
    following = next(CronSim(cron, found.astimezone(ZoneInfo(timezone))))
    assert following.astimezone(UTC) > now


def test_of_several_freezes_the_one_by_hand_is_told_then_the_one_that_lasts_longest() -> None:
    short, long = window("0 12 * * *", "1h", "UTC", "lunch"), window("0 11 * * *", "8h", "UTC", "audit")
    found = freeze_of(RingRecord(), [short, long], NOW)
    assert found
    assert (found.reason, found.until) == ("audit", NOW + timedelta(hours=7))
    record = RingRecord(frozen=Frozen(by="ann", reason="fire drill", since=NOW))
    assert str(freeze_of(record, [short, long], NOW)).startswith("by ann since")


def test_a_freeze_by_hand_ends_by_itself_at_its_time() -> None:
    record = RingRecord(frozen=Frozen(by="ann", reason="move", since=NOW, until=NOW + timedelta(hours=2)))
    assert freeze_of(record, [], NOW + timedelta(hours=2) - timedelta(seconds=1))
    assert freeze_of(record, [], NOW + timedelta(hours=2)) is None


def test_a_record_from_before_there_were_freezes_is_not_frozen() -> None:
    assert freeze_of(RingRecord.model_validate({"tag": "prod-1"}), [], NOW) is None


BY_HAND = Freeze(kind="by_hand", by="ann (person via cli)", reason="stock-taking", since=NOW)
WINDOW = Freeze(kind="window", by="its freeze window (x)", reason="weekend", since=NOW, until=NOW + timedelta(hours=1))


@pytest.mark.promise(17)
@pytest.mark.parametrize(
    ("freeze", "actor", "source", "next_step"),
    [
        (BY_HAND, ANN, "staging", "`ring-ctl thaw prod`, or `ring-ctl promote staging prod --force --reason TEXT`."),
        (BY_HAND, ANN, None, "`ring-ctl thaw prod`."),
        (BY_HAND, BOT, "staging", "Ask a person, who can `ring-ctl thaw prod`."),
        (WINDOW, ANN, "staging", "Wait until 2026-01-31 13:00:00Z, or `ring-ctl promote staging prod --force --reason"),
        (WINDOW, ANN, None, "Wait until 2026-01-31 13:00:00Z."),
        (WINDOW, BOT, "staging", "Wait until 2026-01-31 13:00:00Z, or ask a person."),
    ],
)
def test_the_refusal_says_who_why_until_when_and_what_helps(
    freeze: Freeze, actor: Actor, source: str | None, next_step: str
) -> None:
    with pytest.raises(RingFrozen) as caught:
        check_not_frozen(freeze, "prod", actor, None, source)
    error = caught.value
    assert freeze.by in error.message
    assert error.message.endswith(f": {freeze.reason}")
    assert error.next_step.startswith(next_step)
    assert ("until" in error.details) is (freeze.until is not None)
    assert actor is ANN or "--force" not in error.next_step, "no agent is told how to go past what people said"


@pytest.mark.promise(14)
def test_an_override_passes_a_freeze() -> None:
    check_not_frozen(BY_HAND, "prod", ANN, Override(by="ann", reason="hotfix"), "staging")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cron": "0 17 * * fry"}, "bad day-of-week"),
        ({"cron": "0 25 * * *"}, "bad hour"),
        ({"cron": "0 0 31 2 *"}, "bad day-of-month"),
        ({"cron": "@weekly"}, "write five fields"),
        ({"cron": "0 0 17 * * fri"}, "write five fields"),
        ({"cron": ""}, "write five fields"),
        ({"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        ({"timezone": "../../etc/passwd"}, "there is no time zone"),
        ({"timezone": ""}, "there is no time zone"),
        ({"timezone": "Europe"}, "there is no time zone"),
        ({"for": "367d"}, "less than or equal"),
    ],
)
def test_a_window_that_can_never_be_meant_is_refused(fields: dict[str, str], said: str) -> None:
    good = {"cron": "0 17 * * fri", "for": "62h", "reason": "weekend"}
    with pytest.raises(ValidationError, match=said):
        FreezeWindow.model_validate({**good, **fields})
