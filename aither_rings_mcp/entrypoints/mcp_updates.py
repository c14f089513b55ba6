"""Tells subscribed clients that a ring, an operation or a log changed; looks only while somebody is subscribed.

Clients of the handshake era subscribe to one resource each; later ones open a stream (`subscriptions/listen`), which
the SDK serves from the bus that this is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent
from mcp_types import EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.standing import Standing
from aither_rings_mcp.entrypoints.mcp_resources import LOG, OPERATION, STATE, STATUS, Resources

if TYPE_CHECKING:
    from aither_rings_mcp.manager.ring_manager import RingManager

log = logging.getLogger(__name__)


class Updates(InMemorySubscriptionBus):
    """Who wants to hear, and the task that looks for them. What it tells is that something changed, never what.

    `look_s`: how often the files are looked at while somebody is subscribed.
    """

    def __init__(self, manager: RingManager, resources: Resources, look_s: float) -> None:
        super().__init__()
        self._manager = manager
        self._resources = resources
        self._look_s = look_s
        self._listening = 0
        self._looking: asyncio.Task[None] | None = None
        #: (connection, uri) -> how to end that subscription.
        self._subscribed: dict[tuple[int, str], Callable[[], None]] = {}

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        unsubscribe = super().subscribe(listener)
        self._listening += 1
        if self._looking is None:
            # Looked at before the client is told that it is subscribed: what comes after that is not missed.
            self._looking = asyncio.create_task(self._look(self._stand(None)))
        ended = False

        def end() -> None:
            nonlocal ended
            unsubscribe()
            if not ended:
                ended = True
                self._leave()

        return end

    async def on_subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        """`resources/subscribe`: until the connection closes, or the client has enough."""
        uri = str(params.uri)
        self._resources.check(uri)
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]
        key = id(connection), uri
        if key not in self._subscribed:
            telling: set[asyncio.Task[None]] = set()

            def tell(event: ServerEvent) -> None:
                if isinstance(event, ResourceUpdated) and event.uri == uri:
                    task = asyncio.create_task(connection.send_resource_updated(uri))
                    telling.add(task)
                    task.add_done_callback(telling.discard)

            self._subscribed[key] = self.subscribe(tell)
            connection.exit_stack.callback(self._end, key)
        return EmptyResult()

    async def on_unsubscribe(
        self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        self._end((id(ctx.session._connection), str(params.uri)))  # pyright: ignore[reportPrivateUsage]
        return EmptyResult()

    def _end(self, key: tuple[int, str]) -> None:
        if end := self._subscribed.pop(key, None):
            end()

    def _leave(self) -> None:
        self._listening -= 1
        if self._listening == 0 and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self, stood: Standing | None) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            stands = self._stand(stood)
            if stood is not None and stands is not None:
                for uri in changed(stood, stands):
                    await self.publish(ResourceUpdated(uri))
            stood = stands or stood

    def _stand(self, before: Standing | None) -> Standing | None:
        try:
            return self._manager.standing(before)
        except RingError as error:
            log.warning("what changed cannot be seen: %s", error.message)
            return None


def changed(before: Standing, now: Standing) -> tuple[str, ...]:
    """The URIs of what differs, each once; an operation that was tidied away is none."""
    rings = list(_differ(before.rings, now.rings))
    operations = list(_differ(before.operations, now.operations))
    logs = dict.fromkeys((*_differ(before.logs, now.logs), *operations))
    return (
        *([STATUS] if rings else []),
        *(STATE.format(ring=ring) for ring in rings),
        *(OPERATION.format(id=operation) for operation in operations),
        *(LOG.format(id=operation) for operation in logs),
    )


def _differ(before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    return (name for name, mark in now.items() if before.get(name) != mark)
