"""The real entry point on the fake manager: what a client starts when a test wants a process.

FAKE_RINGS: words out of `blocked` (gates say no), `slow` (operations never end), `prints` (every call prints),
`crashes` (every call fails), `bad-config` (the manager cannot be built). FAKE_CANCELLED: where it writes down what was
cancelled.
"""

from __future__ import annotations

import os
from pathlib import Path

from mcp_fake_rings import FakeRings

from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.entrypoints.mcp_server import main


def build(_config: Path | None) -> FakeRings:
    words = os.environ.get("FAKE_RINGS", "").split()
    if "bad-config" in words:
        print("a stray print while starting")
        raise ConfigInvalid("rings.yaml has 2 faults:\n  line 3: no\n  line 9: no.", "Mend rings.yaml.")
    rings = FakeRings()
    rings.gate_says_no = "blocked" in words
    rings.slow = "slow" in words
    if where := os.environ.get("FAKE_CANCELLED"):
        rings.cancel_file = Path(where)
    rings.print = "a stray print" if "prints" in words else None
    rings.trouble = RuntimeError("the password is hunter2; password=hunter2") if "crashes" in words else None
    return rings


if __name__ == "__main__":
    main(build=build)
