"""A client for tests that ask one thing at a time, and what an error result has to be."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

CODES = {
    "unknown_ring", "invalid_transition", "ring_busy", "ring_frozen", "ring_stuck", "quarantined", "plan_expired",
    "plan_stale", "read_only", "forbidden", "docker_unavailable", "image_missing", "no_rollback_target",
    "operation_not_found", "config_invalid", "state_unreadable", "invalid_arguments", "internal",
}  # fmt: skip


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


def read(result: CallToolResult) -> tuple[str, dict[str, Any]]:
    """The first line and the facts of an error result."""
    assert result.is_error
    assert result.structured_content is None
    (block,) = result.content
    assert block.type == "text"
    first, facts = block.text.split("\n")
    known = json.loads(facts)
    assert first.startswith(f"ERROR {known['code']}: ")
    assert ". Next: " in first
    assert first.endswith(".")
    assert known["code"] in CODES
    return first, known
