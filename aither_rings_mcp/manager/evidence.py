"""Collects the evidence of a release before it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from aither_rings_mcp.domain.composition import LABEL_RELEASE, essence, services
from aither_rings_mcp.domain.errors import DockerUnavailable, EngineFailure, RingError
from aither_rings_mcp.domain.evidence import SECTIONS, Bundle, Draft, SectionName, cleaned, draft, fit
from aither_rings_mcp.domain.evidence_texts import (
    diff_text,
    events_text,
    gates_text,
    image_changes,
    inspect_text,
    summary_text,
)
from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.secrecy import environment_changes, known_secrets, shown
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import ComposeConfig, OnLine

_LOG_LINES = 500
#: The part of the time that the engine may take; the rest is for taking the secrets out.
_LOOKING = 0.5


@dataclass
class Ran:
    """A release and the config it ran with, as far as they can be read."""

    release: Release | None = None
    config: ComposeConfig = field(default_factory=dict[str, Any])


@dataclass
class Seen:
    """What the engine had to say before its time was up."""

    containers: tuple[ContainerView, ...] = ()
    logs: dict[str, str] = field(default_factory=dict[str, str])
    health: dict[str, str] = field(default_factory=dict[str, str])


class Collector:
    """Keeps the evidence of one world's releases. It never stands in the way of going back."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line

    async def containers(self, op: Operation) -> tuple[ContainerView, ...] | None:
        """What runs, for `collect`, before it is stopped; None where the engine takes too long to say."""
        with anyio.move_on_after(self._world.settings.limits.evidence), suppress(EngineFailure):
            return await self._world.engine.containers(self._world.project(op.request.ring))
        return None

    async def collect(
        self,
        op: Operation,
        release: str | None,
        going_to: str | None,
        running: tuple[ContainerView, ...] | None = None,
        project: str | None = None,
    ) -> None:
        """Keeps what `release` did, once: a complete bundle stays as it is. `running`: how its containers were, or
        `project`: where they are, if not in the slot that serves.

        Repeated, this may find the ring torn down, or halfway back: what is of `going_to` already is no evidence.
        """
        world = self._world
        try:
            if world.evidence.load(op.id) is not None:
                return
            seen = Seen()
            project = project or world.project(op.request.ring)
            ready: list[Draft] = []
            limit = world.settings.limits.evidence
            # users wait for the way back
            with anyio.move_on_after(limit) as whole:
                with anyio.move_on_after(limit * _LOOKING) as looking:
                    await self._look(project, going_to, seen, running)
                if looking.cancelled_caught:
                    self._say("the engine took longer than `limits.evidence` allows, so not all evidence is kept")
                work = partial(_clean, op, self._ran(release), self._ran(going_to), seen, ready)
                # a thread, as what a broken release wrote may be long, and nothing else would get its turn
                await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
            # an abandoned thread goes on
            kept = tuple(ready)
            if whole.cancelled_caught:
                missing = ", ".join(name for name in SECTIONS if name not in {one.name for one in kept})
                self._say(f"what was there took longer to clean than `limits.evidence` allows; left out: {missing}")
            sections = fit(kept)
            bundle = Bundle(
                operation_id=op.id,
                ring=op.request.ring,
                release=release,
                collected_at=world.clock.now(),
                sections=tuple(section.facts for section in sections),
            )
            world.evidence.save(bundle, sections)
        except DockerUnavailable:
            raise
        except RingError as error:
            self._say(f"no evidence is kept: {error.message}")

    async def _look(
        self, project: str, going_to: str | None, seen: Seen, running: tuple[ContainerView, ...] | None
    ) -> None:
        engine = self._world.engine
        running = running or await engine.containers(project)
        # `going_to` is None where nothing runs before: then every container is evidence.
        seen.containers = tuple(one for one in running if going_to is None or one.labels.get(LABEL_RELEASE) != going_to)
        for container in seen.containers:
            try:
                seen.logs[container.name] = "\n".join(await engine.logs(container.id, _LOG_LINES))
                if log := await engine.health_log(container.id):
                    seen.health[container.name] = "\n".join(log)
            except DockerUnavailable:
                raise
            except RingError as error:
                seen.logs.setdefault(container.name, f"[this log could not be read: {error.message}]")

    def _ran(self, release: str | None) -> Ran:
        if release is None:
            return Ran()
        try:
            return Ran(self._world.releases.load(release), self._world.releases.config(release))
        except RingError as error:
            self._say(f"its config is not among the evidence: {error.message}")
            return Ran()


def _clean(op: Operation, bad: Ran, before: Ran, seen: Seen, ready: list[Draft]) -> None:
    """Adds each section to `ready` as soon as it may leave: short ones first, what containers wrote last."""
    secrets = known_secrets(bad.config) | known_secrets(before.config)
    texts: dict[SectionName, str | Mapping[str, str]] = {
        "summary": summary_text(op, bad.release, before.release),
        **told(op),
        "inspect": inspect_text(seen.containers),
        **_config_texts(bad, before),
        "health_log": seen.health,
        "logs": seen.logs,
    }
    for name, text in texts.items():
        if text:
            ready.append(cleaned(draft(name, text), secrets))


def told(op: Operation) -> dict[SectionName, str]:
    """The sections that an operation's journal tells by itself."""
    return {"events": events_text(op), "gates": gates_text(op.gates)}


def _config_texts(bad: Ran, good: Ran) -> dict[SectionName, str]:
    if bad.release is None:
        return {}
    after, before = _rendered(bad), _rendered(good)
    changes = [*image_changes(good.release, bad.release), *environment_changes(good.config, bad.config)]
    names = (good.release.id if good.release else "nothing", bad.release.id)
    return {"config": after, "config_diff": diff_text(changes, before, after, names)}


def _rendered(ran: Ran) -> str:
    """The config as it ran: images by content id, values of variables only where they are harmless."""
    if ran.release is None:
        return ""
    config = essence(ran.config)
    for name, service in services(config).items():
        service["image"] = ran.release.images.get(name)
    return json.dumps(shown(config), indent=2, sort_keys=True) + "\n"
