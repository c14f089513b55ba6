"""`GET /`: the dashboard, a page without data of its own; what it shows it asks of the REST door with a token."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_KINDS = {"index.html": "text/html", "dashboard.css": "text/css", "dashboard.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
#: Nobody needs a token to get the page that asks for one.
PATHS = ("/", "/dashboard.css", "/dashboard.js")


@cache
def _text(name: str) -> str:
    return files("aither_rings_mcp.entrypoints").joinpath("web", name).read_text(encoding="utf-8")


async def _page(request: Request) -> Response:
    name = request.url.path.removeprefix("/") or "index.html"
    return Response(_text(name), media_type=_KINDS[name], headers=_HEADERS)


def routes() -> list[Route]:
    """The page and what belongs to it."""
    return [Route(path, _page, methods=["GET"]) for path in PATHS]
