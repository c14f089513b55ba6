"""The machine that was measured on, in words that let others compare."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import run
from benchmarks.worlds import REPO


def facts() -> dict[str, str]:
    """What the figures depend on."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M)
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": run(["git", "-C", str(REPO), "describe", "--always", "--dirty", "--abbrev=7"]).strip(),
        "processor": f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "docker": run(["docker", "version", "--format", "{{.Server.Version}}"]).strip(),
        "compose": run(["docker", "compose", "version", "--short"]).strip(),
        "python": platform.python_version(),
    }
