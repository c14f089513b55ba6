"""What people and agents see of a pipeline at rest: status, health, history, one operation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from aither_rings_mcp.domain.answers import (
    ActiveOperation,
    CandidateView,
    EventView,
    HealthAnswer,
    HistoryAnswer,
    LogSlice,
    NextAction,
    OperationAnswer,
    QuarantineView,
    RingStatus,
    StatusAnswer,
    StepView,
    VerifyAnswer,
)
from aither_rings_mcp.domain.errors import InvalidArguments, RingError
from aither_rings_mcp.domain.freeze import freeze_of
from aither_rings_mcp.domain.health import ring_state
from aither_rings_mcp.domain.model import Deployment, RecordedEvent, RingKind, RingRecord, State
from aither_rings_mcp.domain.policy import known_ring, runtime_ring
from aither_rings_mcp.domain.rollout import PERCENT, Operation, Phase
from aither_rings_mcp.domain.settings import Path
from aither_rings_mcp.manager import outcomes
from aither_rings_mcp.manager.drift import drift
from aither_rings_mcp.manager.image_looks import ImageLook, SeenImages
from aither_rings_mcp.manager.monitor_views import settling_until, watched
from aither_rings_mcp.manager.observer import look
from aither_rings_mcp.manager.operations import Operations, shown
from aither_rings_mcp.manager.unwell import advice, changed
from aither_rings_mcp.manager.world import World

LOG_LINES = 100


async def status(
    world: World, operations: Operations, seen: SeenImages, ring: str | None, detailed: bool
) -> StatusAnswer:
    """What is recorded of every ring (or one), and what is happening to it."""
    names = [ring] if ring else list(world.settings.rings)
    for name in names:
        known_ring(world.settings, name)
    state = world.state.load()
    left = {op.request.ring: shown(op) for op in operations.interrupted()}
    active = {name: left.get(name) or operations.active(name) for name in names}
    # while it is being changed, it differs from its record for a good reason
    quiet = [name for name in names if world.settings.rings[name].kind is RingKind.RUNTIME and not active[name]]
    images = ImageLook(world, seen)

    async def of_images() -> tuple[dict[str, Deployment | None], dict[str, str | None]]:
        return (
            {name: await images.way_back(state.ring(name)) for name in names},
            {name: await images.moved_tags(name, state.ring(name)) for name in quiet},
        )

    # without an engine nothing that is recorded can be said to run
    (ways, tags), running = await asyncio.gather(
        of_images(),
        asyncio.gather(*(world.engine.listed(world.project(name, state.ring(name).slot)) for name in quiet)),
    )
    drifts = {
        name: "; ".join(said for said in (drift(world, state.ring(name), there), tags[name]) if said) or None
        for name, there in zip(quiet, running, strict=True)
    }
    rings = [
        _ring_status(world, name, state.ring(name), active[name], name in left, drifts.get(name), ways[name], detailed)
        for name in names
    ]
    parts = [_in_short(view) for view in rings]
    return StatusAnswer(
        ok=all(view.state not in {"stuck", "unknown"} and not view.drift for view in rings),
        summary="; ".join(parts) + ".",
        next_actions=tuple(_after_status(world, rings, state)),
        as_of=world.clock.now(),
        rings=tuple(rings),
    )


def _in_short(view: RingStatus) -> str:
    now = view.active_operation
    if view.state == "unknown" and now:
        return f"{view.name}'s {now.kind} was interrupted while {now.phase}: `ring-ctl recover` carries it on"
    drifted = f", but {view.drift}" if view.drift else ""
    frozen = ", frozen" if view.frozen else ""
    return f"{view.name} {view.state}" + (f" ({view.tag})" if view.tag else "") + frozen + drifted


def _ring_status(
    world: World,
    name: str,
    record: RingRecord,
    active: ActiveOperation | None,
    left: bool,
    drifted: str | None,
    way: Deployment | None,
    detailed: bool,
) -> RingStatus:
    kind = world.settings.rings[name].kind
    now = world.clock.now()
    candidate, runtime = record.candidate, kind is RingKind.RUNTIME
    freeze = freeze_of(record, world.settings.rings[name].freeze, now)
    images = dict(world.releases.load(record.release).images) if detailed and record.release else None
    return RingStatus(
        name=name,
        kind=kind,
        # half-way through a change nobody carries on, the record says nothing about what runs
        state="unknown" if left else _state_word(kind, record, now),
        tag=record.tag,
        commit=record.commit,
        release=record.release,
        deployed_at=record.deployed_at,
        rollback_target=way.tag if way else record.rollback_target,
        rollback_release=way.release if way else record.rollback_release,
        rollback_ready=way is not None,
        active_operation=active,
        frozen=str(freeze) if freeze else None,
        quarantine=tuple(QuarantineView(**entry.model_dump()) for entry in record.quarantine) or None,
        override=f"{record.override.by}: {record.override.reason}" if record.override else None,
        stuck=record.stuck,
        drift=drifted,
        settling_until=settling_until(world, record) if runtime else None,
        slot=record.slot if world.settings.rings[name].green and record.running else None,
        images=images,
        candidate=CandidateView(
            release=candidate.release,
            tag=candidate.tag,
            commit=candidate.commit,
            passed_at=candidate.passed_at,
            expires_at=candidate.expires_at,
            expired=candidate.expired(now),
            forced_by=candidate.override.by if candidate.override else None,
            images=dict(candidate.images) if detailed else None,
        )
        if candidate
        else None,
    )


def _state_word(
    kind: RingKind, record: RingRecord, now: datetime
) -> Literal["running", "stopped", "empty", "candidate", "expired", "stuck"]:
    if record.stuck:
        return "stuck"
    if kind is RingKind.GATE:
        if record.candidate is None:
            return "empty"
        return "expired" if record.candidate.expired(now) else "candidate"
    if record.release is None:
        return "empty"
    return "running" if record.running else "stopped"


def _after_status(world: World, rings: Sequence[RingStatus], state: State) -> list[NextAction]:
    actions: list[NextAction] = []
    for view in rings:
        if view.active_operation:
            actions.append(
                NextAction(
                    tool="ring_operation",
                    arguments={"operation_id": view.active_operation.operation_id, "wait_s": 45},
                    why=f"{view.name} is being changed" if view.state != "unknown" else "see how far it came",
                )
            )
        elif view.kind is RingKind.RUNTIME and view.state in {"running", "stuck"}:
            actions.append(NextAction(tool="ring_health", arguments={"ring": view.name}, why="see whether it is well"))
        elif view.state == "candidate":
            actions += [
                _onward(path, condemned=_condemned(world, state.ring(path.target), str(view.release)))
                for path in world.settings.paths
                if path.source == view.name
            ]
    return actions[:3]


def _onward(path: Path, *, condemned: bool) -> NextAction:
    """What to do with a candidate: no plan of one that was taken back there would be made."""
    if condemned:
        why = f"the candidate was taken back from {path.target}: see why, then promote a mended one"
        return NextAction(tool="ring_history", arguments={"ring": path.target, "limit": 5}, why=why)
    arguments = {"source": path.source, "target": path.target}
    return NextAction(tool="ring_plan", arguments=arguments, why="see what promoting the candidate would change")


def _condemned(world: World, record: RingRecord, candidate: str) -> bool:
    """Whether what this candidate became in the ring is quarantined there."""
    for entry in record.quarantine:
        with suppress(RingError):  # it may be gone by now
            if world.releases.load(entry.release).built_from == candidate:
                return True
    return False


async def health(
    world: World, operations: Operations, seen: SeenImages, ring: str, services: Sequence[str] | None
) -> HealthAnswer:
    """Every service of a ring right now: container state and a fresh probe, asked side by side."""
    runtime_ring(world.settings, ring)
    record = world.state.load().ring(ring)
    release = world.releases.load(record.release) if record.release else None
    known = world.services_of(release)
    if services:
        unknown = sorted(set(services) - set(known))
        if unknown:
            raise InvalidArguments(
                f"{ring} has no service {', '.join(unknown)}",
                f"Its services: {', '.join(known)}.",
                services=list(known),
            )
    found, way, shared = await asyncio.gather(
        look(world, world.project(ring, record.slot), services or known),
        ImageLook(world, seen).way_back(record),
        _backbone(world),
    )
    state = ring_state(found)
    bad = [service for service in found if not service.healthy]
    critical = tuple(service.name for service in bad if service.critical)
    healthy = len(found) - len(bad)
    held: str | None = None
    actions = (changed(ring),) if bad else ()
    if critical:
        held, actions = await advice(world, operations, ring, record, way)
    return HealthAnswer(
        ok=state == "healthy",
        summary=f"{ring} is {state}: {healthy} of {len(found)} services healthy"
        + (f"; critical: {', '.join(critical)}" if critical else "")
        + (f"; {held}" if held else "")
        + ("; no release that it could go back to is ready." if critical and not way else "."),
        next_actions=actions,
        as_of=world.clock.now(),
        ring=ring,
        state=state,
        healthy=healthy,
        total=len(found),
        critical_unhealthy=critical,
        rollback_ready=way is not None,
        services=found,
        backbone=shared,
        monitor=watched(world, ring),
    )


async def _backbone(world: World) -> dict[str, str]:
    """Backbone service -> Docker's own word for it."""
    if world.settings.backbone is None:
        return {}
    containers = await world.engine.listed(world.settings.backbone.project)
    return {c.service: c.health or c.status for c in containers}


