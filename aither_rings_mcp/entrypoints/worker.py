"""The worker: one process, one operation, in a session of its own. Started by a door, outlives it."""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path

import anyio

from aither_rings_mcp.domain.errors import Exit

#: What an operation imports only once it runs.
_SOON_NEEDED = ("docker", "httpx")


def main() -> int:
    """Drives one operation to its end with the claim inherited as a file descriptor, or received as a spare."""
    parser = argparse.ArgumentParser(prog="rings-worker")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--operation", required=True)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--claim-fd", type=int)
    how.add_argument("--spare-fd", type=int, help="wait on this connection for the operation and its claim")
    args = parser.parse_args()
    # A terminal that goes away is no reason to stop: the operation is not the terminal's.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # `kill -USR1` of one that seems to hang: it goes on, and says in the operation's worker.err where it stands.
    faulthandler.register(signal.SIGUSR1)
    try:
        done = _spare(args.config, args.spare_fd) if args.claim_fd is None else _worker(args)
    except Exception:  # a door: whatever it was, it goes into the operation's own file
        traceback.print_exc()
        return Exit.INTERNAL
    return Exit.DONE if done else Exit.ENGINE


def _worker(args: argparse.Namespace) -> bool:
    from aither_rings_mcp.wiring import build_manager

    return anyio.run(build_manager(args.config, args.claim_fd, spare=True).work, args.operation, args.claim_fd)


def _spare(config: Path, line_fd: int) -> bool:
    """All that needs no operation comes first; True also when none came."""
    from aither_rings_mcp.adapters.spare_worker import ordered
    from aither_rings_mcp.wiring import build_manager

    # the lock's place is taken before there is a lock: Compose calls are made to hold on to what will be there
    claim_fd = os.open(os.devnull, os.O_RDONLY)
    manager = build_manager(config, claim_fd, spare=True)
    for module in _SOON_NEEDED:
        importlib.import_module(module)

    async def work() -> bool:
        operation_id = ordered(line_fd, claim_fd)
        return operation_id is None or await manager.work(operation_id, claim_fd)

    return anyio.run(work)


if __name__ == "__main__":
    sys.exit(main())
