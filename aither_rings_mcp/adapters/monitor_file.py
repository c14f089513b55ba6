"""`monitor.json`: what the monitor remembers between its rounds and its lives."""

from __future__ import annotations

from pathlib import Path

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import StateUnreadable
from aither_rings_mcp.domain.watch import Memory


class MonitorFile:
    """One small file, replaced whole."""

    def __init__(self, state_dir: Path, disk: durable.Disk = durable.DISK) -> None:
        self._path = state_dir / "monitor.json"
        self._disk = disk

    def load(self) -> Memory:
        """What was remembered; nothing where it cannot be read: a monitor that looks anew beats one that does not."""
        try:
            return durable.read_value(self._path, Memory, "") or Memory()
        except StateUnreadable:
            return Memory()

    def save(self, memory: Memory) -> None:
        data = durable.json_bytes(memory)
        if durable.read_bytes(self._path) != data:
            durable.folder(self._path.parent, self._disk)
            durable.replace(self._path, data, self._disk)
