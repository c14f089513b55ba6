"""A person takes a ring back into service after it was left to a person."""

from __future__ import annotations

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import NextAction, UnlockAnswer
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, RingBusy
from aither_rings_mcp.domain.model import Actor, Event
from aither_rings_mcp.manager.world import World


def unlock(world: World, ring: str, actor: Actor, reason: str) -> UnlockAnswer:
    """Lifts `stuck`, and a claim whose record cannot be read; told to the history with the reason.

    Changes nothing that runs. Raises `ring_busy` while somebody really changes the ring, `forbidden` for an agent.
    """
    policy.known_ring(world.settings, ring)
    if actor.automatic:
        raise Forbidden(f"{actor} may not unlock {ring}", f"A person does: `ring-ctl unlock {ring} --reason TEXT`.")
    if len(reason.strip()) < 3:
        raise InvalidArguments("unlock needs a reason, in three letters or more", "Say what was looked at and mended.")
    lifted: list[str] = []
    if world.claims.clear_unreadable(ring):
        lifted.append("the claim that could not be read")
    claim = world.claims.take(ring, "unlock")
    if claim is None:
        raise RingBusy(
            f"{ring} is being changed right now", f"Wait for it to end: `ring-ctl status {ring}`.", ring=ring
        )
    try:
        with world.claims.state_lock():
            state = world.state.load()
            record = state.ring(ring)
            if record.stuck:
                lifted.append(f"stuck ({record.stuck})")
                world.state.save(state.with_ring(ring, record.model_copy(update={"stuck": None})))
    finally:
        claim.release()
    now = world.clock.now()
    if lifted:
        told = Event(
            at=now,
            ring=ring,
            event="unlock",
            outcome="unlocked",
            operation="",
            actor=str(actor),
            reason=reason.strip(),
            detail="; ".join(lifted)[:500],
        )
        world.history.append(told)
    return UnlockAnswer(
        ok=True,
        summary=f"{ring} is unlocked: {'; '.join(lifted)}." if lifted else f"Nothing locked {ring}.",
        next_actions=(NextAction(tool="ring_health", arguments={"ring": ring}, why="see how it is"),) if lifted else (),
        as_of=now,
        ring=ring,
        lifted=tuple(lifted),
    )
