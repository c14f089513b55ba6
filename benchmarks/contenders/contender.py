"""What every contender can do; the stories know no more of them."""

from __future__ import annotations

from typing import Protocol


class NotBegun(Exception):
    """A promotion was refused before anything changed: no story to tell. The machine may have been too busy."""


class Contender(Protocol):
    """One way to bring releases to prod. `name` is for the table, `attended` says whether it looks after them.

    In this order: `start`, `prepare`, `promote`, perhaps `rollback`, `stop`; and again.
    """

    name: str
    attended: bool

    @property
    def where(self) -> tuple[str, ...]:
        """An argv prefix with which its users start, to be on its network; mostly none."""
        ...

    def front(self) -> tuple[str, ...]:
        """The URLs that its users ask."""
        ...

    def start(self) -> None:
        """Serves a good release, healthy."""
        ...

    def prepare(self, fault: str) -> None:
        """A new release with `fault` could be promoted now."""
        ...

    def promote(self) -> str:
        """Promotes it, to the end, bad or good; the name of the release, as its answers tell it."""
        ...

    def rollback(self) -> None:
        """Goes back to the release before, to the end."""
        ...

    def stop(self) -> None:
        """Nothing of it runs any more, and nothing watches."""
        ...
