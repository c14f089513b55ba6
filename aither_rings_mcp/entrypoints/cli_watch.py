"""What a person sees while an operation goes on: on stderr, so that stdout is the answer's alone."""

from __future__ import annotations

import re
from typing import Self

from rich.status import Status
from rich.text import Text

from aither_rings_mcp.domain.answers import Progress
from aither_rings_mcp.domain.log_lines import is_quoted, unstamped
from aither_rings_mcp.domain.redact import plain
from aither_rings_mcp.entrypoints.cli_page import Page

_ENTERED = re.compile(r"-> (\w+)$")
_HEARTBEAT_S = 10.0


class Watcher:
    """Keeps phases, verdicts, health counts, hooks and restores in sight, each with the seconds since the start.

    What builds and containers say only passes by on a terminal's last line; in a pipe it is left out. `verbose`
    keeps that, too. Remembers the operation's id, so that a person who stops watching can be told how to watch again.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.operation_id: str | None = None
        self._page = Page(stderr=True)
        self._verbose = verbose
        self._live: Status | None = None
        self._phase: str | None = None
        self._kept_at = 0.0

    async def __call__(self, progress: Progress) -> None:
        self.operation_id = progress.operation_id or self.operation_id
        said = plain(unstamped(progress.message)).rstrip()
        if entered := _ENTERED.match(said):
            # A log that is read late is ahead of its own lines with the phase it has come to.
            self._phase, said = entered[1], ""
        phase = self._phase or str(progress.phase)
        keep = self._verbose or not (is_quoted(said) or said.startswith("still "))
        if not keep and self._page.width is None and progress.elapsed_s - self._kept_at >= _HEARTBEAT_S:
            keep, said = True, f"still {phase}"
        at, where = f"{progress.elapsed_s:4.0f} s", f"  {phase}"
        if keep:
            self._kept_at = progress.elapsed_s
            self._page.say((at, "cyan"), where, f"  {said.strip()}", hang=len(at) + 2)
        if self._page.width is not None:
            self._pass_by(Text.assemble((at, "cyan"), where, f"  {' '.join(said.split())}"), self._page.width)

    def _pass_by(self, line: Text, width: int) -> None:
        line.truncate(width - 4, overflow="ellipsis")
        if self._live is None:
            self._live = self._page.console.status(line)
            self._live.start()
        else:
            self._live.update(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
