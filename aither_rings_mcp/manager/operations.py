"""Starts, watches and reattaches to operations, the same way for every door."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from aither_rings_mcp.domain.answers import ActiveOperation, Progress
from aither_rings_mcp.domain.errors import EngineFailure, InvalidArguments, RingBusy
from aither_rings_mcp.domain.log_lines import seconds_into, unstamped
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.naming import new_operation_id
from aither_rings_mcp.domain.rollout import PERCENT, Kind, Operation, Request
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import Claim

Watch = Callable[[Progress], Awaitable[None]]
#: Told the operation's id as soon as there is one, before anything is waited for.
Started = Callable[[str], None]

_POLL_S = 0.1
#: How far back a repeated idempotency key is looked for.
_LOOK_BACK = 100
#: A watcher hears at least this often that its operation still runs.
_HEARTBEAT_S = 5.0


class Operations:
    """The operations of one installation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def start(
        self,
        request: Request,
        actor: Actor,
        idempotency_key: str | None = None,
        allowed: Callable[[], object] = lambda: None,
    ) -> Operation:
        """Journals the request and hands it to a worker of its own; the same key gives the same operation.

        Raises `ring_busy` when the ring has an owner, or an interrupted operation that has to be carried on first, and
        what `allowed` raises once nobody else can change the ring any more.
        """
        world = self._world
        now = world.clock.now()
        operation_id = new_operation_id(now, secrets.token_hex(3))
        claim = world.claims.take(request.ring, operation_id)
        try:
            # Read after the claim: whoever was faster has journalled by now.
            recent = world.journals.recent(_LOOK_BACK)
            if idempotency_key and (before := _same_key(recent, idempotency_key, request)):
                return before
            if claim is None:
                raise self._busy(request.ring)
            self._check_nothing_left(request.ring)
            allowed()
            op = Operation(
                id=operation_id, request=request, actor=actor, created_at=now, updated_at=now,
                epoch=claim.epoch, idempotency_key=idempotency_key,
            )  # fmt: skip
            world.journals.create(op)
            self._hand_over(op, claim)
        finally:
            # the worker holds the same lock through its own descriptor
            if claim:
                claim.release()
        return op

    def started(self, idempotency_key: str | None, request: Request) -> str | None:
        """The id of the operation that this key already started, if any."""
        if idempotency_key is None:
            return None
        before = _same_key(self._world.journals.recent(_LOOK_BACK), idempotency_key, request)
        return before.id if before else None

    async def free(self, ring: str) -> None:
        """Returns when somebody may change a ring, or raises `ring_busy` at once; `start` decides for good.

        What only stops a slot that nobody needs any more is waited for: nobody ordered it, so it refuses nobody.
        """
        clock = self._world.clock
        until = clock.monotonic() + self._world.settings.limits.down
        while clock.monotonic() < until and (active := self.active(ring)) and active.kind is Kind.SETTLE:
            await clock.sleep(_POLL_S)
        if self._world.claims.holder(ring) is not None:
            raise self._busy(ring)
        self._check_nothing_left(ring)

    def resume(self, op: Operation) -> bool:
        """Hands an interrupted operation to a new worker; False when somebody works on its ring."""
        claim = self._world.claims.take(op.request.ring, op.id)
        if claim is None:
            return False
        try:
            self._hand_over(op, claim)
        finally:
            claim.release()
        return True

    def _hand_over(self, op: Operation, claim: Claim) -> None:
        try:
            self._world.workers.start(op.id, claim)
        except OSError as error:
            raise EngineFailure(
                f"no worker could be started for {op.id}: {error.strerror or error}",
                "Nothing was changed. `ring-ctl recover` carries it on once the machine has room for a process.",
                operation_id=op.id,
            ) from error

    def interrupted(self) -> tuple[Operation, ...]:
        """Unfinished operations that nobody works on, oldest first."""
        world = self._world
        left = [op for op in world.journals.unfinished() if not self.alive(op)]
        return tuple(reversed([op for op in left if not world.journals.load(op.id).final]))

    def alive(self, op: Operation) -> bool:
        return self._world.claims.holder(op.request.ring) == op.id

    def active(self, ring: str) -> ActiveOperation | None:
        holder = self._world.claims.holder(ring)
        if holder is None:
            return None
        for op in self._world.journals.unfinished():
            if op.id == holder:
                return shown(op)
        return None

    async def watch(
        self, operation_id: str, wait_s: float | None, watch: Watch | None = None
    ) -> tuple[Operation, bool]:
        """Waits until the operation ends or `wait_s` seconds passed (None: until it ends).

        The second value says that it was left unfinished by its worker. Leaving off stops nothing.
        """
        world = self._world
        started = world.clock.monotonic()
        cursor, last_told, phase = 0, started, None
        while True:
            # who holds the claim is asked first: a worker that ends in between has saved its last phase
            op = world.journals.load(operation_id)
            alive = op.final or self.alive(op)
            if not alive:
                op = world.journals.load(operation_id)
            now = world.clock.monotonic()
            if watch:
                lines, cursor = world.logs.read(operation_id, cursor, 50)
                lines, ended = _to_the_end(lines, op)
                heartbeat = (
                    () if lines or op.phase != phase or now - last_told < _HEARTBEAT_S else (f"still {op.phase}",)
                )
                for line in (*lines, *heartbeat):
                    await watch(
                        Progress(
                            operation_id=op.id,
                            phase=op.phase,
                            percent=PERCENT.get(op.phase, 100),
                            message=line,
                            elapsed_s=seconds_into(line, op.created_at, world.clock.now()),
                        )
                    )
                    last_told = now
                phase = op.phase
                if op.final and lines and not ended:
                    continue  # how it ended is told, too
            if op.final:
                return op, False
            if not alive:
                return op, True
            if wait_s is not None and now - started >= wait_s:
                return op, False
            await world.clock.sleep(_POLL_S)

    def _busy(self, ring: str) -> RingBusy:
        active = self.active(ring)
        if active is None:
            return RingBusy(f"{ring} is being changed by somebody else", "Try again in a moment.", ring=ring)
        return RingBusy(
            f"{ring} is busy: {active.owner} started a {active.kind} at {active.since:%H:%M:%SZ}, now {active.phase}",
            f"Watch it with `ring-ctl operation {active.operation_id} --follow` (tool: ring_operation).",
            ring=ring,
            operation_id=active.operation_id,
            owner=active.owner,
            since=active.since.isoformat(),
            phase=active.phase,
        )

    def _check_nothing_left(self, ring: str) -> None:
        for op in self._world.journals.unfinished():
            if op.request.ring == ring:
                raise RingBusy(
                    f"{op.id} ({op.request.kind} of {ring}) was interrupted while {op.phase}",
                    "A person carries it on first with `ring-ctl recover`.",
                    ring=ring,
                    operation_id=op.id,
                    phase=op.phase,
                )


