"""The power supply that disk and engine share: it counts every effect, and can go before any of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from adapters.failing_disks import CuttingDisk, PowerCut

from aither_rings_mcp.adapters.durable import Disk

__all__ = ["Power", "PowerCut", "PoweredDisk", "is_power_cut"]


class Power:
    """Goes before effect `cut_at` (1 is the first); from then on nothing has any effect."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.cut_at = cut_at
        self.effects: list[str] = []
        self.dead = False
        #: From this write on (1 is the first) the disk is full, until there is room again.
        self.full_from: int | None = None
        self.writes = 0
        self.has_room: Callable[[], bool] = lambda: False
        self.when_cut: Callable[[], None] = lambda: None

    def effect(self, name: str, dying: Callable[[], object] | None = None) -> None:
        """Announces an effect; `dying` is what of it still happens when the power goes in its middle."""
        if self.dead:
            raise PowerCut(name)
        self.effects.append(name)
        if len(self.effects) == self.cut_at:
            if dying:
                dying()
            self.dead = True
            self.when_cut()
            raise PowerCut(name)

    def full(self) -> bool:
        """Whether the write that comes now finds no room."""
        self.writes += 1
        return self.full_from is not None and self.writes >= self.full_from and not self.has_room()


class _Prompt(Disk):
    """Syncs in no time: what was synced is kept account of, and the power that goes is not real."""

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


class PoweredDisk(CuttingDisk, _Prompt):
    """A disk on the shared power supply. What was not synced suffers when the power goes."""

    def __init__(self, power: Power, names_survive: bool) -> None:
        super().__init__(names_survive=names_survive)
        self._power = power
        self._name = "disk"
        power.when_cut = self.lose_power

    def close(self) -> None:
        """Nothing is lost any more: nobody looks at it again."""
        for fd, _ in self._unsynced.values():
            os.close(fd)
        self._unsynced = {}

    def sync_folder(self, folder: Path) -> None:
        self._name = "sync_folder"
        super().sync_folder(folder)
        self._name = "disk"

    def _tick(self, dying: Callable[[], object] | None = None) -> None:
        if dying and self._power.full():
            dying()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._power.effect(self._name, dying)


def is_power_cut(error: BaseException) -> bool:
    """Whether this is what a power cut looks like from outside: task groups wrap it, and cancel what is beside."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_power_cut(one) for one in error.exceptions)
    return isinstance(error, PowerCut)
