"""Where words are written: lines that fit a terminal's width, or whole ones into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from aither_rings_mcp.domain.redact import plain

_STYLES = {
    **dict.fromkeys(("well", "healthy", "running", "candidate", "passed", "yes"), "green"),
    **dict.fromkeys(("promoted", "deployed", "up", "rolled_back", "done"), "green"),
    **dict.fromkeys(("unhealthy", "exited", "missing", "restarting", "stuck", "condemned", "NO"), "bold red"),
    **dict.fromkeys(("failed", "error", "timeout", "blocked", "expired"), "bold red"),
    **dict.fromkeys(("skipped", "empty", "stopped", "unknown"), "dim"),
}
_GAP = 2
_INDENT = 4


@dataclass(frozen=True)
class Column:
    """One column of a table. On a terminal that is too narrow, `short` says its values in fewer letters, and then
    columns leave the row for the line below it: those with the smallest `leaves` first, those without one never.

    `prose` is the row's long text; one column at most, the last.
    """

    name: str
    leaves: int | None = None
    short: Callable[[str], str] | None = None
    prose: bool = False


class Page:
    """One stream to write on. Whatever is written is cleaned first."""

    def __init__(self, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        self.console = Console(file=stream, markup=False, emoji=False, highlight=False)
        #: What a line may hold; None in a pipe, where nothing is wrapped, shortened or left out.
        self.width = self.console.width if self.console.is_terminal else None

    def say(self, *parts: str | tuple[str, str], indent: int = 0, hang: int = 0) -> None:
        """Text, parts of it with a style; wrapped between words, following lines `hang` further in."""
        for paragraph in _text(parts).split("\n", allow_blank=True):
            self._paragraph(paragraph, indent, hang)

    def verbatim(self, *parts: str | tuple[str, str]) -> None:
        """The same, never wrapped: what somebody may copy, or a document."""
        self._line(_text(parts))

    def facts(self, *facts: tuple[str, object]) -> None:
        """Names and values, without those that are None or empty."""
        known = [(name, str(value)) for name, value in facts if value is not None and value != ""]
        start = max((len(name) for name, _ in known), default=0) + _GAP
        for name, value in known:
            self.say((name.ljust(start), "dim"), value, hang=start)

    def notes(self, title: str, *notes: str | None) -> None:
        """A title, and below it what is to be said; nothing at all without that."""
        said = [note for note in notes if note]
        if said:
            self.say((f"{title}:", "bold"))
            for note in said:
                self.say(note, indent=2, hang=2)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
        """A table without the columns that are empty from top to bottom; nothing at all without rows."""
        grid = [["" if cell is None else " ".join(plain(str(cell)).split()) for cell in row] for row in rows]
        used = [index for index in range(len(columns)) if any(row[index] for row in grid)]
        if not used:
            return
        prose = next((index for index in used if columns[index].prose), None)
        inside = [index for index in used if index != prose]
        below: list[int] = []
        if self.width is not None:
            inside, below = _fitted(columns, grid, inside, self.width)
        widths = {index: _width(columns, grid, index) for index in inside}
        start = sum(widths.values()) + _GAP * len(inside)

        def beside(row: Sequence[str]) -> bool:
            return prose is not None and (self.width is None or start + cell_len(row[prose]) <= self.width)

        head = [columns[index].name for index in inside]
        if prose is not None and any(row[prose] and beside(row) for row in grid):
            head.append(columns[prose].name)
        self._line(_row([(name, "bold") for name in head], list(widths.values())))
        for row in grid:
            cells = [(row[index], _STYLES.get(row[index], "")) for index in inside]
            if prose is not None and beside(row):
                cells.append((row[prose], ""))
            self._line(_row(cells, list(widths.values())))
            moved = [f"{columns[index].name} {row[index]}".strip() for index in below if row[index]]
            if moved:
                self.say(("  ".join(moved), "dim"), indent=_INDENT)
            if prose is not None and row[prose] and not beside(row):
                self.say(row[prose], indent=_INDENT)

    def _paragraph(self, text: Text, indent: int, hang: int) -> None:
        if self.width is None or indent + text.cell_len <= self.width:
            self._line(Text.assemble(" " * indent, text))
            return
        # Rich breaks between words, and inside one only if it is wider than the whole line.
        first = True
        for line in text.wrap(self.console, max(self.width - indent - hang, 20), tab_size=4):
            self._line(Text.assemble(" " * (indent if first else indent + hang), line))
            first = False

    def _line(self, text: Text) -> None:
        text.rstrip()
        self.console.print(text, soft_wrap=True)


def _text(parts: Sequence[str | tuple[str, str]]) -> Text:
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((plain(words), style) for words, style in pairs))


def _fitted(
    columns: Sequence[Column], grid: list[list[str]], inside: list[int], width: int
) -> tuple[list[int], list[int]]:
    """The columns that stay in the row and those that go below it; values in `grid` are shortened if that is needed."""

    def fits(chosen: Sequence[int]) -> bool:
        return sum(_width(columns, grid, index) for index in chosen) + _GAP * (len(chosen) - 1) <= width

    if not fits(inside):
        for index in inside:
            if short := columns[index].short:
                for row in grid:
                    row[index] = short(row[index])
    stays = inside
    for rank in sorted({rank for index in inside if (rank := columns[index].leaves) is not None}):
        if fits(stays):
            break
        stays = [index for index in stays if columns[index].leaves != rank]
    return stays, [index for index in inside if index not in stays]


def _width(columns: Sequence[Column], grid: Sequence[Sequence[str]], index: int) -> int:
    return max(cell_len(columns[index].name), *(cell_len(row[index]) for row in grid))


def _row(cells: Sequence[tuple[str, str]], widths: Sequence[int]) -> Text:
    row = Text()
    for number, (cell, style) in enumerate(cells):
        row.append(cell, style)
        if number < len(widths):
            row.append(" " * (widths[number] + _GAP - cell_len(cell)))
    return row
