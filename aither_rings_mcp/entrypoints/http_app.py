"""Everything that answers over HTTP, as one app: REST, MCP, the dashboard, and what tells how the server is."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel
from starlette.applications import Starlette

from aither_rings_mcp import __version__
from aither_rings_mcp.domain.access import Grant, Identity
from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.entrypoints import dashboard
from aither_rings_mcp.entrypoints.metrics import CONTENT_TYPE, Metrics
from aither_rings_mcp.entrypoints.problems import problem
from aither_rings_mcp.entrypoints.rest import Caller, rest_app
from aither_rings_mcp.manager.ring_manager import RingManager

#: Nobody needs a token for these: they tell nothing about the rings.
OPEN_PATHS = frozenset({"/healthz", "/readyz", *dashboard.PATHS})
#: The guard before the app looks at hosts and origins on every route, and not only on MCP's.
_GUARDED = TransportSecuritySettings(enable_dns_rebinding_protection=False)


class Alive(BaseModel):
    ok: bool
    version: str


def http_app(manager: RingManager, server: MCPServer[Any], grant: Grant, *, rest: bool = True) -> FastAPI:
    """The app of one installation, to be put behind a `Guard`: its requests carry an identity. `rest` False: MCP alone.

    It has to be entered (`running`) before it answers, as MCP's sessions live in it.
    """

    def caller(request: Request) -> Caller:
        identity: Identity = request.state.identity
        return Caller(identity.actor("rest", via=_told(request)), grant.to(identity))

    app = rest_app(manager, caller, OPEN_PATHS) if rest else FastAPI(openapi_url=None)
    _about(app, manager)
    for part in _mcp(server):
        app.router.routes.extend(part.routes)
        app.state.parts = [*getattr(app.state, "parts", ()), part]
    if rest:
        app.router.routes.extend(dashboard.routes())
    return app


@asynccontextmanager
async def running(app: FastAPI) -> AsyncGenerator[None]:
    """While this is open the app answers."""
    async with AsyncExitStack() as stack:
        for part in app.state.parts:
            await stack.enter_async_context(part.router.lifespan_context(part))
        yield


def _mcp(server: MCPServer[Any]) -> tuple[Starlette, Starlette]:
    return (
        server.streamable_http_app(streamable_http_path="/mcp", transport_security=_GUARDED),
        server.sse_app(sse_path="/sse", message_path="/messages/", transport_security=_GUARDED),
    )


def _about(app: FastAPI, manager: RingManager) -> None:
    metrics = Metrics(manager)

    async def healthz() -> Response:
        """Whether this process answers."""
        return JSONResponse({"ok": True, "version": __version__})

    async def readyz() -> Response:
        """Whether it could do what it is asked: the record can be read, and the engine is there."""
        try:
            await manager.status()
        except RingError as error:
            refused = problem(
                type(error)("not ready", "The server's log, or `ring-ctl doctor`, says why."),
                status=HTTPStatus.SERVICE_UNAVAILABLE,
            )
            return Response(refused.body, refused.status, refused.headers)
        return JSONResponse({"ok": True, "version": __version__})

    async def measured() -> Response:
        """What the rings are and what happened to them, for Prometheus."""
        return Response(await metrics.text(), media_type=CONTENT_TYPE)

    for path, does in (("/healthz", healthz), ("/readyz", readyz)):
        app.add_api_route(path, does, response_model=Alive, operation_id=does.__name__, tags=["server"])
    app.add_api_route("/metrics", measured, response_class=Response, operation_id="metrics", tags=["server"])


def _told(request: Request) -> str | None:
    """The client's own name for itself, of which nothing is believed."""
    name = "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())
    return name[:64] or None
