"""What the record of a ring says once a rollout is done, or once it was taken back."""

from __future__ import annotations

from datetime import timedelta

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.model import Candidate, Override, RingRecord, Settling
from aither_rings_mcp.domain.naming import ring_tag
from aither_rings_mcp.domain.rollout import Kind, Operation, release_of
from aither_rings_mcp.domain.settings import Unhealthy
from aither_rings_mcp.domain.slots import Slot, Traffic
from aither_rings_mcp.manager.world import World


def recorded(world: World, op: Operation, record: RingRecord) -> RingRecord:
    """The ring's record once this rollout is done."""
    if op.request.kind in {Kind.DEPLOY, Kind.PROMOTE, Kind.ROLLBACK}:
        # what settled until now was replaced; where the new one has to settle, that is said in its place
        record = record.model_copy(update={"settling": None, "before_users": None})
    now, keep = op.updated_at, world.settings.keep_releases
    match op.request.kind:
        case Kind.UP:
            return record.model_copy(update={"running": True, "stuck": record.stuck if op.kept_unhealthy else None})
        case Kind.DOWN:
            # What could not be stopped still runs, for all that is known.
            if op.kept_unhealthy:
                return record
            gone = {"running": False, "settling": None, "before_users": None, "slot": Slot.BLUE}
            return record.model_copy(update=gone)
        case Kind.SETTLE:
            return record.model_copy(update={"settling": None})
        case Kind.ROLLBACK:
            reason = op.request.reason or f"rolled back by {op.actor}"
            record = policy.went_back(record, release_of(op), now, op.previous, reason, keep)
            return policy.taken_back(record, op.previous) if op.actor.kind == "monitor" else record
        case Kind.PROMOTE if world.is_gate(op.request.ring):
            return _with_candidate(world, op, record)
        case _:
            record = policy.deployed(record, release_of(op), now, not op.kept_unhealthy, _override(world, op), keep)
            return record if op.slotted else _settling_in_place(world, op, record)


def _settling_in_place(world: World, op: Operation, record: RingRecord) -> RingRecord:
    """Nothing waits to take over again, but what its users get is judged all the same."""
    ring = world.settings.rings[op.request.ring]
    if not ring.fronts or ring.on_unhealthy is Unhealthy.KEEP:
        return record
    until = op.updated_at + timedelta(seconds=world.settings.rollback.settle)
    settling = Settling(until=until, baseline=op.baseline or Traffic(), before_users=op.before_users)
    return record.model_copy(update={"settling": settling, "before_users": op.before_users})


def _override(world: World, op: Operation) -> Override | None:
    """What took the release past gates, here or on its way here: it stays said of it."""
    if op.request.override or op.request.source is None:
        return op.request.override
    candidate = world.state.load().ring(op.request.source).candidate
    return candidate.override if candidate and candidate.release == release_of(op).built_from else None


def _with_candidate(world: World, op: Operation, record: RingRecord) -> RingRecord:
    release, now = release_of(op), op.updated_at
    tag = ring_tag(op.request.ring, release.commit)
    ttl = timedelta(seconds=world.settings.rings[op.request.ring].candidate_ttl)
    candidate = Candidate(
        release=release.id, source=str(op.request.source), commit=release.commit, tag=tag, images=release.images,
        passed_at=now, expires_at=now + ttl, gates={r.name: r.status for r in op.gates},
        override=op.request.override,
    )  # fmt: skip
    return record.model_copy(
        update={
            "candidate": candidate,
            "tag": tag,
            "commit": release.commit,
            "release": release.id,
            "deployed_at": now,
            "override": op.request.override,
        }
    )


def restored(world: World, op: Operation, record: RingRecord) -> RingRecord:
    """The ring's record once what this rollout brought is gone again."""
    if reason := op.verification.get("reason"):
        record = policy.condemn(record, release_of(op).id, op.updated_at, str(reason))
    if op.previous is None:
        record = record.model_copy(update={"running": False})
    elif op.previous != record.release:
        good, keep = world.releases.load(op.previous), world.settings.keep_releases
        record = policy.went_back(record, good, op.updated_at, None, "", keep)
    if not op.slotted:
        return record.model_copy(update={"settling": None, "before_users": None, "returned": op.previous is not None})
    # what serves goes on proving itself; whatever waited in the other slot made room for what went
    goes_on = record.settling if record.running else None
    return record.model_copy(update={"settling": goes_on and goes_on.model_copy(update={"release": None})})
