"""A client for tests that ask one thing at a time: it connects anew for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.client import Client
from mcp.shared.exceptions import MCPError


class Asked:
    """Every method of the SDK's `Client`, each in a connection of its own."""

    def __init__(self, server: Any, mode: str) -> None:
        self._server = server
        self._mode = mode

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any, **named: Any) -> Any:
            async with Client(self._server, mode=self._mode) as client:
                try:
                    return await getattr(client, method)(*args, **named)
                except MCPError as error:
                    refused = error  # raised in there, it would come out in a group
            raise refused

        return ask
