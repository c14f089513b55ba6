"""The power supply that disk and engine share: it counts every effect, and can go before any of them."""

from __future__ import annotations

from collections.abc import Callable

from adapters.failing_disks import CuttingDisk, PowerCut

__all__ = ["Power", "PowerCut", "PoweredDisk", "is_power_cut"]


class Power:
    """Goes before effect `cut_at` (1 is the first); from then on nothing has any effect."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.cut_at = cut_at
        self.effects: list[str] = []
        self.dead = False
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


class PoweredDisk(CuttingDisk):
    """A disk on the shared power supply. What was not synced suffers when the power goes."""

    def __init__(self, power: Power, names_survive: bool) -> None:
        super().__init__(names_survive=names_survive)
        self._power = power
        power.when_cut = self.lose_power

    def _tick(self, dying: Callable[[], object] | None = None) -> None:
        self._power.effect("disk", dying)


def is_power_cut(error: BaseException) -> bool:
    """Whether this is what a power cut looks like from outside: task groups wrap it, and cancel what is beside."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_power_cut(one) for one in error.exceptions)
    return isinstance(error, PowerCut)
