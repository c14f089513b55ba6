"""Starts the worker of an operation: a process in a session of its own that outlives the door."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from aither_rings_mcp.ports import Claim


class WorkerProcesses:
    """Launches `entrypoints.worker`, handing over the claim's lock as an inherited file descriptor."""

    def __init__(self, config_path: Path, operations: Path) -> None:
        self._config_path = config_path
        self._operations = operations

    def expect(self) -> None:
        """Nothing: each worker is made when it is needed."""

    def start(self, operation_id: str, claim: Claim) -> int:
        argv = [
            sys.executable, "-m", "aither_rings_mcp.entrypoints.worker",
            "--config", str(self._config_path), "--operation", operation_id, "--claim-fd", str(claim.fd),
        ]  # fmt: skip
        with (self._operations / operation_id / "worker.err").open("ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=(claim.fd,),
            )
        # A door that lives on would otherwise keep the ended worker as a zombie.
        threading.Thread(target=process.wait, daemon=True, name=f"reap-{operation_id}").start()
        return process.pid