def history(
    world: World, ring: str | None, limit: int, cursor: str | None, since: datetime | None, event: str | None
) -> HistoryAnswer:
    """What happened, newest first."""
    if ring is not None and ring != "shared":
        known_ring(world.settings, ring)
    if not 1 <= limit <= 100:
        raise InvalidArguments(f"limit is {limit}", "Ask for 1 to 100 events; `cursor` gives the next ones.")

    def wanted(recorded: RecordedEvent) -> bool:
        return (
            (ring is None or recorded.ring == ring)
            and (since is None or recorded.at >= since)
            and (event is None or event in {recorded.event, recorded.outcome})
        )

    events, following = world.history.read(limit, cursor, wanted)
    views = tuple(
        EventView(
            **{
                key: value
                for key, value in recorded.model_dump(by_alias=True).items()
                if key not in {"prev", "hash"} and value not in (None, ())
            }
        )
        for recorded in events
    )
    about = f" of {ring}" if ring else ""
    return HistoryAnswer(
        ok=True,
        summary=f"{len(views)} events{about}, newest first." if views else f"No events{about}.",
        as_of=world.clock.now(),
        events=views,
        next_cursor=following,
    )


def verified(world: World) -> VerifyAnswer:
    """Whether the history is whole: every line chained to the one before."""
    events, head, broken_at, torn = world.history.verify()
    if broken_at is None:
        said = f"{events} events, the chain holds." + (" A torn last line is ignored." if torn else "")
    else:
        said = f"The chain breaks at event {broken_at}: that line was changed, lost or damaged."
    return VerifyAnswer(
        ok=broken_at is None,
        summary=said,
        as_of=world.clock.now(),
        events=events,
        head=head,
        broken_at=broken_at,
        torn_tail=torn,
    )


