"""Works out a promotion before anything happens: which release, which images, what it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aither_rings_mcp.domain.composition import (
    declared_schema,
    essence,
    fingerprint,
    image_references,
    in_slot,
    runnable,
    services,
    weightier,
)
from aither_rings_mcp.domain.errors import ImageMissing, InvalidTransition, PlanExpired, PlanStale
from aither_rings_mcp.domain.model import Candidate, Release, RingRecord
from aither_rings_mcp.domain.naming import release_id, ring_tag
from aither_rings_mcp.domain.plan import Plan, plan_hash, what_changed
from aither_rings_mcp.domain.slots import Slot
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import ComposeConfig


@dataclass(frozen=True)
class Draft:
    """A promotion worked out: `release` as it would run in the target, `tested` as it ran where it was tested."""

    release: Release
    tested: Release
    config: ComposeConfig
    replaces: RingRecord
    warnings: tuple[str, ...]


async def draft_promotion(world: World, source: str, target: str) -> Draft:
    """What promoting `source` to `target` means right now. Changes nothing.

    Raises `invalid_transition` when there is nothing to promote, `plan_expired` for a candidate that is too old,
    `image_missing` when an image is gone.
    """
    state = world.state.load()
    replaces = state.ring(target)
    if world.is_gate(source):
        return await _from_candidate(world, source, target, state.ring(source).candidate, replaces)
    record = state.ring(source)
    if record.release is None:
        raise InvalidTransition(
            f"{source} has no release yet, so there is nothing to promote",
            f"Run `ring-ctl deploy {source} --build` first.",
        )
    tested = world.releases.load(record.release)
    await _images_present(world, tested)
    if world.is_gate(target):
        return Draft(tested, tested, world.releases.config(tested.id), replaces, ())
    return await _for_target(world, target, tested, replaces)


async def _from_candidate(
    world: World, source: str, target: str, candidate: Candidate | None, replaces: RingRecord
) -> Draft:
    if candidate is None:
        before = next((path.source for path in world.settings.paths if path.target == source), "dev")
        raise InvalidTransition(
            f"{source} holds no candidate, so there is nothing to promote",
            f"Run `ring-ctl promote {before} {source}` first (tool: ring_promote).",
        )
    if candidate.expired(world.clock.now()):
        raise PlanExpired(
            f"the candidate {candidate.tag} ({candidate.release}) expired at {candidate.expires_at:%Y-%m-%d %H:%M:%SZ}",
            f"Run `ring-ctl promote {candidate.source} {source}` (tool: ring_promote) again: its gates "
            "look at it anew.",
            release=candidate.release,
        )
    tested = world.releases.load(candidate.release)
    if dict(tested.images) != dict(candidate.images):
        raise PlanExpired(
            f"the candidate {candidate.tag} no longer matches the images of its release {candidate.release}",
            f"Run `ring-ctl promote {candidate.source} {source}` again (tool: ring_promote).",
        )
    await _images_present(world, tested)
    return await _for_target(world, target, tested, replaces)


async def _for_target(world: World, target: str, tested: Release, replaces: RingRecord) -> Draft:
    """The tested images under the target's own configuration."""
    config = await world.compose.render(target)
    warnings: list[str] = []
    images: dict[str, str] = {}
    for name, reference in image_references(config, world.project(target)).items():
        if name in tested.images:
            images[name] = tested.images[name]
            continue
        # A service that only the target has was never tested: say so, and pin down what it is.
        view = await world.engine.image(reference)
        if view is None:
            raise ImageMissing(
                f"{target} has a service {name!r} that the tested release lacks, and its image {reference} is not here",
                f"Pull {reference}, or take {name!r} out of the Compose file of {target}.",
            )
        images[name] = view.id
        warnings.append(f"{name} runs only in {target}; its image {reference} did not pass through {tested.ring}")
    warnings += [f"{name} runs in {tested.ring} but not in {target}" for name in sorted({*tested.images} - {*images})]
    return Draft(make_release(world, target, config, images, tested), tested, config, replaces, tuple(warnings))


def make_release(world: World, ring: str, config: ComposeConfig, images: dict[str, str], tested: Release) -> Release:
    """The release that `images` under `config` are; its id depends on nothing else."""
    config_hash = fingerprint(essence(config))
    id_ = release_id(images, config_hash)
    # without sources to name it by, a release is named by what is in it
    commit = tested.commit if tested.commit.strip("0") else id_.removeprefix("r-")
    return Release(
        id=id_,
        ring=ring,
        commit=commit,
        tag=ring_tag(ring, commit),
        source_digest=tested.source_digest,
        images=images,
        config_hash=config_hash,
        created_at=world.clock.now(),
        built_from=tested.id if tested.ring != ring else None,
        schema_change=weightier(tested.schema_change, declared_schema(config, ())),
    )


def check_fits(plan: Plan, draft: Draft) -> None:
    """Refuses a plan that no longer says what would happen, and tells what changed since."""
    replaces = draft.replaces.release
    fresh = plan_hash(plan.source, plan.target, draft.release.id, draft.release.images, replaces, plan.forced)
    if reasons := what_changed(plan, fresh, draft.release.id, replaces, draft.release.images):
        raise PlanStale(
            f"plan {plan.id} no longer fits: {'; '.join(reasons)}",
            f"Make a new one: `ring-ctl plan {plan.source} {plan.target}` (tool: ring_plan).",
            changed=list(reasons),
        )


def running_config(world: World, release: Release, config: ComposeConfig, slot: str) -> ComposeConfig:
    """The config that runs `release`; services it has no image for are left out by the caller's check."""
    missing = sorted({*services(config)} - {*release.images})
    if missing:
        raise ImageMissing(f"release {release.id} has no image for {', '.join(missing)}", "Deploy and promote again.")
    return runnable(config, release, world.settings.app, slot)


def run_file(world: World, release: Release, slot: Slot | None = None) -> Path:
    """The file that Compose runs `release` from, in the slot that serves or another one; made before anything is
    touched, while a full disk can refuse.
    """
    ring, config = world.settings.rings[release.ring], world.releases.config(release.id)
    if not ring.fronts:
        return world.releases.runnable(release.id, running_config(world, release, config, release.ring))
    slot = slot or (world.state.load().ring(release.ring).slot if ring.green else Slot.BLUE)
    config = running_config(world, release, in_slot(config, ring, slot, world.settings.services), slot)
    return world.releases.runnable(release.id, config, name="run" if slot is Slot.BLUE else f"run-{slot}")


async def _images_present(world: World, release: Release) -> None:
    gone = [name for name, image in sorted(release.images.items()) if await world.engine.image(image) is None]
    if gone:
        raise ImageMissing(
            f"images of release {release.id} are gone: {', '.join(gone)}",
            f"Build them again with `ring-ctl deploy {release.ring} --build`.",
            services=gone,
        )
