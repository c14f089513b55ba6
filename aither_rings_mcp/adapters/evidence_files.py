"""`evidence/<operation id>/`: one file per section of what was seen of a failed release, and the index last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import StateUnreadable
from aither_rings_mcp.domain.evidence import SECTIONS, Bundle, Section

_ID = re.compile(r"op-[0-9a-z-]{6,40}\Z")
_INDEX = "bundle.json"
_OURS = frozenset({_INDEX, *(f"{name}.txt" for name in SECTIONS)})


class EvidenceFiles:
    """Bundles of the newest `keep` operations. One that is complete is never written again."""

    def __init__(self, state_dir: Path, keep: int, disk: durable.Disk = durable.DISK) -> None:
        self._root = state_dir / "evidence"
        self._keep = keep
        self._disk = disk

    def save(self, bundle: Bundle, sections: Sequence[Section]) -> None:
        """Keeps the bundle, and lets go of the oldest. A bundle that is there already stays as it is."""
        if self.load(bundle.operation_id) is not None:
            return
        durable.folder(self._root, self._disk)
        folder = durable.folder(self._root / bundle.operation_id, self._disk)
        for section in sections:
            durable.replace(folder / f"{section.name}.txt", section.text.encode(), self._disk)
        # Last: its presence says that the bundle is complete.
        durable.replace(folder / _INDEX, durable.json_bytes(bundle), self._disk)
        self._let_go()

    def load(self, operation_id: str) -> Bundle | None:
        """The index of a complete bundle; None where there is none."""
        if not _ID.match(operation_id):
            return None
        path = self._root / operation_id / _INDEX
        return durable.read_value(path, Bundle, _move_aside(path))

    def text(self, operation_id: str, section: str) -> str:
        """The text of one section of a complete bundle."""
        path = self._root / operation_id / f"{section}.txt"
        raw = durable.read_bytes(path) if section in SECTIONS and _ID.match(operation_id) else None
        if raw is None:
            raise StateUnreadable(f"{path} is gone", _move_aside(path))
        return raw.decode(errors="replace")

    def _let_go(self) -> None:
        with durable.explained(self._root):
            ours = [path for path in self._root.iterdir() if _ID.match(path.name) and path.is_dir()]
            for folder in sorted(ours, reverse=True)[self._keep :]:
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Removes a bundle, and nothing that somebody else put there."""
        files = [path for path in folder.iterdir() if path.name in _OURS or _aside(path.name)]
        # The index first: half a bundle must not count as a whole one.
        for path in sorted(files, key=lambda path: path.name != _INDEX):
            self._disk.remove(path)
        if not any(folder.iterdir()):
            folder.rmdir()


def _aside(name: str) -> bool:
    """Whether it is what a power cut left of a write."""
    return name.startswith(".") and name.endswith(".tmp")


def _move_aside(path: Path) -> str:
    return f"Move {path.parent} aside; the operation itself is still told by `ring-ctl operation {path.parent.name}`."
