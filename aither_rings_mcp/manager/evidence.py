"""Collects the evidence of a release before it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from aither_rings_mcp.domain.composition import LABEL_RELEASE, essence, services
from aither_rings_mcp.domain.errors import DockerUnavailable, EngineFailure, RingError
from aither_rings_mcp.domain.evidence import Bundle, Section, SectionName, cleaned, draft, fit
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
    ) -> None:
        """Keeps what `release` did, once: a complete bundle stays as it is. `running`: how its containers were.

        Repeated, this may find the ring torn down, or halfway back: what is of `going_to` already is no evidence.
        """
        world = self._world
        try:
            if world.evidence.load(op.id) is not None:
                return
            seen = Seen()
            # users wait for the way back
            with anyio.move_on_after(world.settings.limits.evidence) as limit:
                await self._look(op, going_to, seen, running)
            if limit.cancelled_caught:
                self._say("the engine took longer than `limits.evidence`, so not all evidence is kept")
            sections = self._sections(op, release, going_to, seen)
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
        self, op: Operation, going_to: str | None, seen: Seen, running: tuple[ContainerView, ...] | None
    ) -> None:
        engine = self._world.engine
        running = running or await engine.containers(self._world.project(op.request.ring))
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

    def _sections(self, op: Operation, release: str | None, good: str | None, seen: Seen) -> tuple[Section, ...]:
        bad, before = self._ran(release), self._ran(good)
        secrets = known_secrets(bad.config) | known_secrets(before.config)
        texts: dict[SectionName, str | Mapping[str, str]] = {
            "summary": summary_text(op, bad.release, before.release),
            "logs": seen.logs,
            "inspect": inspect_text(seen.containers),
            "health_log": seen.health,
            **_config_texts(bad, before),
            **told(op),
        }
        return fit(cleaned(draft(name, text), secrets) for name, text in texts.items() if text)

    def _ran(self, release: str | None) -> Ran:
        if release is None:
            return Ran()
        try:
            return Ran(self._world.releases.load(release), self._world.releases.config(release))
        except RingError as error:
            self._say(f"its config is not among the evidence: {error.message}")
            return Ran()


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
