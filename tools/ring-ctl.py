#!/usr/bin/env python3
"""The command line of the rings, at the path people know; the same program as `ring-ctl`."""

import os
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def in_own_environment() -> None:
    """Start again with the repository's Python, for a caller whose own lacks our packages."""
    venv = REPO / ".venv"
    python = venv / "bin" / "python"
    if Path(sys.prefix).resolve() == venv.resolve():
        raise  # this is the right Python already: the fault is another one
    if not python.exists():
        sys.exit("ring-ctl: there is no Python environment yet: run ./tools/bootstrap")
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


try:
    from aither_rings_mcp.entrypoints.cli import main
except ImportError:
    in_own_environment()

if __name__ == "__main__":
    sys.exit(main())
