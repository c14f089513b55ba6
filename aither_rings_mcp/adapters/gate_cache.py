"""Passes of gates, one small file each, beside the state but not part of it: losing them costs time only."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import ValidationError

from aither_rings_mcp.domain.verdict import GateResult, Verdict


class FileGateCache:
    """A folder of passes by key. What cannot be read is a miss; what cannot be written is not remembered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def passed(self, key: str) -> GateResult | None:
        try:
            result = GateResult.model_validate_json((self._folder / f"{key}.json").read_bytes())
        except (OSError, ValidationError):
            return None
        return result if result.status is Verdict.PASSED else None

    def remember(self, key: str, result: GateResult) -> None:
        if result.status is not Verdict.PASSED:
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with NamedTemporaryFile("w", dir=self._folder, delete=False, encoding="utf-8") as file:
                draft = Path(file.name)
                try:
                    file.write(result.model_dump_json())
                    file.flush()
                    draft.replace(self._folder / f"{key}.json")
                except OSError:
                    draft.unlink()
                    raise
