"""The log of a server, on stderr: our lines and those of the libraries, without secrets."""

from __future__ import annotations

import logging
import os
import sys

from aither_rings_mcp.domain.redact import redact


def log_to_stderr() -> None:
    """Everything that is logged from here on. Before the MCP server is built: the SDK sets up a log where none is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.DEBUG if os.environ.get("RINGS_DEBUG") == "1" else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