def _unasked(actions: tuple[NextAction, ...], log_read: bool) -> tuple[NextAction, ...]:
    """Without the call that was just made: an agent that follows what is offered would never end."""
    return tuple(action for action in actions if not (log_read and action.arguments.get("include_log")))


def operation(
    world: World, op: Operation, interrupted: bool, include_log: bool, log_cursor: int | None, log_lines: int
) -> OperationAnswer:
    """One operation as it stands: phases, gates, and its result or error once it has ended."""
    gate, onward = world.is_gate(op.request.ring), world.onward(op.request.ring)
    now = world.clock.now()
    failure = outcomes.failure_of(op)
    result: dict[str, Any] | None = None
    outcome = outcomes.outcome_of(op, gate=gate)
    actions = () if interrupted else _unasked(outcomes.next_actions(op, outcome, onward), include_log)
    if op.final and failure is None:
        answer = outcomes.answer(op, gate=gate, onward=onward, now=now).model_copy(update={"next_actions": actions})
        result = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    log: LogSlice | None = None
    if include_log:
        lines, following = world.logs.read(op.id, log_cursor or 0, log_lines)
        log = LogSlice(lines=lines, next_cursor=following if lines else None)
    return OperationAnswer(
        ok=not interrupted and op.phase is not Phase.STUCK and (failure is None or op.phase is Phase.CANCELLED),
        summary=failure.message if failure else outcomes.summary(op, outcome, interrupted),
        next_actions=actions,
        as_of=now,
        operation_id=op.id,
        kind=op.request.kind,
        ring=op.request.ring,
        status="interrupted" if interrupted else op.phase.value if op.final else "running",  # type: ignore[arg-type]
        phase=op.phase,
        percent=PERCENT.get(op.phase, 100),
        actor=str(op.actor),
        started_at=op.created_at,
        steps=tuple(StepView(phase=step.phase, at=step.at, note=step.note) for step in op.steps),
        gates=op.gates,
        result=result,
        error=failure.as_dict() if failure else None,
        log=log,
    )
