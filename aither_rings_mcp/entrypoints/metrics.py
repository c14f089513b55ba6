"""`GET /metrics`: what the rings are and what happened to them, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

from aither_rings_mcp.domain.answers import EventView, RingStatus
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.manager.ring_manager import RingManager

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PAGE = 100


class Metrics:
    """Looked up at each scrape. Events are counted from the first scrape on, as a counter may begin anywhere."""

    def __init__(self, manager: RingManager) -> None:
        self._manager = manager
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._seen: int | None = None

    async def text(self) -> bytes:
        """The exposition format; with the engine away, what can be said without it."""
        families: list[Metric] = []
        up = GaugeMetricFamily("aither_rings_up", "1: the engine and the record of the rings can be read.")
        try:
            families += await self._rings()
            families.append(await self._history())
            up.add_metric([], 1)
        except RingError:
            up.add_metric([], 0)
        return generate_latest(_Once([up, *families]))

    async def _rings(self) -> list[Metric]:
        status = await self._manager.status()
        info = GaugeMetricFamily(
            "aither_rings_ring", "What a ring is now; 1.", labels=["ring", "kind", "state", "release", "tag", "slot"]
        )
        deployed = GaugeMetricFamily(
            "aither_rings_deployed_timestamp_seconds", "When its release came.", labels=["ring"]
        )
        ready = GaugeMetricFamily("aither_rings_rollback_ready", "1: the way back is open.", labels=["ring"])
        busy = GaugeMetricFamily("aither_rings_operation_active", "1: it is being changed.", labels=["ring"])
        services = GaugeMetricFamily("aither_rings_services", "Services by health.", labels=["ring", "health"])
        critical = GaugeMetricFamily("aither_rings_critical_unhealthy", "Critical services.", labels=["ring"])
        armed = GaugeMetricFamily("aither_rings_monitor_armed", "1: a monitor would take it back.", labels=["ring"])
        for ring in status.rings:
            labels = [ring.name, ring.kind, ring.state, ring.release or "", ring.tag or "", ring.slot or ""]
            info.add_metric(labels, 1)
            ready.add_metric([ring.name], ring.rollback_ready)
            busy.add_metric([ring.name], ring.active_operation is not None)
            if ring.deployed_at:
                deployed.add_metric([ring.name], ring.deployed_at.timestamp())
            if _runs(ring):
                health = await self._manager.health(ring.name)
                services.add_metric([ring.name, "healthy"], health.healthy)
                services.add_metric([ring.name, "unhealthy"], health.total - health.healthy)
                critical.add_metric([ring.name], len(health.critical_unhealthy))
                armed.add_metric([ring.name], health.monitor.armed)
        return [info, deployed, ready, busy, services, critical, armed]

    async def _history(self) -> Metric:
        for event in await self._new_events():
            self._events[event.ring, event.event, event.outcome] += 1
        counted = CounterMetricFamily(
            "aither_rings_events", "What happened, by kind and outcome.", labels=["ring", "event", "outcome"]
        )
        for labels, count in sorted(self._events.items()):
            counted.add_metric(labels, count)
        return counted

    async def _new_events(self) -> list[EventView]:
        """What came since the scrape before; at the first, nothing is new."""
        fresh: list[EventView] = []
        page = await self._manager.history(limit=_PAGE if self._seen is not None else 1)
        newest = page.events[0].seq if page.events else 0
        while self._seen is not None:
            fresh += [event for event in page.events if event.seq > self._seen]
            if page.next_cursor is None or page.events[-1].seq <= self._seen:
                break
            page = await self._manager.history(limit=_PAGE, cursor=page.next_cursor)
        self._seen = newest
        return fresh


def _runs(ring: RingStatus) -> bool:
    return ring.kind == "runtime" and ring.state in {"running", "stuck"}


class _Once(CollectorRegistry):
    """Metrics that were looked up already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
