"""Takes a release back without being asked: once for each release, then a person is called."""

from __future__ import annotations

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.errors import NoRollbackTarget, RingBusy
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase, Request
from aither_rings_mcp.manager.alerts import MONITOR, Alerts
from aither_rings_mcp.manager.operations import Operations
from aither_rings_mcp.manager.way_back import lost_releases
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


class Restorer:
    """What the monitor, and who watches a release settle, do about a bad one."""

    def __init__(self, world: World, operations: Operations, alerts: Alerts, say: OnLine) -> None:
        self._world = world
        self._operations = operations
        self._alerts = alerts
        self._say = say

    async def restore(self, ring: str, record: RingRecord, why: str) -> None:
        """One automatic restore for each release, and none from what came by going back: then a person is called."""
        if record.returned:
            return await self.stick(ring, record, f"{record.release} came by going back, and is bad too: {why}")
        if record.release in record.taken_back:
            return await self.stick(ring, record, f"{record.release} was taken back before, and is bad again: {why}")
        try:
            choice = policy.rollback_choice(record, ring, lost=await lost_releases(self._world, record))
            policy.check_crosses_nothing(record, ring, choice.release, MONITOR)
            request = Request(kind=Kind.ROLLBACK, ring=ring, release=choice.release, leaving=record.release, reason=why)
            op = self._started(request, f"restore {ring} {record.release} {record.deployed_at}")
        except NoRollbackTarget as error:
            return await self.stick(ring, record, f"{why}; {error.message}")
        except RingBusy as error:
            return self._say(f"{ring}: {error.message}; looking again")
        # It may be the one of a round before, which came to nothing: a second one is a person's to start.
        if op.final and op.phase is not Phase.DONE:
            return await self.stick(ring, record, f"{why}; {op.id} could not take it back")
        self._say(f"{ring}: {why}; {op.id} takes it back to {choice.release}")
        return None

    async def stick(self, ring: str, record: RingRecord, why: str) -> None:
        """Nothing automatic happens to this ring any more, unless somebody changes it right now."""
        claim = self._world.claims.take(ring, "monitor")
        if claim is None:
            return
        try:
            with self._world.claims.state_lock():
                state = self._world.state.load()
                now = state.ring(ring)
                if (now.release, now.deployed_at) != (record.release, record.deployed_at):
                    return
                self._world.state.save(state.with_ring(ring, now.model_copy(update={"stuck": f"monitor: {why}"})))
        finally:
            claim.release()
        await self._alerts.tell(ring, "stuck", f"monitor: {why}")

    def _started(self, request: Request, key: str) -> Operation:
        """The one restore of this release: of this round, or of one before. One that the engine's absence ended
        before it touched anything was none.
        """
        while True:
            op = self._operations.start(request, MONITOR, key)
            if op.phase is not Phase.FAILED or op.failure is None or op.failure.record["code"] != "docker_unavailable":
                return op
            key += " again"
