"""Freezes: whether nothing new may come into a ring now, who says so, and until when.

They stop promotions and deploys. Going back, healing, starting and stopping are never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime

from aither_rings_mcp.domain.cron import last_due
from aither_rings_mcp.domain.errors import RingFrozen
from aither_rings_mcp.domain.model import Actor, Override, RingRecord
from aither_rings_mcp.domain.settings import FreezeWindow
from aither_rings_mcp.domain.value import Value


class Freeze(Value):
    """What keeps new releases out of a ring right now."""

    kind: Literal["by_hand", "window"]
    by: str
    reason: str
    since: AwareDatetime
    until: AwareDatetime | None = None

    def __str__(self) -> str:
        until = f"until {_when(self.until)}" if self.until else "until somebody thaws it"
        return f"by {self.by} since {_when(self.since)}, {until}: {self.reason}"


def freeze_of(record: RingRecord, windows: Sequence[FreezeWindow], now: datetime) -> Freeze | None:
    """The freeze that holds `now`: of several, the one that a person set by hand, else the window that closes last."""
    frozen = record.frozen
    if frozen and (frozen.until is None or now < frozen.until):
        return Freeze(kind="by_hand", by=frozen.by, reason=frozen.reason, since=frozen.since, until=frozen.until)
    found = [freeze for window in windows if (freeze := _open(window, now))]
    return max(found, key=lambda freeze: freeze.until or now, default=None)


def check_not_frozen(
    freeze: Freeze | None, ring: str, actor: Actor, override: Override | None = None, source: str | None = None
) -> None:
    """Refuses what would bring something new into a frozen ring: a promotion from `source`, or a deploy.

    An override passes: it is on the record.
    """
    if freeze is None or override:
        return
    raise RingFrozen(
        f"{ring} is frozen {freeze}",
        _next_step(freeze, ring, actor, source),
        ring=ring,
        freeze=freeze.kind,
        by=freeze.by,
        reason=freeze.reason,
        since=freeze.since.isoformat(),
        **({"until": freeze.until.isoformat()} if freeze.until else {}),
    )


def warning(freeze: Freeze, ring: str) -> str:
    """What a plan says of it."""
    return f"{ring} is frozen {freeze}; until then it takes no promotion"


def _next_step(freeze: Freeze, ring: str, actor: Actor, source: str | None) -> str:
    ways = [f"wait until {_when(freeze.until)}"] if freeze.until else []
    # No agent is told how to go past what people said; whom to ask, it is.
    thaw = f"`ring-ctl thaw {ring}`" if freeze.kind == "by_hand" else ""
    if actor.automatic:
        ways.append(f"ask a person, who can {thaw}" if thaw else "ask a person")
    else:
        forced = f"`ring-ctl promote {source} {ring} --force --reason TEXT`" if source else ""
        ways += [way for way in (thaw, forced) if way]
    said = ", or ".join(ways)
    return f"{said[0].upper()}{said[1:]}. A freeze stops no rollback."


def _open(window: FreezeWindow, now: datetime) -> Freeze | None:
    since = last_due(window.cron, window.timezone, now)
    if since is None or (until := since + timedelta(seconds=window.lasts)) <= now:
        return None
    by = f"its freeze window ({window.cron}, {window.timezone})"
    return Freeze(kind="window", by=by, reason=window.reason, since=since, until=until)


def _when(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
