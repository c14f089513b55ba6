"""What the answers that users get say of a release, as the edge counts them. Pure: counters in, verdict out."""

from __future__ import annotations

import math
from enum import StrEnum

from aither_rings_mcp.domain.settings import TrafficRule
from aither_rings_mcp.domain.slots import Pace, Traffic
from aither_rings_mcp.domain.value import Value

#: What chance alone makes of a share of errors stays within three standard deviations of it (Poisson).
_SIGMA = 3.0
#: What HAProxy's `rtime` is made of: the plain mean of so many answers, and from then on each further one weighs one
#: part in so many (stream.c, `TIME_STATS_SAMPLES`; its manual says "the 1024 last requests").
AVERAGED = 512
#: From this share on, answers tell in a mean that is made of others, too: less of it magnifies what cannot be known.
_TELLING = 0.25
#: Faster than this nobody minds, however fast the release before was.
_SLOW_MS = 500.0


class Look(Value):
    """The edge's counters at one time; `at` in seconds."""

    at: float
    traffic: Traffic


class Verdict(StrEnum):
    GOOD = "good"
    BAD = "bad"
    #: Fewer requests than prove anything.
    UNKNOWN = "unknown"


class Judged(Value):
    verdict: Verdict
    requests: int = 0
    reason: str | None = None


class Meter(Value):
    """Counters of one slot, folded look by look; only as many looks are kept as the window of the rule needs."""

    raw: Traffic
    looks: tuple[Look, ...]
    #: What the edge had counted when this began; nothing, once it has started anew.
    before: Traffic = Traffic()

    @classmethod
    def started(cls, at: float, traffic: Traffic) -> Meter:
        """Counts from here on."""
        return cls(raw=traffic, looks=(Look(at=at, traffic=Traffic()),), before=traffic)

    def seen(self, at: float, traffic: Traffic, rule: TrafficRule) -> Meter:
        """With the edge's counters at one more time. An edge that starts anew counts from nothing: what it counts
        then comes on top.
        """
        again = traffic.requests < self.raw.requests
        before = self.looks[-1].traffic
        total = Traffic(
            requests=before.requests + traffic.requests - (0 if again else self.raw.requests),
            errors=before.errors + max(0, traffic.errors - (0 if again else self.raw.errors)),
        )
        first, *rest = (*self.looks, Look(at=at, traffic=total))
        # the first for the whole time, and of the others the last one before the window as its start
        old = [look for look in rest if look.at <= at - rule.window]
        kept = (first, *old[-1:], *(look for look in rest if look.at > at - rule.window))
        return Meter(raw=traffic, looks=kept, before=Traffic() if again else self.before)

    @property
    def requests(self) -> int:
        """How many since it started."""
        return self.looks[-1].traffic.requests

    def judged(self, rule: TrafficRule, baseline: Traffic) -> Judged:
        """The verdict over the rule's window, and over the whole time where the window has too few requests.

        `baseline` is what the release before gave: too few answers of it count for none.
        """
        latest = self.looks[-1]
        within = next((look for look in reversed(self.looks) if look.at <= latest.at - rule.window), self.looks[0])
        for start in (within, self.looks[0]):
            requests = latest.traffic.requests - start.traffic.requests
            if requests < rule.requests:
                continue
            errors = latest.traffic.errors - start.traffic.errors
            why = _too_many_errors(requests, errors, rule, baseline)
            why = why or _too_slow(since(self.before, self.raw), rule, baseline)
            return Judged(verdict=Verdict.BAD if why else Verdict.GOOD, requests=requests, reason=why)
        return Judged(verdict=Verdict.UNKNOWN, requests=self.requests)


def since(before: Traffic | None, now: Traffic) -> Traffic:
    """What was counted between two looks at an edge, which may have started anew between them; nothing where nobody
    knows what it had counted before.
    """
    if before is None:
        return Traffic()
    if now.requests < before.requests:
        before = Traffic()
    known = before.paces or not before.requests
    paces = {name: _pace(before.paces.get(name), pace) for name, pace in now.paces.items()} if known else {}
    return Traffic(
        requests=now.requests - before.requests,
        errors=max(0, now.errors - before.errors),
        paces={name: pace for name, pace in paces.items() if pace},
    )


def _pace(before: Pace | None, now: Pace) -> Pace | None:
    """Of the answers between two looks, out of the means that the edge gave then and now; None while they are too small
    a part of what the second one is made of.
    """
    before = before or Pace(answers=0, mean_ms=0.0)
    if now.answers <= before.answers:
        return None
    had, has = min(before.answers, AVERAGED), min(now.answers, AVERAGED)
    # how much of the answers before is left in the mean of now, and for how many of these there is room beside them
    left = (1 - 1 / AVERAGED) ** max(0, now.answers - max(before.answers, AVERAGED))
    room = (has - had) * left + AVERAGED * (1 - left)
    if room < _TELLING * has:
        return None
    mean = (now.mean_ms * has - before.mean_ms * had * left) / room
    return Pace(answers=now.answers - before.answers, mean_ms=max(0.0, mean))


def _too_many_errors(requests: int, errors: int, rule: TrafficRule, baseline: Traffic) -> str | None:
    known = baseline.requests >= rule.requests
    before = baseline.errors / baseline.requests if known else 0.0
    expected = requests * max(rule.errors, 2 * before)
    if errors <= expected + _SIGMA * math.sqrt(expected):
        return None
    was = f"{before:.1%} before" if known else "nothing to compare with"
    return f"{errors} of {requests} answers were errors ({errors / requests:.0%}; {was})"


def _too_slow(now: Traffic, rule: TrafficRule, baseline: Traffic) -> str | None:
    """By the services whose pace is known of both releases, as often as each is asked now."""
    both = {name: (pace, baseline.paces[name]) for name, pace in now.paces.items() if name in baseline.paces}
    answers = sum(pace.answers for pace, _ in both.values())
    if answers < rule.requests or sum(was.answers for _, was in both.values()) < rule.requests:
        return None
    takes = sum(pace.answers * pace.mean_ms for pace, _ in both.values()) / answers
    took = sum(pace.answers * was.mean_ms for pace, was in both.values()) / answers
    if takes <= max(_SLOW_MS, rule.slower * took):
        return None
    return f"answers take {takes:.0f} ms ({took:.0f} ms before)"
