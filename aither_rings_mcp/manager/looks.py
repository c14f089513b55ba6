"""What the monitor sees: one sample of each ring, and whether somebody else is to blame for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.watch import Sample
from aither_rings_mcp.manager.alerts import Alerts
from aither_rings_mcp.manager.backbone import trouble
from aither_rings_mcp.manager.drift import drift
from aither_rings_mcp.manager.observer import judge, sampled
from aither_rings_mcp.manager.world import BACKBONE, World


class Looks:
    """One monitor's looks. What is wrong beside the rings' health is told on the way."""

    def __init__(self, world: World, alerts: Alerts) -> None:
        self._world = world
        self._alerts = alerts

    async def at(self, records: Mapping[str, RingRecord], *, engine_left: bool) -> dict[str, Sample]:
        """One sample of each of these rings that runs. `engine_left`: since the looks before."""
        looks: dict[str, Sample] = {}
        try:
            backbone = await trouble(self._world)
            needed = any(record.running for record in records.values())
            await self._alerts.tell(BACKBONE, "backbone", backbone if needed else None)
            for ring, record in records.items():
                containers = await self._world.engine.containers(self._world.project(ring, record.slot))
                drifted = drift(self._world, record, containers)
                await self._alerts.tell(ring, "drift", drifted)
                if record.running:
                    look = await self._sample(containers, backbone or drifted)
                    looks[ring] = look.model_copy(update={"engine_left": engine_left})
        except RingError as error:
            await self._alerts.tell(BACKBONE, "engine", error.message)
            unseen = [ring for ring, record in records.items() if record.running and ring not in looks]
            nothing = Sample(at=self._now(), excuse=error.message, blind=True, engine_left=True)
            return {**looks, **dict.fromkeys(unseen, nothing)}
        await self._alerts.tell(BACKBONE, "engine", None)
        return looks

    async def _sample(self, containers: Sequence[ContainerView], excuse: str | None) -> Sample:
        # what is not there is drift
        there = {container.service for container in containers}
        critical = [name for name in self._world.settings.critical if name in there]
        seen = await judge(self._world, containers, critical)
        return sampled(seen, self._now(), excuse)

    def _now(self) -> float:
        return self._world.clock.now().timestamp()
