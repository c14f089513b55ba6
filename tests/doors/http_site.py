"""A guarded app behind a real uvicorn, and tokens that a test can use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from aither_rings_mcp.adapters.token_file import TokenFile
from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.tokens import Token, hashed, written
from aither_rings_mcp.entrypoints.asking import IDENTITY
from aither_rings_mcp.entrypoints.http_guard import Guard, Rules


class TestClock:
    """Time moves when somebody waits, or when a test says so."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waited: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.seconds += seconds


@dataclass
class Seen:
    """What an app behind the guard got to see."""

    paths: list[str] = field(default_factory=list[str])
    bytes: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


def echo(seen: Seen) -> Starlette:
    """An app that tells who asks."""

    async def who(request: Request) -> Response:
        seen.paths.append(request.url.path)
        told, within = request.state.identity, IDENTITY.get()
        return JSONResponse({"same": told == within, **told.model_dump(mode="json")})

    async def size(request: Request) -> Response:
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
            seen.bytes = total
        return PlainTextResponse(str(total))

    async def stream(_request: Request) -> Response:
        async def events() -> AsyncGenerator[bytes]:
            yield b"data: first\n\n"
            await seen.go_on.wait()
            yield b"data: last\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    routes = [Route(path, who, methods=["GET", "POST"]) for path in ("/", "/mcp", "/sse", "/metrics", "/rings/prod")]
    routes += [Route(path, who) for path in ("/healthz", "/readyz")]
    return Starlette(routes=[*routes, Route("/size", size, methods=["POST"]), Route("/stream", stream)])


@dataclass
class Site:
    port: int
    tokens: TokenFile
    clock: TestClock
    seen: Seen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, role: Role, name: str = "", kind: Literal["person", "agent"] = "agent", **fields: Any) -> str:
        """A new token's text."""
        number = len(self.tokens.all())
        token_id, secret = f"{number:012x}", f"{number:043d}"
        made = Token(
            id=token_id,
            name=name or f"{role}-{number}",
            role=role,
            kind=kind,
            hash=hashed(secret),
            created_at=self.clock.now(),
            created_by="ann (person via cli)",
            **fields,
        )
        self.tokens.add(made)
        return written(token_id, secret)


@asynccontextmanager
async def served(
    folder: Path, rules: Rules | None = None, app: ASGIApp | None = None, host: str = "127.0.0.1"
) -> AsyncGenerator[Site]:
    """The guarded app on a free port, until the block ends."""
    tokens, clock, seen = TokenFile(folder), TestClock(), Seen()
    guard = Guard(app or echo(seen), tokens, rules or Rules(), clock)
    config = uvicorn.Config(
        guard, host=host, port=0, log_level="error", lifespan="on" if app else "off", proxy_headers=False
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Site(port, tokens, clock, seen)
    finally:
        seen.go_on.set()
        server.should_exit = True
        server.force_exit = True
        await running
