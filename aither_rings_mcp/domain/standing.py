"""Where rings and operations stand, as values that are only compared: whoever watches asks what differs."""

from __future__ import annotations

from collections.abc import Mapping

from aither_rings_mcp.domain.value import Value


class Standing(Value):
    """One mark for each ring, recent operation and log that is being written; a mark that differs means a change."""

    rings: Mapping[str, str]
    operations: Mapping[str, str]
    logs: Mapping[str, int]
