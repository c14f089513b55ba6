"""The monitor's rule, as a pure function of what was seen: a release is condemned, or held, or left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise

from pydantic import AwareDatetime, Field

from aither_rings_mcp.domain.settings import RollbackRule
from aither_rings_mcp.domain.value import Value

#: Looks kept of a trouble that goes on and on. Its first ones say since when.
_KEPT = 200
#: So long a monitor may be away, restarted or busy, before its looks no longer belong together.
_GAP_S = 60.0


class Sample(Value):
    """One look at a ring. `at` is in seconds of wall-clock time, so that it survives a restart of the monitor."""

    at: float
    #: how many critical services the ring has, and which of them are not well
    critical: int = 0
    unhealthy: tuple[str, ...] = ()
    #: critical services whose container exited or restarts
    dead: tuple[str, ...] = ()
    #: critical service -> how often Docker has restarted it
    restarts: Mapping[str, int] = Field(default_factory=dict)
    #: why nobody can tell whether the release is at fault: the engine, the backbone, the other ring
    excuse: str | None = None
    #: nothing could be seen of the ring itself
    blind: bool = False
    #: Whether the engine was away since the look before, or was then and what is dead now has been so ever since.
    engine_left: bool = False


class Call(StrEnum):
    """What a window of samples comes to."""

    WELL = "well"
    SUSPECT = "suspect"
    #: Bad, but not the release's fault as far as anybody can tell: people are called, nothing is rolled back.
    HELD = "held"
    CONDEMNED = "condemned"


class Judgement(Value):
    """`since` is when the trouble began (wall clock); `bad_for` how long it counts against the release, and `left`
    how long until it is condemned, both in seconds.
    """

    call: Call
    reason: str | None = None
    since: float | None = None
    bad_for: float = 0.0
    left: float | None = None


class RingWatch(Value):
    """What the monitor remembers of one ring's release: nothing but looks, so that a restart changes no verdict."""

    release: str | None = None
    samples: tuple[Sample, ...] = ()

    def seen(self, release: str, sample: Sample, rule: RollbackRule) -> RingWatch:
        """With one more look. Another release starts afresh, and so does a ring that nobody looked at for a while:
        what happened meanwhile, or how the clock was set, counts against nobody. While all is well only the latest look
        is kept.
        """
        before = self.samples if self.release == release else ()
        if before and not 0 <= sample.at - before[-1].at <= max(_GAP_S, 4 * rule.poll):
            before = ()
        samples = (*before, _after_the_engine_left(before, sample))
        if judge(samples, rule).call is Call.WELL:
            samples = samples[-1:]
        elif len(samples) > _KEPT:
            samples = _thinned(samples)
        return RingWatch(release=release, samples=samples)

    def excused(self, why: str) -> RingWatch:
        """With an excuse for the latest look, unless it has one."""
        *before, latest = self.samples
        excused = latest.model_copy(update={"excuse": latest.excuse or why})
        return self.model_copy(update={"samples": (*before, excused)})

    def onset(self, rule: RollbackRule) -> float | None:
        """When a ring that was seen well went bad; None for one that is well, or was bad from the first look on."""
        seen = [sample for sample in self.samples if not sample.blind]
        if not seen:
            return None
        troubled = [a or b for a, b in zip(_unwell(seen, rule), _dead(seen), strict=True)]
        since = _since(troubled, seen, rule)
        return since if since is not None and not troubled[0] else None


class Told(Value):
    """An alert. `written`: the history has it; `over`: it is the end that is to be told."""

    said: str
    since: AwareDatetime
    over: bool = False
    written: bool = False


class Memory(Value):
    """What the monitor keeps across its own restarts: its looks at each ring, and what people were told last."""

    watches: Mapping[str, RingWatch] = Field(default_factory=dict)
    #: `ring topic` -> what was told of it and is not over
    told: Mapping[str, Told] = Field(default_factory=dict)


