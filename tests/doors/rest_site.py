"""A shop behind its HTTP door: a real server on a free port of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from fakes.shop import Shop

from aither_rings_mcp.adapters.host import SystemClock
from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.entrypoints.serve import Serving, serve
from aither_rings_mcp.wiring import Installation

SERVING = Serving(port=0, local=Role.OPERATOR, monitor=False)


@dataclass(frozen=True)
class Site:
    shop: Shop
    http: httpx.AsyncClient
    url: str
    said: list[str] = field(default_factory=list[str])

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(path, params=params)

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.http.post(path, json=body) if body is not None else await self.http.post(path)


@asynccontextmanager
async def served(shop: Shop, controller: Path | None = None, **serving: Any) -> AsyncGenerator[Site]:
    """Serves `shop` until the block ends."""
    installation = Installation(shop.manager, shop.world.tokens, SystemClock(), controller)
    said: list[str] = []
    up = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("serving at "):
            up.set()

    # a task of its own: fixtures begin and end in different ones
    server = asyncio.create_task(serve(installation, replace(SERVING, **serving), say))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait({server, waiting}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if server.done():
        await server
    url = said[-1].removeprefix("serving at ")
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20) as http:
            yield Site(shop, http, url, said)
    finally:
        server.cancel()
        with suppress(asyncio.CancelledError):
            await server
