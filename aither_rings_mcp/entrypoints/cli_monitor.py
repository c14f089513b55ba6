"""`ring-ctl monitor` in the foreground: for a terminal, a systemd unit or a container."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.redact import redact

if TYPE_CHECKING:
    from aither_rings_mcp.manager.monitor import Monitor


def said(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ} {redact(line)}", file=sys.stderr, flush=True)


async def watch_rings(monitor: Monitor) -> None:
    """Watches until SIGTERM or Ctrl-C, then leaves at once: what it started runs on by itself."""
    refused: RingError | None = None
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    said("asked to stop; rollouts that are under way go on by themselves")
                    group.cancel_scope.cancel()
                    return

        group.start_soon(stop)
        said("watching")
        try:
            await monitor.run()
        except RingError as error:  # the group would wrap it
            refused = error
            group.cancel_scope.cancel()
    if refused:
        raise refused
