"""Proves that the installation is sound, isolation included: from inside the running containers, by what they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from aither_rings_mcp.domain.answers import DoctorAnswer, Finding
from aither_rings_mcp.domain.errors import EngineFailure, RingError
from aither_rings_mcp.domain.policy import kept_releases
from aither_rings_mcp.manager.drift import drift
from aither_rings_mcp.manager.isolation import isolation
from aither_rings_mcp.manager.routes import strayed, unpublished
from aither_rings_mcp.manager.world import World

#: How far to look: `quick` leaves out what is looked at from inside the containers, which takes its time.
Depth = Literal["quick", "full"]


async def examine(world: World, depth: Depth = "full") -> DoctorAnswer:
    """Everything that can be checked without changing anything, each as a finding."""
    findings: list[Finding] = []
    try:
        facts = await world.engine.facts()
    except RingError as error:
        findings.append(Finding(check="engine", ok=False, detail=f"{error.message}. {error.next_step}"))
        return _answer(world, findings, depth)
    findings.append(Finding(check="engine", ok=True, detail=f"Docker {facts.version}, {facts.os}/{facts.architecture}"))
    findings.append(_state(world))
    findings.append(_history(world))
    findings += [await _drift(world, ring) for ring in world.settings.runtime_rings]
    findings.append(await _way_back_images(world))
    if world.settings.edge:
        findings.append(await _edge(world))
    if depth == "full":
        findings += await isolation(world)
    return _answer(world, findings, depth)


def _answer(world: World, findings: Sequence[Finding], depth: Depth) -> DoctorAnswer:
    left_out = "" if depth == "full" else "; left out: whether the rings are apart, seen from inside"
    bad = [finding.check for finding in findings if not finding.ok]
    return DoctorAnswer(
        ok=not bad,
        summary=(
            f"{len(bad)} of {len(findings)} checks found something: {', '.join(bad)}"
            if bad
            else f"All {len(findings)} checks hold"
        )
        + f"{left_out}.",
        as_of=world.clock.now(),
        findings=tuple(findings),
    )


def _state(world: World) -> Finding:
    try:
        state = world.state.load()
    except RingError as error:
        return Finding(check="state", ok=False, detail=f"{error.message}. {error.next_step}")
    return Finding(check="state", ok=True, detail=f"{len(state.rings)} rings recorded")


def _history(world: World) -> Finding:
    events, _, broken_at, torn = world.history.verify()
    if broken_at is not None:
        return Finding(check="history", ok=False, detail=f"the chain breaks at event {broken_at}")
    return Finding(
        check="history", ok=True, detail=f"{events} events, chained" + (", torn tail ignored" if torn else "")
    )


async def _drift(world: World, ring: str) -> Finding:
    """Whether a ring runs what is recorded of it."""
    record = world.state.load().ring(ring)
    found = drift(world, record, await world.engine.listed(world.project(ring, record.slot)))
    as_recorded = f"runs {record.release}, image by image" if record.running else "not running, as recorded"
    return Finding(check=f"drift:{ring}", ok=found is None, detail=found or as_recorded)


async def _way_back_images(world: World) -> Finding:
    state = world.state.load()
    gone: list[str] = []
    for ring in world.settings.rings:
        for release_id in kept_releases(state.ring(ring)):
            images = world.releases.load(release_id).images
            gone += [f"{release_id}/{name}" for name, i in images.items() if await world.engine.image(i) is None]
    if gone:
        return Finding(
            check="images", ok=False, detail=f"recorded images are gone: {', '.join(sorted(set(gone))[:10])}"
        )
    return Finding(check="images", ok=True, detail="every recorded release's images are here")


async def _edge(world: World) -> Finding:
    """Whether the edge sends each ring's users to the slot that is recorded, and reaches what serves them there."""
    state = world.state.load()
    records = {ring: state.ring(ring) for ring in world.settings.runtime_rings if world.claims.holder(ring) is None}
    try:
        wrong = [
            f"users of {ring} are sent to {where or 'both slots'} instead of {records[ring].slot}"
            for ring, where in (await strayed(world, records)).items()
        ]
        for ring, record in records.items():
            wrong += [
                f"the edge does not publish {port} ({name} of {ring})"
                for name, port in (await unpublished(world, ring)).items()
            ]
            if record.running and (lost := await world.edge.unreached(ring, record.slot)):
                wrong.append(f"the edge does not reach {', '.join(lost)} of {ring}")
    except EngineFailure as error:
        return Finding(check="edge", ok=False, detail=f"{error.message}. {error.next_step}")
    detail = "; ".join(wrong) or "every ring's users are on the slot that is recorded"
    return Finding(check="edge", ok=not wrong, detail=detail)