def _thinned(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The first two, the last with an excuse of those that go, and the latest."""
    head, going, latest = samples[:2], samples[2 : -_KEPT + 3], samples[-_KEPT + 3 :]
    excused = [sample for sample in going if sample.excuse is not None]
    return (*head, *excused[-1:], *latest)


def _after_the_engine_left(before: Sequence[Sample], sample: Sample) -> Sample:
    """The look, excused if what is dead died with the engine: until it has been seen up again, or died before.

    An engine that was killed stops what still ran when it starts again, and takes that for a person's wish (20.10):
    `unless-stopped` does not bring it up.
    """
    latest = before[-1] if before else None
    left = sample.engine_left or bool(latest and latest.engine_left and sample.dead)
    if latest and latest.dead and not latest.engine_left:
        left = False
    excuse = sample.excuse
    if left and sample.dead and excuse is None:
        excuse = f"the engine was away, and did not start again: {', '.join(sample.dead)}"
    return sample.model_copy(update={"engine_left": left, "excuse": excuse})


def judge(samples: Sequence[Sample], rule: RollbackRule) -> Judgement:
    """The verdict over a window of samples, oldest first. It depends on nothing else.

    Two clocks run: the article's (more than a share of the critical services unhealthy for longer than
    `unhealthy_for`) and a fast one (a critical service that exits or crash-loops for longer than `dead_for`). A
    service that flaps does not set a clock back: only `well_again` seconds in a row of good looks do. A time in which
    nobody can tell whose fault it is counts against nobody, and neither does what was before it.
    """
    if not samples:
        return Judgement(call=Call.WELL)
    latest = samples[-1]
    told = _trouble([sample for sample in samples if not sample.blind], rule)
    if latest.blind:
        return Judgement(call=Call.HELD, reason=latest.excuse, since=told.since if told else None)
    if latest.excuse is not None:
        return told.model_copy(update={"call": Call.HELD, "reason": latest.excuse}) if told else _WELL
    # what counts begins after the last look that has an excuse
    start = max((n for n, sample in enumerate(samples) if sample.excuse is not None), default=-1) + 1
    counts = _trouble(samples[start:], rule)
    if counts is None:
        # the trouble is from before: it has to show again to count
        return told.model_copy(update={"call": Call.SUSPECT, "bad_for": 0.0, "left": None}) if told else _WELL
    return counts


_WELL = Judgement(call=Call.WELL)


def _trouble(samples: Sequence[Sample], rule: RollbackRule) -> Judgement | None:
    """The clock that runs out first, excuses aside; None when none runs."""
    if not samples:
        return None
    latest = samples[-1]
    unwell, dead = _unwell(samples, rule), _dead(samples)
    clocks: list[Judgement] = []
    for flags, limit, what, who in (
        # the more telling first: of two that run out together it is the one that is told
        (dead, rule.dead_for, "critical services exit or restart", {name for s in samples for name in s.dead}),
        (unwell, rule.unhealthy_for, "critical services are unhealthy", {*latest.unhealthy}),
    ):
        since = _since(flags, samples, rule)
        if since is None:
            continue
        bad_for = latest.at - since
        times = sum(flag for flag, sample in zip(flags, samples, strict=True) if sample.at >= since)
        # A clock that runs out on a good look waits for the next bad one, and one bad look condemns nobody.
        condemned = bad_for > limit and flags[-1] and times >= rule.failures
        names = ", ".join(sorted(who)) or "now well, now not"
        clocks.append(
            Judgement(
                call=Call.CONDEMNED if condemned else Call.SUSPECT,
                reason=f"{what}: {names}",
                since=since,
                bad_for=bad_for,
                left=max(0.0, limit - bad_for),
            )
        )
    return min(clocks, key=lambda clock: (clock.call is not Call.CONDEMNED, clock.left), default=None)


def _unwell(samples: Sequence[Sample], rule: RollbackRule) -> list[bool]:
    """More than the share: at exactly the share it is not."""
    return [s.critical > 0 and len(s.unhealthy) > rule.unhealthy_share * s.critical for s in samples]


def _dead(samples: Sequence[Sample]) -> list[bool]:
    """A crash-looper reads `running` between its restarts: then their number tells."""
    grew = [False, *(_restarted(before, after) for before, after in pairwise(samples))]
    return [bool(sample.dead) or again for sample, again in zip(samples, grew, strict=True)]


def _restarted(before: Sample, after: Sample) -> bool:
    return any(count > before.restarts.get(name, count) for name, count in after.restarts.items())


def _since(bad: Sequence[bool], samples: Sequence[Sample], rule: RollbackRule) -> float | None:
    """When the trouble that is not over yet began; None when it is over, or never was."""
    since: float | None = None
    well_since: float | None = None
    for sample, is_bad in zip(samples, bad, strict=True):
        if is_bad:
            since, well_since = sample.at if since is None else since, None
            continue
        well_since = sample.at if well_since is None else well_since
        if sample.at - well_since >= rule.well_again:
            since = None
    return since
