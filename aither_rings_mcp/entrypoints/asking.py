"""Who asks: the identity of the HTTP request that is being answered, for whatever answers it."""

from __future__ import annotations

from contextvars import ContextVar

from aither_rings_mcp.domain.access import Identity

#: None where no request came over HTTP. The SDK carries it from the request to the tool, in every session.
IDENTITY: ContextVar[Identity | None] = ContextVar("identity", default=None)
