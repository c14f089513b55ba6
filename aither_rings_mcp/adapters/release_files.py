"""`releases/<id>/`: what a release is, and the Compose config it runs with."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import cast

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.naming import checked_release
from aither_rings_mcp.ports import ComposeConfig


class ReleaseFiles:
    """One folder per release, never changed once saved; private, as a config may hold secrets."""

    def __init__(self, state_dir: Path, disk: durable.Disk = durable.DISK) -> None:
        self._root = state_dir / "releases"
        self._disk = disk

    def save(self, release: Release, config: ComposeConfig) -> None:
        """Keeps the release. The same id again changes nothing: it is derived from the content."""
        folder = durable.folder(self._folder(release.id), self._disk)
        with durable.explained(folder), suppress(FileNotFoundError):
            os.utime(folder / "release.json")  # in use again, so not stale
            return
        durable.replace(folder / "compose.json", _dumped(config), self._disk)
        # Last: its presence says that the release is complete.
        durable.replace(folder / "release.json", durable.json_bytes(release), self._disk)

    def load(self, release_id: str) -> Release:
        path = self._folder(release_id) / "release.json"
        release = durable.read_value(path, Release, _deploy_again(path))
        if release is None:
            raise InvalidArguments(
                f"release {release_id} is not stored here",
                "`ring-ctl history` shows the releases that ran.",
                release=release_id,
            )
        return release

    def config(self, release_id: str) -> ComposeConfig:
        """The Compose config as it was rendered when the release was made."""
        self.load(release_id)
        path = self._folder(release_id) / "compose.json"
        try:
            config = json.loads(durable.read_bytes(path) or b"")
        except ValueError as error:
            raise StateUnreadable(f"{path} is not JSON ({error})", _deploy_again(path)) from error
        if not isinstance(config, dict):
            raise StateUnreadable(f"{path} is not a JSON object", _deploy_again(path))
        return cast("ComposeConfig", config)

    def runnable(self, release_id: str, config: ComposeConfig, name: str = "run") -> Path:
        """Writes `config` as the file that Compose is to run this release from, and says where it is.

        Another `name` gets a file of its own: a preview must not change what the ring is run from.
        """
        self.load(release_id)
        path = self._folder(release_id) / ("run.json" if name == "run" else f"run-{name}.json")
        data = _dumped(config)
        # Going back to what ran before must not need space on the disk.
        if durable.read_bytes(path) != data:
            durable.replace(path, data, self._disk)
        return path

    def stale(self, before: datetime) -> tuple[str, ...]:
        """The releases that were last saved before then."""
        found = self._root.glob("r-*/release.json")
        return tuple(sorted(path.parent.name for path in found if path.stat().st_mtime < before.timestamp()))

    def remove(self, release_id: str) -> None:
        durable.remove_folder(self._folder(release_id), self._disk)

    def _folder(self, release_id: str) -> Path:
        return self._root / checked_release(release_id)


def _dumped(config: ComposeConfig) -> bytes:
    return (json.dumps(config, indent=2) + "\n").encode()


def _deploy_again(path: Path) -> str:
    return f"Restore {path.parent} from a backup, or remove it and deploy the release again."
