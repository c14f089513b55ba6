"""`ring-ctl monitor` over a world, for as long as a test wants it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from worlds import RING_CTL, World, wait_for

#: The fast profile, at an even quicker pace; the tests wait for what happens, not for times.
QUICK = {"profile": "fast", "unhealthy_for": "1s", "dead_for": "1s", "poll": "500ms", "suspect_poll": "200ms"}


class Running:
    """`ring-ctl monitor` as a process of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.root / "monitor.log"
        self._log.write_text("")
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        argv = [str(RING_CTL), "--config", str(self._world.config), "monitor"]
        with self._log.open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, what: str, limit: float = 60) -> None:
        wait_for(lambda: what in self.log, limit, f"the monitor says {what!r}")

    def kill_and_start_again(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self.process = self._started()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def watched(world: World, **rule: Any) -> Iterator[Running]:
    def ruled(rules: dict[str, Any]) -> None:
        rules["rollback"] = {**QUICK, **rule}

    with world.rules(ruled):
        monitor = Running(world)
        try:
            monitor.says("watching")
            yield monitor
        finally:
            ended = monitor.stop()
        assert ended == 0, monitor.log
