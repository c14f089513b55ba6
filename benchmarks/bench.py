"""What every row is given: how often to repeat, which contenders, and the world that they share."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from benchmarks.contenders import swarm
from benchmarks.contenders.by_hand import BehindProxy, DownUp, InPlace
from benchmarks.contenders.contender import Contender
from benchmarks.contenders.ours import Ours, OursByAgent, OursSettled
from benchmarks.contenders.swarm import Swarm
from benchmarks.worlds import BenchWorld, bench_world


@dataclass
class Bench:
    """One run. The world is made when the first row needs it, and goes at the end."""

    repetitions: int
    #: Every single request of the stories, one file each.
    recordings: Path
    #: Run only the contenders that have one of these words in their name; empty: all.
    only: tuple[str, ...] = ()
    _ends: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.recordings.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @cached_property
    def world(self) -> BenchWorld:
        self.say("the shipped sample, with names and ports of its own")
        return self._ends.enter_context(bench_world())

    @cached_property
    def going_back(self) -> list[Contender]:
        """The contenders once more; ours also asked by an agent, and with a release that has settled: what that
        replaced has to start first.
        """
        more = (OursByAgent(self.world), OursSettled(self.world))
        return [*self.contenders, *(one for one in more if self._wanted(one))]

    @cached_property
    def contenders(self) -> list[Contender]:
        """Stopped, all of them; dev and the backbone run beside whichever of them serves."""
        all_of_them: list[Contender] = [
            Ours(self.world),
            Ours(self.world, "recreate"),
            InPlace(self.world),
            DownUp(self.world),
            BehindProxy(self.world),
        ]
        if swarm.possible():
            all_of_them.append(Swarm(self.world, self._ends))
        else:
            self.say("without Docker Swarm: it needs root, and an engine of its own")
        self.world.arrange("down", "prod")
        return [one for one in all_of_them if self._wanted(one)]

    def _wanted(self, contender: Contender) -> bool:
        return not self.only or any(word in contender.name for word in self.only)

    def say(self, line: str) -> None:
        print(f"bench: {line}", file=sys.stderr, flush=True)
