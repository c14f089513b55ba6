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

    async def call(self, event: Event) -> str | None:
        if not self._alerts.command:
            return None
        event = event.redacted()
        told = {
            "ring": event.ring,
            "event": event.event,
            "outcome": event.outcome,
            "reason": event.detail or event.reason,
            "at": event.at.isoformat(),
        }
        done = await self._commands.run(
            self._alerts.command,
            cwd=self._root,
            env={"RINGS_ALERT": json.dumps(told)},
            limit=self._alerts.limit,
            log=self._log,
        )
        if done.timed_out:
            return f"alerts.command did not end within {self._alerts.limit:g} s; see {self._log}"
        return f"alerts.command ended with exit code {done.code}; see {self._log}" if done.code else None
