"""The rules of the pipeline: which ways exist, what may go back to what, what a record becomes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from difflib import get_close_matches

from aither_rings_mcp.domain.errors import InvalidTransition, NoRollbackTarget, Quarantined, UnknownRing
from aither_rings_mcp.domain.model import (
    Actor,
    Deployment,
    Override,
    Quarantine,
    Release,
    RingKind,
    RingRecord,
    SchemaChange,
)
from aither_rings_mcp.domain.naming import checked_release, checked_tag
from aither_rings_mcp.domain.redact import plain, redact
from aither_rings_mcp.domain.settings import Path, Ring, Settings

#: How many releases are remembered as taken back, and as condemned.
_REMEMBERED = 100
#: So much of why a release was condemned is kept, in characters.
_REASON = 300


def known_ring(settings: Settings, name: str) -> Ring:
    """The ring of that name, or `unknown_ring` with the closest name that exists."""
    if name in settings.rings:
        return settings.rings[name]
    close = get_close_matches(name, settings.rings, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise UnknownRing(
        f"there is no ring {name!r}", f"{hint}The rings are {', '.join(settings.rings)}.", rings=list(settings.rings)
    )


def runtime_ring(settings: Settings, name: str) -> Ring:
    """The ring of that name if it runs containers; a gate has nothing to start, stop or roll back."""
    ring = known_ring(settings, name)
    if ring.kind is RingKind.GATE:
        raise InvalidTransition(
            f"{name!r} is a gate and runs no containers",
            f"Use one of {', '.join(settings.runtime_rings)}; `ring-ctl status {name}` (tool: ring_status) shows its "
            "candidate.",
        )
    return ring


def known_path(settings: Settings, source: str, target: str) -> Path:
    """The path between two rings, or `invalid_transition` with the way that does exist."""
    known_ring(settings, source)
    known_ring(settings, target)
    for path in settings.paths:
        if (path.source, path.target) == (source, target):
            return path
    ways = ", ".join(f"{path.source} -> {path.target}" for path in settings.paths) or "none"
    raise InvalidTransition(
        f"there is no path {source} -> {target}",
        f"Paths in rings.yaml: {ways}.",
        paths=[[path.source, path.target] for path in settings.paths],
    )


def check_not_quarantined(record: RingRecord, ring: str, release: str, override: Override | None) -> None:
    """A release that was rolled back comes back only by an override."""
    if override:
        return
    for entry in record.quarantine:
        if entry.release == release:
            raise Quarantined(
                f"release {release} was rolled back from {ring} at {entry.since:%Y-%m-%d %H:%M:%SZ}",
                "A fix passes freely: deploy it and bring it here through its gates. This very release comes back only "
                "if a person overrides that with --force --reason.",
                release=release,
                reason=entry.reason,  # somebody's words, perhaps an agent's: data beside the message, never in it
            )


def ways_back(record: RingRecord) -> tuple[Deployment, ...]:
    """What this ring may go back to, best first: proven, older than what runs, not rolled back before."""
    older = record.deployments[1:] if record.release else record.deployments
    seen: set[str] = {record.release} if record.release else set()
    ways: list[Deployment] = []
    for deployment in older:
        if deployment.proven_at and deployment.release not in seen and not record.is_quarantined(deployment.release):
            ways.append(deployment)
        seen.add(deployment.release)
    return tuple(ways)


def open_ways(record: RingRecord, lost: Collection[str]) -> tuple[Deployment, ...]:
    """The ways back that can be gone, best first; `lost` are releases whose images are not here any more."""
    return tuple(way for way in ways_back(record) if way.release not in lost)


def last_good(record: RingRecord, failed: str, lost: Collection[str] = ()) -> Deployment | None:
    """What a restore goes to: the newest that proved itself, other than the release that failed; None when none did.

    Releases in `lost` come last: where nothing else is left, failing to go back has to call a person.
    """
    good = [
        d for d in record.deployments if d.proven_at and d.release != failed and not record.is_quarantined(d.release)
    ]
    return next((d for d in good if d.release not in lost), good[0] if good else None)


def contracts_crossed(record: RingRecord, target: str, leaving: Release | None = None) -> tuple[str, ...]:
    """The releases between what runs (or `leaving`, which is not recorded yet) and `target` that took data away.

    What ran before such a release may not find its data: only a person goes back across one.
    """
    newer: list[Deployment] = []
    for deployment in record.deployments:
        if deployment.release == target:
            break
        newer.append(deployment)
    crossed = [d.release for d in newer if d.schema_change is SchemaChange.CONTRACT]
    if leaving and leaving.id != target and leaving.schema_change is SchemaChange.CONTRACT:
        crossed.insert(0, leaving.id)
    return tuple(dict.fromkeys(crossed))


def check_crosses_nothing(record: RingRecord, ring: str, target: str, actor: Actor) -> None:
    """Refuses an automatic way back across a release that took data away."""
    if actor.automatic and (crossed := contracts_crossed(record, target)):
        raise NoRollbackTarget(
            contract_reason(ring, target, crossed), contract_next_step(ring), contracts=list(crossed)
        )


def contract_reason(ring: str, target: str, crossed: Sequence[str]) -> str:
    return (
        f"going back to {target} crosses {', '.join(crossed)}, declared `schema: contract`: "
        f"what {ring} ran before may not find its data any more"
    )


def contract_next_step(ring: str) -> str:
    return (
        f"A person decides: back all the same with `ring-ctl rollback {ring} --reason TEXT`, or on with a fix, after "
        f"`ring-ctl unlock {ring} --reason TEXT` where the ring is stuck."
    )


def rollback_choice(
    record: RingRecord, ring: str, tag: str | None = None, release: str | None = None, lost: Collection[str] = ()
) -> Deployment:
    """The deployment a rollback goes to: the last that proved itself, or the one named by tag or release.

    A tag that several releases carried means the newest of them. What is in `lost` is passed over, unless nothing
    else is named so. Raises `no_rollback_target`.
    """
    ways = ways_back(record)
    listed = ", ".join(f"{way.tag} ({way.release}{', lost' if way.release in lost else ''})" for way in ways) or "none"
    if tag is not None:
        checked_tag(tag)
        ways = tuple(way for way in ways if way.tag == tag)
    if release is not None:
        checked_release(release)
        ways = tuple(way for way in ways if way.release == release)
    if here := [way for way in ways if way.release not in lost]:
        return here[0]
    if ways and (tag or release):
        return ways[0]
    if ways:
        raise NoRollbackTarget(
            f"{ring} cannot go back: the images of every release that proved itself are gone",
            f"A person has to deploy or promote a release again. Ways back: {listed}.",
            ways=[],
        )
    wanted = f" with {'tag ' + tag if tag else 'id ' + str(release)}" if tag or release else ""
    raise NoRollbackTarget(
        f"{ring} has no earlier release{wanted} that proved itself",
        f"Ways back: {listed}. "
        + ("" if open_ways(record, lost) else f"A person has to bring a fix, or mend {ring} by hand. ")
        + f"`ring-ctl history {ring}` shows what ran (tool: ring_history).",
        ways=[way.release for way in ways_back(record)],
    )


def deployed(
    record: RingRecord, release: Release, at: datetime, proven: bool, override: Override | None, keep: int
) -> RingRecord:
    """The record after `release` came to run in its ring.

    Only ways back count against `keep`, so failed and condemned releases never push good ones out.
    """
    newest = Deployment(
        release=release.id,
        tag=release.tag,
        commit=release.commit,
        deployed_at=at,
        proven_at=at if proven else None,
        schema_change=release.schema_change,
    )
    rest = tuple(d for d in record.deployments if d.release != release.id)
    # Deploying a condemned release over an override lifts its quarantine: it runs now.
    quarantine = tuple(q for q in record.quarantine if q.release != release.id)
    return _with_ways(
        record.model_copy(
            update={
                "tag": release.tag,
                "commit": release.commit,
                "release": release.id,
                "deployed_at": at,
                "running": True,
                "deployments": _retained((newest, *rest), keep, frozenset(q.release for q in quarantine)),
                "override": override,
                "stuck": None,
                "returned": False,
                "quarantine": quarantine,
            }
        )
    )


def went_back(
    record: RingRecord, release: Release, at: datetime, condemned: str | None, reason: str, keep: int
) -> RingRecord:
    """The record after a rollback or restore to `release`; `condemned` is quarantined."""
    kept = tuple(d for d in record.deployments if d.release != release.id)
    target = next((d for d in record.deployments if d.release == release.id), None)
    proven_at = (target.proven_at if target else None) or at
    back = Deployment(
        release=release.id,
        tag=release.tag,
        commit=release.commit,
        deployed_at=at,
        proven_at=proven_at,
        schema_change=release.schema_change,
    )
    if condemned and condemned != release.id:
        record = condemn(record, condemned, at, reason)
    return _with_ways(
        record.model_copy(
            update={
                "tag": release.tag,
                "commit": release.commit,
                "release": release.id,
                "deployed_at": at,
                "running": True,
                "deployments": _retained((back, *kept), keep, frozenset(q.release for q in record.quarantine)),
                "override": None,
                "stuck": None,
                "returned": True,
            }
        )
    )


def taken_back(record: RingRecord, release: str | None) -> RingRecord:
    """The record after the monitor took `release` back: it does so once."""
    if release is None or release in record.taken_back:
        return record
    return record.model_copy(update={"taken_back": (*record.taken_back, release)[-_REMEMBERED:]})


def condemn(record: RingRecord, release: str, at: datetime, reason: str) -> RingRecord:
    """The record with `release` quarantined; once is enough."""
    if record.is_quarantined(release):
        return record
    # in one line: every look at the ring shows it
    said = " ".join(redact(plain(reason)).split())
    entry = Quarantine(release=release, since=at, reason=said if len(said) <= _REASON else said[: _REASON - 1] + "…")
    return _with_ways(record.model_copy(update={"quarantine": (*record.quarantine, entry)[-_REMEMBERED:]}))


def kept_releases(record: RingRecord) -> tuple[str, ...]:
    """The releases whose images have to stay: what runs, every way back, the candidate."""
    held = [d.release for d in (*record.deployments[:1], *ways_back(record))]
    if record.release:
        held.append(record.release)
    if record.candidate:
        held.append(record.candidate.release)
    return tuple(dict.fromkeys(held))


def standing_releases(record: RingRecord, lost: Collection[str] = ()) -> tuple[str, ...]:
    """The releases whose images have to survive every prune: the next way back, the candidate, and what should run
    and does not; containers that run keep their own images.
    """
    standing = [way.release for way in open_ways(record, lost)[:1]]
    if record.candidate:
        standing.append(record.candidate.release)
    if record.release and (record.stuck or not record.running):
        standing.append(record.release)
    return tuple(dict.fromkeys(standing))


def _with_ways(record: RingRecord) -> RingRecord:
    ways = ways_back(record)
    return record.model_copy(
        update={
            "rollback_target": ways[0].tag if ways else None,
            "rollback_release": ways[0].release if ways else None,
        }
    )


def _retained(deployments: Sequence[Deployment], keep: int, condemned: frozenset[str]) -> tuple[Deployment, ...]:
    """The newest `keep` that are ways back, and as many of the others: each kind makes room for its own only."""
    retained: list[Deployment] = []
    counts = {True: 0, False: 0}
    for deployment in deployments:
        good = deployment.proven_at is not None and deployment.release not in condemned
        counts[good] += 1
        if counts[good] <= keep:
            retained.append(deployment)
    return tuple(retained)
