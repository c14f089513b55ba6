"""`ring-ctl promote staging prod`, with the monitor on, as it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from anyio.from_thread import start_blocking_portal
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from worlds import RING_CTL

from benchmarks.contenders.contender import NotBegun
from benchmarks.worlds import REPO, BenchWorld, wait_for

#: Longest time of a rollout, settling included, in seconds.
_LIMIT = 900
_BAD_RELEASE = 7


class Ours:
    """The rings as rings.yaml configures them, or with another `strategy` for prod."""

    attended = True
    where = ()

    def __init__(self, world: BenchWorld, strategy: str | None = None) -> None:
        self.name = "aither-rings" + (f" ({strategy})" if strategy else "")
        self._world = world
        self._strategy = strategy
        self._bad: str | None = None
        self._held = ExitStack()

    def front(self) -> tuple[str, ...]:
        return self._world.front()

    def start(self) -> None:
        world = self._world
        self._held.enter_context(world.rules(self.change))
        if world.ring("prod")["state"] != "running":
            world.arrange("up", "prod")
        if self._bad and world.ring("prod")["release"] == self._bad:
            world.arrange("rollback", "prod")
        self._bad = None
        self._held.enter_context(self._monitor())

    def prepare(self, fault: str) -> None:
        self._world.stage(fault)
        self._world.set(".env.prod", SETTING=self._world.next_name())

    def promote(self) -> str:
        said = self._world.ctl("promote", "staging", "prod", limit=_LIMIT)
        if said.outcome == "blocked":
            raise NotBegun(said.answer["summary"])
        assert said.code in {0, _BAD_RELEASE}, said
        if self._world.staged != "ok":
            self._bad = said.answer["release"]
        return said.answer["release"]

    def rollback(self) -> None:
        said = self._world.ctl("rollback", "prod", limit=_LIMIT)
        assert said.code == 0, said

    def stop(self) -> None:
        self._held.close()
        self._world.arrange("down", "prod")
        self._world.workers_end()

    def change(self, rules: dict[str, Any]) -> None:
        """What is configured otherwise than in the shipped rings.yaml."""
        if self._strategy:
            rules["rings"]["prod"]["strategy"] = self._strategy

    def _monitor(self) -> ExitStack:
        argv = [str(RING_CTL), "--config", str(self._world.config), "monitor"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)
        ends = ExitStack()
        ends.callback(process.wait, 30)
        ends.callback(process.terminate)
        return ends


class OursByAgent(Ours):
    """The same, asked by an agent whose client is connected already, as it is while an agent is at work."""

    def __init__(self, world: BenchWorld) -> None:
        super().__init__(world)
        self.name = "aither-rings (MCP)"

    def start(self) -> None:
        super().start()
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "aither_rings_mcp", "--config", str(self._world.config)],
            env={**os.environ, "PYTHONPATH": str(REPO)},
        )
        self._portal = self._held.enter_context(start_blocking_portal())
        self._client = self._held.enter_context(self._portal.wrap_async_context_manager(Client(server)))
        self._portal.call(self._client.list_tools)

    def rollback(self) -> None:
        arguments = {"ring": "prod", "wait_s": 120}
        said = self._portal.call(self._client.call_tool, "ring_rollback", arguments)
        assert not said.is_error and said.structured_content["outcome"] == "rolled_back", said


class OursSettled(Ours):
    """The same, asked to go back only once the release has settled and what it replaced no longer runs."""

    _SETTLE = "20s"

    def __init__(self, world: BenchWorld) -> None:
        super().__init__(world)
        self.name = "aither-rings (settled)"

    def change(self, rules: dict[str, Any]) -> None:
        rules["rollback"]["settle"] = self._SETTLE

    def promote(self) -> str:
        release = super().promote()
        wait_for(lambda: "settling_until" not in self._world.ring("prod"), 120, "the release has settled")
        self._world.workers_end()
        return release
