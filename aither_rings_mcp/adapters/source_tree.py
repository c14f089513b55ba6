"""The working tree that a release is built from: its content in one digest, its commit in one label."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.domain.naming import digest
from aither_rings_mcp.domain.settings import Source

_GIT_LIMIT = 20.0
NO_COMMIT = "0" * 40


class SourceTree:
    """The files under `source.paths`, which are relative to `root`, less what `source.ignore` names."""

    def __init__(self, root: Path, source: Source) -> None:
        self._root = root
        self._source = source

    def digest(self) -> str:
        """One digest over every file's path, executable bit and content; symlinks count by where they point.

        Empty when `source.paths` is. Times, owners and empty folders do not count.
        """
        if not self._source.paths:
            return ""
        parts: list[str] = []
        for name, path in self._files().items():
            try:
                parts += (name, *_content(path))
            except OSError as error:
                raise ConfigInvalid(
                    f"{path}, which source.paths of rings.yaml takes in, cannot be read: {error.strerror}",
                    "Make it readable, or add its name to source.ignore; if it is gone by now, just repeat.",
                ) from error
        return digest(*parts)

    def commit(self) -> str:
        """The commit that these files are, by git; else their digest, so that a change gets its own tag."""
        where = self._git("rev-parse", "--show-prefix", "HEAD")
        if where is None:
            return self.digest() or NO_COMMIT
        prefix, _, commit = where.rstrip("\n").rpartition("\n")
        return commit if self._as_committed(prefix) else self.digest()

    def _as_committed(self, prefix: str) -> bool:
        if not self._source.paths:
            return True
        files = self._files().keys()
        tracked = self._git("ls-files", "-z", "--", *self._source.paths)
        # `status` and not `diff`, which rewrites the index even when told to take no optional locks.
        flags = ("--porcelain=v1", "-z", "--untracked-files=no", "--no-renames")
        status = self._git("status", *flags, "--", *self._source.paths)
        if tracked is None or status is None or not files <= set(tracked.split("\0")):
            return False
        # Paths as seen from the root, which may be a folder inside the repository.
        changed = [os.path.relpath(line[3:], prefix or ".") for line in status.split("\0") if line]
        # A changed file that is not among ours was either deleted, which counts, or is ignored.
        return not any(name in files or not self._ignored(name) for name in changed)

    def _git(self, *arguments: str) -> str | None:
        """What git answers; None when there is no git, no repository, or no answer in time."""
        git = shutil.which("git")
        if git is None:
            return None
        # Inside a hook, GIT_DIR and its kind would point git at another repository.
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_LITERAL_PATHSPECS": "1"}
        try:
            done = subprocess.run(
                [git, "--no-pager", *arguments],
                cwd=self._root,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_GIT_LIMIT,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return os.fsdecode(done.stdout)

    def _files(self) -> dict[str, Path]:
        """Relative name -> path of everything that counts, in the order of names."""
        found: dict[str, Path] = {}
        for configured in self._source.paths:
            top = self._root / configured
            if not os.path.lexists(top):
                raise ConfigInvalid(
                    f"{top}, named by source.paths of rings.yaml, does not exist",
                    "Create it, or correct source.paths.",
                    path=configured,
                )
            found |= {Path(os.path.relpath(path, self._root)).as_posix(): path for path in self._below(top)}
        return dict(sorted(found.items()))

    def _below(self, path: Path) -> Iterator[Path]:
        if path.is_symlink() or not path.is_dir():
            yield path
            return
        try:
            inside = list(path.iterdir())
        except OSError as error:
            raise ConfigInvalid(
                f"{path}, which source.paths of rings.yaml takes in, cannot be read: {error.strerror}",
                "Make it readable, or add its name to source.ignore.",
            ) from error
        for one in inside:
            if not self._ignored(one.name):
                yield from self._below(one)

    def _ignored(self, name: str) -> bool:
        return any(fnmatch(part, pattern) for part in name.split("/") for pattern in self._source.ignore)


def _content(path: Path) -> tuple[str, str]:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return "link", str(path.readlink())
    if not stat.S_ISREG(info.st_mode):
        # A socket or a pipe has no content to read, and opening one may wait for ever.
        return "special", ""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return ("executable" if info.st_mode & stat.S_IXUSR else "file"), content
