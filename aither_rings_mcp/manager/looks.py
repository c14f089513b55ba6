"""What the monitor sees: one sample of each ring, and whether somebody else is to blame for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.model import RingRecord
from aither_rings_mcp.domain.watch import Sample
from aither_rings_mcp.manager.alerts import Alerts
from aither_rings_mcp.manager.drift import drift
from aither_rings_mcp.manager.observer import judge, sampled
from aither_rings_mcp.manager.world import BACKBONE, World


class Looks:
    """One monitor's looks. What is wrong beside the rings' health is told on the way."""

    def __init__(self, world: World, alerts: Alerts) -> None:
        self._world = world
        self._alerts = alerts

    async def at(self, records: Mapping[str, RingRecord], *, engine_left: bool) -> dict[str, Sample]:
        """One sample of each ring that runs; drift is told on the way. `engine_left`: since the looks before."""
        backbone = await self._backbone()
        looks: dict[str, Sample] = {}
        for ring, record in records.items():
            try:
                containers = await self._world.engine.containers(self._world.project(ring))
            except RingError as error:
                looks[ring] = Sample(at=self._world.clock.now().timestamp(), excuse=error.message, engine_left=True)
                continue
            drifted = drift(self._world, record, containers)
            await self._alerts.tell(ring, "drift", drifted)
            if record.running:
                look = await self._sample(containers, backbone or drifted)
                looks[ring] = look.model_copy(update={"engine_left": engine_left})
        return looks

    async def _backbone(self) -> str | None:
        """What is wrong with the backbone, told when it begins and when it ends."""
        backbone = self._world.settings.backbone
        if backbone is None:
            return None
        try:
            containers = await self._world.engine.containers(backbone.project)
        except RingError:
            return None
        unwell = sorted([c.service for c in containers if c.service != backbone.healer and not await self._well(c)])
        said = f"the backbone is not well: {', '.join(unwell)}" if unwell else None
        if not containers:
            said = "the backbone is down"
        needed = any(self._world.state.load().ring(ring).running for ring in self._world.settings.runtime_rings)
        await self._alerts.tell(BACKBONE, "backbone", said if needed else None)
        return said

    async def _well(self, container: ContainerView) -> bool:
        """By Docker's word and, as that comes late, by a probe of our own."""
        if container.status != "running" or container.health not in {None, "healthy"}:
            return False
        backbone = self._world.settings.backbone
        probe = backbone.probes.get(container.service) if backbone else None
        return probe is None or (await self._world.prober.probe(container, probe.http, probe.port)).ok

    async def _sample(self, containers: Sequence[ContainerView], excuse: str | None) -> Sample:
        there = {container.service for container in containers}
        critical = [name for name in self._world.settings.critical if name in there]
        seen = await judge(self._world, containers, critical)
        return sampled(seen, self._world.clock.now().timestamp(), excuse)
