"""A release proves itself, or does not: by what is observed of it after it was started."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress

import anyio

from aither_rings_mcp.domain.answers import Verification
from aither_rings_mcp.domain.errors import EngineFailure, RingError
from aither_rings_mcp.domain.health import Window
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.watch import Call, RingWatch, judge
from aither_rings_mcp.manager import backbone, observer
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import Death, OnLine


async def verify(
    world: World, project: str, release: Release, on_line: OnLine, *, fresh: bool = True, only: str | None = None
) -> Verification:
    """Whether `release` proves itself: the right images, and every service healthy for a whole window by the deadline.

    What counts is what is observed: a start that reported success proves nothing. What crash-loops does not get the
    whole deadline, nor does a critical service that is dead for `rollback.dead_for`. `fresh`: the containers were made
    for this, so that every restart of theirs counts. `only`: of one of its services.
    """
    if only:
        release = release.model_copy(update={"images": {only: release.images[only]}})
    trial = _Trial(world, project, release, on_line, fresh, only)
    failed: RingError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(trial.listen)
        try:
            with trial.looking:
                await trial.look_on()
        except RingError as error:  # the group would wrap it
            failed = error
        group.cancel_scope.cancel()
    if failed:
        raise failed
    return trial.seen


async def verified(
    world: World, project: str, release: Release, on_line: OnLine, *, fresh: bool = True, only: str | None = None
) -> Verification:
    """The same. Raises where the release does not prove itself, but the backbone is not well either: then nobody can
    tell, and once that is well services need their whole time.
    """
    before = await backbone.unwell(world)
    seen = await verify(world, project, release, on_line, fresh=fresh, only=only)
    if seen.reason and (why := before or await backbone.unwell(world)):
        raise EngineFailure(
            f"nobody can tell whether {release.ring} is well: {why}",
            "Mend it; `ring-ctl recover` then carries this on.",
        )
    return seen


class _Trial:
    def __init__(
        self, world: World, project: str, release: Release, on_line: OnLine, fresh: bool, only: str | None
    ) -> None:
        limits = world.settings.limits
        self._world = world
        self._project = project
        self._release = release
        self._only = only
        self._say = on_line
        self._services = world.services_of(release)
        self._window = Window(
            needed=max(2, round(limits.healthy_window / limits.poll) + 1),
            first_restarts=dict.fromkeys(self._services, 0) if fresh else {},
        )
        # Ill health has the deadline; this is for what exits.
        self._dead_rule = world.settings.rollback.model_copy(update={"unhealthy_for": math.inf})
        self._watch = RingWatch()
        self._deaths: Counter[str] = Counter()
        self.looking = anyio.CancelScope()
        self.seen = Verification(images_match=False, healthy=0, total=len(self._services))

    async def listen(self) -> None:
        """Counts exits as the engine tells them. A look takes seconds while it restarts a whole ring all the time."""

        def heard(death: Death) -> None:
            if death.project == self._project and death.exit_code != 0:
                self._deaths[death.service] += 1
                if self._deaths[death.service] >= self._window.crash_limit:
                    self._condemn(f"crash loop: {', '.join(sorted(self._deaths))}")
                    self.looking.cancel()

        with suppress(RingError):  # without its events, the looks alone tell
            await self._world.deaths.follow(heard)

    async def look_on(self) -> None:
        """Looks until the release has proved itself, or has failed to."""
        clock, limits = self._world.clock, self._world.settings.limits
        started = clock.monotonic()
        while not await self._look(clock.monotonic() - started):
            await clock.sleep(limits.poll)

    async def _look(self, waited: float) -> bool:
        """One look; True when the verdict is in."""
        limits = self._world.settings.limits
        containers = await self._world.engine.containers(self._project)
        if self._only:
            containers = tuple(one for one in containers if one.service == self._only)
        wrong = observer.mismatched(containers, self._release)
        health = await observer.judge(self._world, containers, self._services)
        self._window = self._window.seen(health)
        unhealthy = tuple(service.name for service in health if not service.healthy)
        before, self.seen = (
            self.seen,
            Verification(
                images_match=not wrong,
                healthy=len(health) - len(unhealthy),
                total=len(health),
                unhealthy=unhealthy,
                mismatched=wrong,
                waited_s=round(waited, 1),
            ),
        )
        if (self.seen.healthy, unhealthy) != (before.healthy, before.unhealthy):
            waiting = f", waiting for {', '.join(unhealthy)}" if unhealthy else ""
            self._say(f"{self.seen.healthy}/{self.seen.total} healthy{waiting}")
        if self._window.proven and not wrong:
            return True
        critical = [service for service in health if service.critical]
        self._watch = self._watch.seen(self._release.id, observer.sampled(critical, at=waited), self._dead_rule)
        if self._window.crash_looping:
            self._condemn(f"crash loop: {', '.join(self._window.crash_looping)}")
        elif (dead := judge(self._watch.samples, self._dead_rule)).call is Call.CONDEMNED:
            self._condemn(str(dead.reason))
        elif waited > limits.healthy:
            reasons = {f"{s.name}: {s.reason or s.state}" for s in health if not s.healthy}
            why = "; ".join(sorted(reasons)[:4]) or f"other images than the release's: {', '.join(wrong)}"
            self._condemn(f"not healthy within {limits.healthy:g} s: {why}")
        return self.seen.reason is not None

    def _condemn(self, reason: str) -> None:
        self.seen = self.seen.model_copy(update={"reason": reason})