def shown(op: Operation) -> ActiveOperation:
    return ActiveOperation(
        operation_id=op.id, kind=op.request.kind, phase=op.phase, since=op.created_at, owner=str(op.actor)
    )


def _to_the_end(lines: tuple[str, ...], op: Operation) -> tuple[tuple[str, ...], bool]:
    """The lines without what a worker says while it tidies up after the ending, and whether that is among them."""
    ending = [number for number, line in enumerate(lines, 1) if op.final and unstamped(line) == f"-> {op.phase}"]
    return (lines[: ending[0]], True) if ending else (lines, False)


def _same_key(recent: tuple[Operation, ...], key: str, request: Request) -> Operation | None:
    """What was started with this key, by whomever.

    Who comes back with the plan that a person was asked about goes on: that is another operation.
    """
    for op in recent:
        goes_on = op.approval_plan is not None and op.approval_plan == request.plan_id
        if op.idempotency_key == key and not goes_on:
            if not _same_wish(op.request, request):
                raise InvalidArguments(
                    f"the idempotency key was used for another request: {op.request.kind} {op.request.ring} ({op.id})",
                    "Use a new key for a new request.",
                    operation_id=op.id,
                )
            return op
    return None


def _same_wish(done: Request, asked: Request) -> bool:
    """The same request, apart from what the manager filled in (the plan, the release that was chosen, the freeze that
    was passed) and from why: the same trouble may have another name at a second look.
    """
    if asked.plan_id not in {None, done.plan_id}:
        return False
    names = ["plan_id", "tag", "release", "freeze_passed", "reason"]
    if done.wished is None:  # nobody chose, or the journal is from before that was kept
        names.append("wished")
    filled = {name: getattr(asked, name) for name in names}
    return done.model_copy(update=filled) == asked
