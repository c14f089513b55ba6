"""People freeze a ring and thaw it; what comes of that is in the history."""

from __future__ import annotations

from datetime import datetime, timedelta

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import FreezeAnswer
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments
from aither_rings_mcp.domain.freeze import Freeze, check_not_frozen, freeze_of
from aither_rings_mcp.domain.model import Actor, Event, Frozen, Override, RingRecord
from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.manager.world import World

#: Who wants it longer leaves the time out.
_LONGEST_S = 366 * 86400
#: It is in every answer about the ring.
_LONGEST_REASON = 300


class Freezing:
    """The freezes of one installation: those set by hand, and the windows of rings.yaml."""

    def __init__(self, world: World) -> None:
        self._world = world

    def of(self, ring: str, record: RingRecord) -> Freeze | None:
        """What keeps new releases out of `ring` right now."""
        return freeze_of(record, self._world.settings.rings[ring].freeze, self._world.clock.now())

    def check(
        self, ring: str, actor: Actor, override: Override | None = None, source: str | None = None
    ) -> Freeze | None:
        """Raises `ring_frozen`; with an override, returns the freeze that it passes."""
        freeze = self.of(ring, self._world.state.load().ring(ring))
        check_not_frozen(freeze, ring, actor, override, source)
        return freeze

    def freeze(self, ring: str, actor: Actor, reason: str, for_s: float | None) -> FreezeAnswer:
        """Keeps new releases out of `ring` until `thaw`, or for so many seconds. A frozen ring stays as it is."""
        policy.known_ring(self._world.settings, ring)
        if len(reason.strip()) < 3:
            raise InvalidArguments("freeze needs a reason, in three letters or more", "Say what has to be over first.")
        if for_s is not None and not 0 < for_s <= _LONGEST_S:
            raise InvalidArguments("a freeze lasts up to 366 days", "Leave the time out to freeze until `thaw`.")
        now = self._world.clock.now()
        until = now + timedelta(seconds=for_s) if for_s else None
        with self._world.claims.state_lock():
            state = self._world.state.load()
            record = state.ring(ring)
            before = self.of(ring, record)
            if before and before.kind == "by_hand":
                return self._answer(ring, before, now, f"{ring} was frozen already, {before}; nothing was changed.")
            frozen = Frozen(by=str(actor), reason=redact(reason.strip())[:_LONGEST_REASON], since=now, until=until)
            record = record.model_copy(update={"frozen": frozen})
            # first: nothing is frozen, or thawed, without a trace
            self._tell(ring, "freeze", "frozen", actor, reason, until and f"until {until:%Y-%m-%d %H:%M:%SZ}")
            self._world.state.save(state.with_ring(ring, record))
        freeze = self.of(ring, record)
        return self._answer(ring, freeze, now, f"{ring} is frozen {freeze}.", changed=True)

    def thaw(self, ring: str, actor: Actor, reason: str | None) -> FreezeAnswer:
        """Lets new releases into `ring` again; a window of rings.yaml that is open stays. `forbidden` for an agent."""
        policy.known_ring(self._world.settings, ring)
        if actor.automatic:
            raise Forbidden(f"{actor} may not thaw {ring}", f"A person does: `ring-ctl thaw {ring}`.")
        now = self._world.clock.now()
        with self._world.claims.state_lock():
            state = self._world.state.load()
            record = state.ring(ring)
            before = self.of(ring, record)
            if before is None:
                return self._answer(ring, None, now, f"{ring} is not frozen; nothing was changed.")
            if before.kind == "window":
                said = f"{ring} is frozen {before}; that ends by itself, so nothing was changed."
                return self._answer(ring, before, now, said)
            record = record.model_copy(update={"frozen": None})
            self._tell(ring, "thaw", "thawed", actor, reason, f"was frozen {before}")
            self._world.state.save(state.with_ring(ring, record))
        still = self.of(ring, record)
        said = f"{ring} is thawed" + (f", but still frozen {still}." if still else ".")
        return self._answer(ring, still, now, said, changed=True)

    def _tell(self, ring: str, event: str, outcome: str, actor: Actor, reason: str | None, detail: str | None) -> None:
        reason = (reason or "").strip() or None
        told = Event(
            at=self._world.clock.now(), ring=ring, event=event, outcome=outcome, operation="", actor=str(actor),
            reason=reason, detail=redact(detail)[:500] if detail else None,
        )  # fmt: skip
        self._world.history.append(told)

    def _answer(
        self, ring: str, freeze: Freeze | None, now: datetime, summary: str, *, changed: bool = False
    ) -> FreezeAnswer:
        return FreezeAnswer(
            ok=True, summary=summary, as_of=now, ring=ring, frozen=str(freeze) if freeze else None, changed=changed
        )
