"""Calls a person: a command of theirs that is told what happened."""

from __future__ import annotations

import json
from pathlib import Path

from aither_rings_mcp.domain.model import Event
from aither_rings_mcp.domain.settings import Alerts
from aither_rings_mcp.ports import Commands


class CommandAlarm:
    """Runs `alerts.command` of rings.yaml, if there is one; what it writes is in `alerts.log`."""

    def __init__(self, alerts: Alerts, commands: Commands, root: Path, log: Path) -> None:
        self._alerts = alerts
        self._commands = commands
        self._root = root
        self._log = log

    async def call(self, event: Event) -> None:
        if not self._alerts.command:
            return
        event = event.redacted()
        told = {
            "ring": event.ring,
            "event": event.event,
            "outcome": event.outcome,
            "reason": event.detail or event.reason,
            "at": event.at.isoformat(),
        }
        # A command that cannot be run, or takes too long, says so in the log: nobody waits for it.
        await self._commands.run(
            self._alerts.command,
            cwd=self._root,
            env={"RINGS_ALERT": json.dumps(told)},
            limit=self._alerts.limit,
            log=self._log,
        )
