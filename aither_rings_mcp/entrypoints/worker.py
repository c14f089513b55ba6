"""The worker: one process, one operation, in a session of its own. Started by a door, outlives it."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from pathlib import Path

import anyio

from aither_rings_mcp.domain.errors import Exit


def main() -> int:
    """Drives one operation to its end with the claim inherited as a file descriptor."""
    parser = argparse.ArgumentParser(prog="rings-worker")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--operation", required=True)
    parser.add_argument("--claim-fd", type=int, required=True)
    args = parser.parse_args()
    # A terminal that goes away is no reason to stop: the operation is not the terminal's.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from aither_rings_mcp.wiring import build_manager

    try:
        done = anyio.run(build_manager(args.config, args.claim_fd).work, args.operation, args.claim_fd)
    except Exception:  # a door: whatever it was, it goes into the operation's own file
        traceback.print_exc()
        return Exit.INTERNAL
    return Exit.DONE if done else Exit.ENGINE


if __name__ == "__main__":
    sys.exit(main())
