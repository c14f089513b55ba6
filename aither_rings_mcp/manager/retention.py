"""What is left over goes: releases, image names, operations and plans that nothing needs any more."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.errors import InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.model import State
from aither_rings_mcp.domain.naming import repository
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import NamedImage, OnLine

#: The newest operations that ended; unfinished ones stay whatever their age.
OPERATIONS_KEPT = 200
#: After they expired, or their approval did.
PLANS_KEPT = timedelta(days=7)
#: A release that is being prepared is in no record yet: whatever was saved lately stays.
RELEASES_KEPT = timedelta(days=1)


class Retention:
    """One world's leftovers. What a record holds, or an unfinished operation, is none."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line

    async def clear(self) -> None:
        """Removes what is left over. An image goes only with its last name, and never while a container has it."""
        world = self._world
        now = world.clock.now()
        state = world.state.load()
        recent = world.journals.recent(OPERATIONS_KEPT)
        await self._untag(state, recent)
        self._remove_releases(state, recent)
        world.journals.prune(OPERATIONS_KEPT)
        world.plans.prune(now - max(PLANS_KEPT, timedelta(seconds=world.settings.limits.approval)))

    async def _untag(self, state: State, recent: Sequence[Operation]) -> None:
        held = self._images_held(state)
        if held is None:
            return
        held.update(image for op in recent if op.release and not op.final for image in op.release.images.values())
        keep = self._world.settings.keep_releases
        by_kind: defaultdict[str, list[tuple[str, NamedImage]]] = defaultdict(list)
        for name in (await self._world.engine.images()).names:
            if match := self._ours(name.reference):
                # forensics by when they were done, releases by when they were built
                by_kind[name.reference.rpartition("-")[0]].append((match["time"] or name.created.isoformat(), name))
        gone = [
            name.reference
            for names in by_kind.values()
            for _, name in sorted(names, key=lambda one: one[0], reverse=True)[keep:]
            if name.id not in held
        ]
        for reference in gone:
            await self._world.engine.untag(reference)
        if gone:
            self._say(f"{len(gone)} image tags go, as {keep} newer ones of their kind are there: {gone[0]}, ...")

    def _ours(self, reference: str) -> re.Match[str] | None:
        """Matches what a rollout named: a service's image by ring and commit, or by forensics (`time`)."""
        settings = self._world.settings
        services = "|".join(re.escape(repository(settings.app, service)) for service in settings.services)
        rings = "|".join(map(re.escape, settings.rings))
        forensics = rf"forensic-(?:{rings})-(?P<time>\d{{8}}T\d{{6}}Z)"
        return re.fullmatch(rf"(?:{services}):(?:(?:{rings})-[0-9a-f]{{7}}|{forensics})", reference)

    def _images_held(self, state: State) -> set[str] | None:
        """The images of every kept release; None when nobody can say, as one of them is unreadable."""
        held: set[str] = set()
        for record in state.rings.values():
            if record.candidate:
                held.update(record.candidate.images.values())
            for release in policy.kept_releases(record):
                try:
                    held.update(self._world.releases.load(release).images.values())
                except (InvalidArguments, StateUnreadable) as error:
                    self._say(f"no image loses its name: {error.message}")
                    return None
        return held

    def _remove_releases(self, state: State, recent: Sequence[Operation]) -> None:
        world = self._world
        named = {release for record in state.rings.values() for release in policy.kept_releases(record)}
        named.update(d.release for record in state.rings.values() for d in record.deployments)
        for op in recent:
            named.update(release for release in (op.release and op.release.id, op.previous) if release)
        for release in world.releases.stale(world.clock.now() - RELEASES_KEPT):
            if release not in named:
                world.releases.remove(release)
