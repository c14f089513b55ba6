"""Whoever is called hears the same as whoever reads the history: no secrets."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aither_rings_mcp.adapters.alarm import CommandAlarm
from aither_rings_mcp.adapters.host import HostCommands
from aither_rings_mcp.domain.model import Event
from aither_rings_mcp.domain.settings import Alerts

WRITES = "import os, pathlib; pathlib.Path('told').write_text(os.environ['RINGS_ALERT'])"


@pytest.mark.promise(16)
@pytest.mark.parametrize("field", ["reason", "detail"])
async def test_a_secret_does_not_reach_the_command_that_calls_people(tmp_path: Path, field: str) -> None:
    alarm = CommandAlarm(
        Alerts(command=(sys.executable, "-c", WRITES)), HostCommands(), tmp_path, tmp_path / "alerts.log"
    )
    said = {field: "rotated ghp_16C7e42F292c6912E7710c838347Ae178B4a"}
    at = datetime(2026, 1, 31, tzinfo=UTC)
    await alarm.call(Event(at=at, ring="prod", event="alert", outcome="stuck", operation="", actor="alice", **said))
    assert json.loads((tmp_path / "told").read_text())["reason"] == "rotated [redacted]"
