"""Cron expressions on the clock of a place: whether one is sound, and when it was due last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

#: More than any place ever set its clocks back.
_SET_BACK = timedelta(hours=3)


def checked_cron(expression: str) -> str:
    """The expression, or ValueError with what is wrong with it."""
    # Imported where it is used: most installations have no freeze windows.
    from cronsim import CronSim, CronSimError

    how = 'write five fields, minute hour day month weekday, such as "0 17 * * fri"'
    if len(expression.split()) != 5:
        raise ValueError(how)
    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()}: {how}") from None
    return expression


def checked_zone(name: str) -> str:
    """The name of a time zone that this machine knows, or ValueError with the closest one."""
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):
        close = get_close_matches(name, available_timezones(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else "; write one such as Europe/Berlin"
        raise ValueError(f"there is no time zone {name!r} on this machine{hint}") from None
    return name


def last_due(expression: str, timezone: str, now: datetime) -> datetime | None:
    """When the expression was due last, at `now` or before, in UTC; None for one that never is.

    What falls into the hour that a clock skips is due when that hour is over; what falls into the one it has twice, at
    the first of them.
    """
    from cronsim import CronSim

    # Looked for from a little later on: backwards over the hour that comes twice, cronsim would miss its first.
    after = (now + _SET_BACK).astimezone(_zone(timezone))
    for due in CronSim(expression, after, reverse=True):
        if (found := due.astimezone(UTC)) <= now:
            return found
    return None


def _zone(name: str) -> tzinfo:
    # What every machine knows, also one without a time zone database.
    return UTC if name == "UTC" else ZoneInfo(name)
