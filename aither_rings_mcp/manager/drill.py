"""The drill: on rings of its own, known-bad releases are shipped and whatever controls them is killed.

Everything else is the real thing: the same operations, workers, monitor, engine and files as any other rings have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from aither_rings_mcp.domain.answers import DrillAnswer, ScenarioView
from aither_rings_mcp.domain.errors import DockerUnavailable, RingError
from aither_rings_mcp.manager.drill_scenarios import SCENARIOS, Scenario
from aither_rings_mcp.manager.drill_scratch import Scratch, Seen
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import Clock, OnLine, ScratchSite


class Drill:
    """One drill. Whatever happens in it, also when it is cancelled, its site is removed again."""

    def __init__(self, site: ScratchSite, world_of: Callable[[Path], World], clock: Clock) -> None:
        self._site = site
        self._world_of = world_of
        self._clock = clock

    async def run(self, say: OnLine) -> DrillAnswer:
        """All scenarios, one after the other; `say` gets a line for each. Raises only without a way to begin."""
        started = self._clock.monotonic()
        seen: list[ScenarioView] = []
        left: tuple[str, ...] = ()
        try:
            scratch = Scratch(self._world_of(await self._site.prepare()), self._site)
            self._site.start_monitor()
            for scenario in SCENARIOS:
                view = await _acted(scenario, scratch)
                say(": ".join((scenario.name, view.ended, *view.faults)))
                seen.append(view)
        finally:
            with anyio.CancelScope(shield=True):
                left = await self._site.remove()
            for thing in left:
                say(f"left behind: {thing}")
        took = round(self._clock.monotonic() - started, 1)
        return DrillAnswer(
            ok=all(view.held for view in seen) and not left,
            summary=summary(seen, took, left),
            as_of=self._clock.now(),
            scenarios=tuple(seen),
            took_s=took,
            left=left,
        )


def summary(seen: Sequence[ScenarioView], took: float, left: Sequence[str]) -> str:
    """The drill in one sentence."""
    broken = [view.name for view in seen if not view.held]
    said = f"not as promised: {', '.join(broken)}" if broken else "every promise held"
    rest = f"left behind: {', '.join(left)}" if left else "nothing is left of it"
    return f"{len(seen)} scenarios in {took:.0f} s: {said}; {rest}."


async def _acted(scenario: Scenario, scratch: Scratch) -> ScenarioView:
    try:
        seen = await scenario.act(scratch)
        faults = (*seen.faults, *await scratch.broken_promises(seen))
    except DockerUnavailable:
        raise
    except RingError as error:
        seen = Seen("could not be ended", "")
        faults = (f"{error.code}: {error.message}",)
    except TimeoutError as error:
        seen = Seen("did not end", "")
        faults = (str(error),)
    return ScenarioView(
        name=scenario.name,
        expected=scenario.expected,
        ended=seen.ended,
        held=not faults,
        detected_s=seen.detected_s,
        recovered_s=seen.recovered_s,
        faults=faults,
    )
