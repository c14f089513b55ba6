"""Drives one rollout phase by phase. Recovery is the same loop, entered later.

Each phase is on disk before its effect; what the effect decided is on disk with the next phase. A worker that dies
in between repeats an effect, and every effect may be repeated. An ending is on disk before it is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.errors import EngineFailure, RingError
from aither_rings_mcp.domain.model import Event
from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.domain.rollout import BEFORE_EFFECT, FINAL, Kind, Operation, Phase, Signal, Step, advance
from aither_rings_mcp.manager.outcomes import outcome_of
from aither_rings_mcp.manager.steps import Moved, Steps
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

#: Phases that a person may end at any moment: nothing that runs has been touched.
_CANCELLABLE = frozenset({Phase.BUILDING, Phase.GATING})
_CANCEL_POLL_S = 0.5
_AGAIN_S = 1.0

T = TypeVar("T")


class Executor:
    """Runs operations whose claim the caller holds."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._steps = Steps(world, on_line)

    async def run(self, op: Operation) -> Operation:
        """Drives `op` to a final phase; returns it unfinished only if trouble outlasts `limits.engine`."""
        if op.phase is Phase.STARTING or (op.phase is Phase.SWITCHING and not op.slotted):
            await self._steps.clear_halfway(op)
        while not op.final:
            try:
                if self._world.claims.epoch(op.request.ring) > op.epoch:
                    self._say(f"{op.request.ring} has another owner by now; {op.phase} is theirs to carry on")
                    break
                op = await self._onward(op)
            except RingError as error:
                self._say(f"{error.message}; {op.phase} is left for `ring-ctl recover`")
                break
        return op

    async def _onward(self, op: Operation) -> Operation:
        signal = op.decided
        if signal is None:
            signal, op = await self._insist(partial(self._effect, op))
        return await self._insist(partial(self._moved, op, signal))

    async def _insist(self, act: Callable[[], Awaitable[T]]) -> T:
        """What `act` comes to once trouble has passed: an engine that is away, a full disk.

        Once something that runs was touched, there is no other way than on.
        """
        clock, deadline = self._world.clock, None
        while True:
            try:
                return await act()
            except RingError as error:
                if deadline is None:
                    deadline = clock.monotonic() + self._world.settings.limits.engine
                    self._say(f"{error.message}; trying again until it passes")
                if clock.monotonic() >= deadline:
                    raise
                await clock.sleep(_AGAIN_S)

    async def _effect(self, op: Operation) -> Moved:
        """What the phase comes to. Until something that runs is touched, whatever goes wrong ends the operation."""
        if op.phase not in BEFORE_EFFECT:
            if not (op.phase is Phase.SWITCHING and op.slotted):  # where nothing starts or stops
                await self._no_healing()
            return await self._steps.act(op)
        try:
            if op.phase is Phase.GATING:
                await self._steps.clear_preview(op)
            if self._world.journals.cancel_asked(op.id):
                return Signal.CANCEL, op
            return await (self._cancellable(op) if op.phase in _CANCELLABLE else self._steps.act(op))
        except RingError as error:
            return Signal.ERROR, op.failed(error)

    async def _no_healing(self) -> None:
        try:
            await self._world.healer.suspend()
        except EngineFailure as error:  # a healer that cannot be paused must not stand in the way of going back
            self._say(f"the healer goes on: {error.message}")

    async def _cancellable(self, op: Operation) -> Moved:
        moved: Moved | None = None
        error: RingError | None = None

        async def act() -> None:
            nonlocal moved, error
            try:
                moved = await self._steps.act(op)
            except RingError as raised:  # a task group would wrap it
                error = raised
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(act)
            try:
                while not self._world.journals.cancel_asked(op.id):  # noqa: ASYNC110 - asked for by another process
                    await anyio.sleep(_CANCEL_POLL_S)
            except RingError as raised:
                error = raised
            group.cancel_scope.cancel()
        if error:
            raise error
        return moved or (Signal.CANCEL, op)

    async def _moved(self, op: Operation, signal: Signal) -> Operation:
        """The next phase, on disk."""
        now = self._world.clock.now()
        phase = advance(op.phase, signal)
        if phase in FINAL:
            if op.decided is None:
                op = op.model_copy(update={"decided": signal, "updated_at": now})
                self._world.journals.save(op)
            await self._let_heal(op)
            op = self._told(op, phase)
            await self._call_a_person(op)
        else:
            steps = (*op.steps, Step(phase=phase, at=now))
            op = op.model_copy(update={"phase": phase, "steps": steps, "updated_at": now})
        self._world.journals.save(op)
        self._say(f"-> {phase}")
        return op

    def _told(self, op: Operation, phase: Phase) -> Operation:
        """The operation ended, told to the history before it counts as ended: so no ending goes untold."""
        at = op.updated_at
        steps = (*op.steps, Step(phase=phase, at=at))
        op = op.model_copy(update={"phase": phase, "steps": steps, "ended_at": at, "decided": None})
        if phase is Phase.STUCK:
            self._mark_stuck(op)
        self._world.history.append(self._event(op))
        return op

    async def _call_a_person(self, op: Operation) -> None:
        """Before the ending counts: who dies in between calls again, rather than nobody."""
        needed = op.phase in {Phase.STUCK, Phase.ROLLED_BACK} or op.actor.kind == "monitor"
        if needed and (trouble := await self._world.alarm.call(self._event(op))):
            self._say(trouble)

    async def _let_heal(self, op: Operation) -> None:
        """The healer goes on, unless another ring is changing over."""
        others = [ring for ring in self._world.settings.runtime_rings if ring != op.request.ring]
        with suppress(RingError):  # the monitor looks after it, too
            if not any(self._world.claims.holder(ring) for ring in others):
                await self._world.healer.resume()

    def _mark_stuck(self, op: Operation) -> None:
        with self._world.claims.state_lock():
            state = self._world.state.load()
            record = state.ring(op.request.ring)
            if op.stays and op.release:
                # It runs, whether it should or not; what ran before it is the way back that a person may choose.
                keep = self._world.settings.keep_releases
                record = policy.deployed(record, op.release, op.updated_at, False, op.request.override, keep)
            elif op.release and op.request.kind is not Kind.ROLLBACK and (bad := op.verification.get("reason")):
                record = policy.condemn(record, op.release.id, op.updated_at, str(bad))
            record = record.model_copy(update={"stuck": f"{op.id}: {op.why or '?'}", "before_users": None})
            self._world.state.save(state.with_ring(op.request.ring, record))

    def _event(self, op: Operation) -> Event:
        moves = op.phase not in {Phase.BLOCKED, Phase.FAILED, Phase.CANCELLED}
        to = op.release.id if op.release else None
        cancelled = self._world.journals.cancel_asked(op.id) if op.phase is Phase.CANCELLED else None
        return Event(
            at=op.updated_at,
            ring=op.request.ring,
            event=op.request.kind,
            outcome=outcome_of(op, gate=self._world.is_gate(op.request.ring)),
            operation=op.id,
            # a rollout that went back ends where it began: from the bad release to the one before
            from_=to if op.phase is Phase.ROLLED_BACK else op.previous,
            to=op.previous if op.phase is Phase.ROLLED_BACK else to if moves else None,
            commit=op.release.commit if op.release else None,
            actor=str(op.actor),
            via=op.actor.via,
            call=op.actor.call,
            reason=op.request.override.reason if op.request.override else op.request.reason,
            duration_s=round((op.updated_at - op.created_at).total_seconds(), 1),
            gates_failed=tuple(result.name for result in op.gates if result.blocks),
            detail=redact(_told(op, cancelled))[:500] or None,  # first: half a secret is not known for one
        )


def _told(op: Operation, cancelled: str | None) -> str:
    """Who gave it up and why, or why it went wrong, with the last lines that something wrote; and what it was forced
    past.
    """
    passed = op.request.freeze_passed
    forced = f"forced past a freeze {passed}" if passed else None
    given_up = f"cancelled by {cancelled}" if cancelled else None
    said = (given_up, op.verification.get("reason"), op.failure.why if op.failure else None, forced)
    return "; ".join(str(part) for part in said if part)
