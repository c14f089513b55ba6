"""Public clients of npm, installed once per lock file into a cache outside the checkout."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MANIFESTS = ("package.json", "package-lock.json", ".npmrc")
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
        return str(self.folder / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js")


def installed(listed: Path = HERE) -> Clients:
    """What the lock file in the folder `listed` names; the first time, this takes a minute."""
    content = b"".join((listed / name).read_bytes() for name in MANIFESTS)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aither-rings"
    folder = caches / f"{listed.name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not folder.exists():
        caches.mkdir(parents=True, exist_ok=True)
        _install(listed, folder)
    return Clients(folder)


def _install(listed: Path, folder: Path) -> None:
    """Installs beside `folder` and moves it there whole: a broken install is never taken for a good one."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is missing, which brings the public MCP clients: apt-get install npm", pytrace=False)
    fresh = Path(tempfile.mkdtemp(prefix=f"{listed.name}-", dir=folder.parent))
    try:
        for name in MANIFESTS:
            shutil.copy(listed / name, fresh / name)
        argv = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(argv, cwd=fresh, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            pytest.fail(f"npm ci in tests/{listed.name} failed; it needs a package registry:\n{tail}", pytrace=False)
        try:
            fresh.rename(folder)
        except OSError:  # another run was quicker
            assert folder.exists()
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
