"""Public clients, installed once per lock file into a cache outside the checkout."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MANIFESTS = ("package.json", "package-lock.json", ".npmrc")
PYTHON_LOCK = "python-v1.lock"
INSTALL_LIMIT_S = 600
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Clients:
    """The folder with the installed packages, and the Node that came with them."""

    folder: Path

    @property
    def node(self) -> str:
        """The newest Node is the Inspector's demand; it comes from npm, whatever Node the machine has."""
        suffix = f"{platform.system().lower()}-{MACHINES.get(platform.machine().lower(), '')}"
        found = sorted(self.folder.glob(f"node_modules/node*-{suffix}/bin/node"))
        assert found, f"no Node for {suffix} in {self.folder}; its package.json names the supported ones"
        return str(found[0])

    @property
    def inspector(self) -> str:
        return self._program("@modelcontextprotocol/inspector/clients/launcher/build/index.js")

    @property
    def mcpb(self) -> str:
        return self._program("@anthropic-ai/mcpb/dist/cli/cli.js")

    def _program(self, path: str) -> str:
        return str(self.folder / "node_modules" / path)


def installed(listed: Path = HERE) -> Clients:
    """What npm's lock file in the folder `listed` names; the first time, this takes a minute."""
    return Clients(_once(listed.name, [listed / name for name in MANIFESTS], _npm))


def python_v1() -> str:
    """The Python of an environment with the Python SDK's first major version."""
    return str(_once("python-v1", [HERE / PYTHON_LOCK], _pip) / "bin" / "python")


def _once(name: str, manifests: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """Installs beside the folder and moves it there whole: a broken install is never taken for a good one."""
    content = b"".join(manifest.read_bytes() for manifest in manifests)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aither-rings"
    folder = caches / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if folder.exists():
        return folder
    caches.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=caches))
    try:
        for manifest in manifests:
            shutil.copy(manifest, fresh)
        install(fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another run was quicker
            assert folder.exists()
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _npm(fresh: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is missing, which brings the public MCP clients: apt-get install npm", pytrace=False)
    _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], fresh)


def _pip(fresh: Path) -> None:
    # `python -m pip` and no script of this environment: those name the folder they were made in
    venv.create(fresh, with_pip=True, symlinks=sys.platform != "win32")
    pip = [str(fresh / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "install", "--require-hashes", "--quiet", "-r", PYTHON_LOCK], fresh)


def _run(argv: list[str], folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        pytest.fail(f"installing for {folder.name} failed; it needs a package registry:\n{tail}", pytrace=False)
