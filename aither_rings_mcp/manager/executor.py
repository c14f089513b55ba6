"""Drives one rollout phase by phase. Recovery is the same loop, entered later.

Each phase is on disk before its effect; what the effect decided is on disk with the next phase. A worker that dies
in between repeats an effect, and every effect may be repeated.
"""

from __future__ import annotations

from datetime import datetime

import anyio

from aither_rings_mcp.domain.errors import DockerUnavailable, RingError
from aither_rings_mcp.domain.model import Event
from aither_rings_mcp.domain.rollout import BEFORE_EFFECT, FINAL, Operation, Phase, Signal, Step, advance
from aither_rings_mcp.manager.outcomes import outcome_of
from aither_rings_mcp.manager.steps import Moved, Steps, failed
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

#: Phases that a person may end at any moment: nothing that runs has been touched.
_CANCELLABLE = frozenset({Phase.BUILDING, Phase.GATING})
_CANCEL_POLL_S = 0.5


class Executor:
    """Runs operations whose claim the caller holds."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._steps = Steps(world, on_line)

    async def run(self, op: Operation) -> Operation:
        """Drives `op` to a final phase; returns it unfinished only if the engine stays away past its limit."""
        while not op.final:
            try:
                signal, op = await self._effect(op)
            except DockerUnavailable as error:
                if op.phase in BEFORE_EFFECT:
                    signal, op = Signal.ERROR, failed(op, error)
                elif await self._engine_back():
                    continue
                else:
                    self._say(f"the engine stayed away; {op.phase} is left for `ring-ctl recover`")
                    return op
            op = self._moved(op, signal)
        return op

    async def _effect(self, op: Operation) -> Moved:
        if op.phase in BEFORE_EFFECT and self._world.journals.cancel_asked(op.id):
            return Signal.CANCEL, op
        try:
            if op.phase in _CANCELLABLE:
                return await self._cancellable(op)
            return await self._steps.act(op)
        except DockerUnavailable:
            raise
        except RingError as error:
            if op.phase in BEFORE_EFFECT:
                return Signal.ERROR, failed(op, error)
            raise

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
            while not self._world.journals.cancel_asked(op.id):  # noqa: ASYNC110 - asked for by another process
                await anyio.sleep(_CANCEL_POLL_S)
            group.cancel_scope.cancel()
        if error:
            raise error
        return moved or (Signal.CANCEL, op)

    def _moved(self, op: Operation, signal: Signal) -> Operation:
        """The next phase, on disk. A final one is told to the history first, so that no ending goes untold."""
        now = self._world.clock.now()
        phase = advance(op.phase, signal)
        steps = (*op.steps, Step(phase=phase, at=now))
        op = op.model_copy(update={"phase": phase, "steps": steps, "updated_at": now})
        if phase in FINAL:
            op = op.model_copy(update={"ended_at": now})
            if phase is Phase.STUCK:
                self._mark_stuck(op)
            self._world.history.append(self._event(op, now))
        self._world.journals.save(op)
        self._say(f"-> {phase}")
        return op

    def _mark_stuck(self, op: Operation) -> None:
        reason = str(op.verification.get("reason") or (op.failure.record.get("message") if op.failure else "")) or "?"
        with self._world.claims.state_lock():
            state = self._world.state.load()
            record = state.ring(op.request.ring).model_copy(update={"stuck": f"{op.id}: {reason}"})
            self._world.state.save(state.with_ring(op.request.ring, record))

    def _event(self, op: Operation, now: datetime) -> Event:
        moves = op.phase not in {Phase.BLOCKED, Phase.FAILED, Phase.CANCELLED}
        to = op.release.id if op.release else None
        detail = op.verification.get("reason") or (op.failure.record.get("message") if op.failure else None)
        return Event(
            at=now,
            ring=op.request.ring,
            event=op.request.kind,
            outcome=outcome_of(op, gate=self._world.is_gate(op.request.ring)),
            operation=op.id,
            # a rollout that went back ends where it began: from the bad release to the one before
            from_=to if op.phase is Phase.ROLLED_BACK else op.previous,
            to=op.previous if op.phase is Phase.ROLLED_BACK else to if moves else None,
            commit=op.release.commit if op.release else None,
            actor=str(op.actor),
            reason=op.request.override.reason if op.request.override else op.request.reason,
            duration_s=round((now - op.created_at).total_seconds(), 1),
            gates_failed=tuple(result.name for result in op.gates if result.blocks),
            detail=str(detail)[:500] if detail else None,
        )

    async def _engine_back(self) -> bool:
        """Waits for the engine to answer again, up to `limits.engine`."""
        deadline = self._world.clock.monotonic() + self._world.settings.limits.engine
        self._say("the Docker engine does not answer; waiting for it")
        while self._world.clock.monotonic() < deadline:
            await self._world.clock.sleep(1.0)
            try:
                await self._world.engine.facts()
            except DockerUnavailable:
                continue
            self._say("the engine is back")
            return True
        return False
