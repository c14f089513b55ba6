"""What the answers that users get say of a release, as the edge counts them. Pure: counters in, verdict out."""

from __future__ import annotations

import math
from enum import StrEnum

from aither_rings_mcp.domain.settings import TrafficRule
from aither_rings_mcp.domain.slots import Traffic
from aither_rings_mcp.domain.value import Value

#: What chance alone makes of a share of errors stays within three standard deviations of it (Poisson).
_SIGMA = 3.0
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

    @classmethod
    def started(cls, at: float, traffic: Traffic) -> Meter:
        """Counts from here on."""
        return cls(raw=traffic, looks=(Look(at=at, traffic=Traffic()),))

    def seen(self, at: float, traffic: Traffic, rule: TrafficRule) -> Meter:
        """With the edge's counters at one more time. An edge that starts anew counts from nothing: what it counts
        then comes on top.
        """
        again = traffic.requests < self.raw.requests
        before = self.looks[-1].traffic
        total = Traffic(
            requests=before.requests + traffic.requests - (0 if again else self.raw.requests),
            errors=before.errors + max(0, traffic.errors - (0 if again else self.raw.errors)),
            latency_ms=traffic.latency_ms,
            open=traffic.open,
        )
        first, *rest = (*self.looks, Look(at=at, traffic=total))
        # the first for the whole time, and of the others the last one before the window as its start
        old = [look for look in rest if look.at <= at - rule.window]
        return Meter(raw=traffic, looks=(first, *old[-1:], *(look for look in rest if look.at > at - rule.window)))

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
            why = _too_many_errors(requests, errors, rule, baseline) or _too_slow(latest.traffic, rule, baseline)
            return Judged(verdict=Verdict.BAD if why else Verdict.GOOD, requests=requests, reason=why)
        return Judged(verdict=Verdict.UNKNOWN, requests=self.requests)


def since(before: Traffic, now: Traffic) -> Traffic:
    """What was counted between two looks at an edge, which may have started anew between them."""
    if now.requests < before.requests:
        return now
    return now.model_copy(
        update={"requests": now.requests - before.requests, "errors": max(0, now.errors - before.errors)}
    )


def _too_many_errors(requests: int, errors: int, rule: TrafficRule, baseline: Traffic) -> str | None:
    known = baseline.requests >= rule.requests
    before = baseline.errors / baseline.requests if known else 0.0
    expected = requests * max(rule.errors, 2 * before)
    if errors <= expected + _SIGMA * math.sqrt(expected):
        return None
    was = f"{before:.1%} before" if known else "nothing to compare with"
    return f"{errors} of {requests} answers were errors ({errors / requests:.0%}; {was})"


def _too_slow(now: Traffic, rule: TrafficRule, baseline: Traffic) -> str | None:
    if now.latency_ms is None or baseline.latency_ms is None or baseline.requests < rule.requests:
        return None
    limit = max(_SLOW_MS, rule.slower * baseline.latency_ms)
    if now.latency_ms <= limit:
        return None
    return f"answers take {now.latency_ms:.0f} ms ({baseline.latency_ms:.0f} ms before)"
