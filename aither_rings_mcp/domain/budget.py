"""What agents may still do: so many changes an hour, a pause after each promotion that went back, and a breaker.

People are never held up, the monitor is no agent, and going back is never refused; an agent's rollback counts, though.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime

from aither_rings_mcp.domain.model import Actor, Event
from aither_rings_mcp.domain.settings import Agents, RingKind, Settings
from aither_rings_mcp.domain.value import Value

HOUR = timedelta(hours=1)
#: More than this doubles any cool-down beyond its limit.
_DOUBLINGS = 30


class Verdict(StrEnum):
    """What became of a promotion."""

    STAYED = "stayed"
    WENT_BACK = "went_back"


class Change(Value):
    """One change of a ring: `mine` if who asks now asked for it. Of a rollback, and while it goes on, no verdict."""

    operation: str
    ring: str
    mine: bool
    began: AwareDatetime
    ended: AwareDatetime | None = None
    release: str | None = None
    verdict: Verdict | None = None


class Refusal(Value):
    """Why an agent has to wait. `retry_at`: asked again then, it passes; None: time alone changes nothing.

    `limit` and `used` are changes (budget), promotions that went back in a row (breaker); for a cool-down, its seconds
    and the promotions in a row that made it so long.
    """

    reason_code: Literal["budget", "cooldown", "breaker"]
    limit: int
    used: int
    retry_at: AwareDatetime | None = None


def guarded(settings: Settings) -> frozenset[str]:
    """The rings whose changes count: what users meet, so not where the working tree is built."""
    return frozenset(name for name, ring in settings.rings.items() if ring.kind is RingKind.RUNTIME and not ring.build)


def changes_told(events: Sequence[Event], rings: Collection[str], actor: Actor, settle: float) -> tuple[Change, ...]:
    """The changes of `rings` that `events` tell, oldest first as they are.

    A release that was taken back while it settled (`settle` seconds), or at any time by the monitor, did not stay.
    What was blocked, failed before its effect or was cancelled changed nothing.
    """
    changes: list[Change] = []
    newest: dict[str, int] = {}
    for event in events:
        if event.ring not in rings or event.event not in {"promote", "rollback"}:
            continue
        promoted = event.event == "promote"
        if event.outcome in {"rolled_back", "stuck"}:
            verdict = Verdict.WENT_BACK if promoted else None
        elif promoted and event.outcome in {"promoted", "unhealthy"}:
            verdict = Verdict.STAYED if event.outcome == "promoted" else None
        else:
            continue
        change = Change(
            operation=event.operation,
            ring=event.ring,
            mine=actor.told_as(event.actor),
            began=event.at - timedelta(seconds=event.duration_s or 0.0),
            ended=event.at,
            release=event.to,
            verdict=verdict,
        )
        before = newest.pop(event.ring, None)
        if promoted:
            newest[event.ring] = len(changes)
        elif before is not None and _took_back(event, change, changes[before], settle):
            taken = {"verdict": Verdict.WENT_BACK, "ended": event.at}
            changes[before] = changes[before].model_copy(update=taken)
        changes.append(change)
    return tuple(changes)


def refusal(actor: Actor, ring: str, changes: Sequence[Change], rule: Agents, now: datetime) -> Refusal | None:
    """Why `actor` may not promote into `ring` now; None: it may. Of several reasons, the one that lasts longest."""
    if actor.kind != "agent":
        return None
    in_a_row = _went_back([change for change in changes if change.ring == ring])
    if len(in_a_row) >= rule.breaker:
        return Refusal(reason_code="breaker", limit=rule.breaker, used=len(in_a_row))
    mine = [change for change in changes if change.mine]
    found = [one for one in (_spent(mine, rule, now), _cooling(mine, rule, now)) if one]
    return max(found, key=lambda one: one.retry_at or now, default=None)


def left(changes: Sequence[Change], rule: Agents, now: datetime) -> int:
    """How many more changes whoever asks may make in this hour."""
    made = sum(change.mine and change.began > now - HOUR for change in changes)
    return max(0, rule.changes_per_hour - made)


def told_enough(ring: str, changes: Sequence[Change], since: datetime, rule: Agents, now: datetime) -> bool:
    """Whether nothing from before `since` can make a difference to `refusal`."""
    if since > now - max(HOUR, timedelta(seconds=rule.cooldown_max)):
        return False
    here = [change for change in changes if change.ring == ring]
    if not _stayed(here) and len(_went_back(here)) < rule.breaker:
        return False
    mine = [change for change in changes if change.mine]
    hot = now - timedelta(seconds=rule.cooldown_max)
    return _stayed(mine) or not any((change.ended or now) > hot for change in _went_back(mine))


def _spent(mine: Sequence[Change], rule: Agents, now: datetime) -> Refusal | None:
    began = sorted((change.began for change in mine if change.began > now - HOUR), reverse=True)
    if len(began) < rule.changes_per_hour:
        return None
    retry_at = began[rule.changes_per_hour - 1] + HOUR
    return Refusal(reason_code="budget", limit=rule.changes_per_hour, used=len(began), retry_at=retry_at)


def _cooling(mine: Sequence[Change], rule: Agents, now: datetime) -> Refusal | None:
    row = _went_back(mine)
    if not row:
        return None
    wait = min(rule.cooldown * 2.0 ** min(len(row) - 1, _DOUBLINGS), rule.cooldown_max)
    until = max(change.ended or now for change in row) + timedelta(seconds=wait)
    if now >= until:
        return None
    return Refusal(reason_code="cooldown", limit=round(wait), used=len(row), retry_at=until)


def _went_back(changes: Sequence[Change]) -> list[Change]:
    """The promotions that went back since the last one that stayed."""
    row: list[Change] = []
    for change in changes:
        if change.verdict is Verdict.STAYED:
            row.clear()
        elif change.verdict is Verdict.WENT_BACK:
            row.append(change)
    return row


def _stayed(changes: Sequence[Change]) -> bool:
    return any(change.verdict is Verdict.STAYED for change in changes)


def _took_back(event: Event, rollback: Change, promotion: Change, settle: float) -> bool:
    if promotion.verdict is not Verdict.STAYED or event.from_ != promotion.release or promotion.ended is None:
        return False
    by_monitor = event.actor.rpartition(" (")[2].startswith("monitor via ")
    return by_monitor or rollback.began - promotion.ended <= timedelta(seconds=settle)
