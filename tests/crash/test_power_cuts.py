"""Every kind of rollout, disturbed at every effect: it ends as if nothing had been, or as if it had never begun."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.checks import at_rest
from fakes.shop import ANN, Shop, Snapshot, reopened
from fakes.stories import STORIES, Story, end_of

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.rollout import Kind, Phase

pytestmark = [pytest.mark.promise(5), pytest.mark.promise(9), pytest.mark.promise(12)]

#: Where going through every effect would take too long: this many, drawn with a fixed seed, per story.
DRAWN = 6
#: Longer than `limits.engine` of the shop, in seconds.
LONG = 60.0
NOTHING_DONE = {Phase.FAILED, Phase.BLOCKED}


@dataclass(frozen=True)
class Told:
    """A story told undisturbed: where it starts, what effects it has, how everything stands before and after."""

    snapshot: Snapshot
    before: dict[str, Any]
    after: dict[str, Any]
    effects: list[str]
    writes: int

    @classmethod
    async def once(cls, story: Story, folder: Path) -> Told:
        snapshot = await story.set(folder / "start")
        shop = reopened(snapshot, folder / "undisturbed")
        before = end_of(shop)
        await answered(story.ask(shop))
        at_rest(shop)
        after = end_of(shop)
        assert len(after["outcomes"]) == len(before["outcomes"]) + 1
        assert after["outcomes"][-1][1] == story.ends
        return cls(snapshot, before, after, shop.power.effects, shop.power.writes)

    @property
    def on_the_machine(self) -> int:
        """How many of its effects are the engine's."""
        return len([name for name in self.effects if name not in {"disk", "sync_folder"}])


class Trial:
    """One story, told again and again with something else going wrong."""

    def __init__(self, story: Story, told: Told, folder: Path) -> None:
        self.story = story
        self.told = told
        self._folders = (folder / str(number) for number in range(10**6))
        self._shop: Shop | None = None
        self.faults: list[str] = []
        self.times = 0

    def shop(self) -> Shop:
        self.times += 1
        if self._shop:
            self._shop.close()
        self._shop = reopened(self.told.snapshot, next(self._folders))
        return self._shop

    async def cut(self, at: int, *, names_survive: bool = True) -> Shop:
        """The power goes before effect `at`."""
        shop = self.shop()
        shop.boot(at, names_survive=names_survive)
        await shop.until_cut(answered(self.story.ask(shop)))
        assert shop.power.dead
        return shop

    def judge(self, shop: Shop, where: str, *, may_fail: bool = False) -> None:
        """As undisturbed, or never begun. With `may_fail`: or begun, and ended before anything was touched."""
        try:
            # who lost the engine could not take down its preview: the next promotion will
            at_rest(shop, without_preview=not shop.machine.lost)
            # whoever carries on also stops what waits in a slot that nobody goes back to
            ends, before, after = (but_for_settling(one) for one in (end_of(shop), self.told.before, self.told.after))
            if may_fail:
                ends, before, after = (without_nothing(one) for one in (ends, before, after))
            if ends != before:
                assert ends == after
        except AssertionError as error:
            self.faults.append(f"{where}: {str(error)[:800]}")

    def drawn(self, count: int) -> list[random.Random]:
        """The same each time, and another for each story."""
        return [random.Random(f"{self.story} {number}") for number in range(count)]

    def found_nothing(self) -> None:
        assert not self.faults, f"{len(self.faults)} faults:\n" + "\n".join(self.faults[:5])


def but_for_settling(end: dict[str, Any]) -> dict[str, Any]:
    return {**end, "outcomes": [outcome for outcome in end["outcomes"] if outcome[0] is not Kind.SETTLE]}


def without_nothing(end: dict[str, Any]) -> dict[str, Any]:
    """The end without the operations that ended before they touched anything; whoever asked may have asked again."""
    return {**end, "outcomes": [outcome for outcome in end["outcomes"] if outcome[1] not in NOTHING_DONE]}


async def answered(asked: Any) -> None:
    with suppress(RingError):  # how it ended is in its journal
        await asked


async def carried_on(shop: Shop) -> None:
    """New processes, the monitor's too, and whatever was left is carried on."""
    shop.boot()
    shop.manager.monitor(shop.said.append)  # tells what the one before had no time to tell
    await shop.recover()


@pytest.fixture(scope="session")
def shelf() -> dict[str, Told]:
    return {}


@pytest.fixture
async def trial(
    request: pytest.FixtureRequest, memory: Path, shelf: dict[str, Told], record_property: Callable[[str, object], None]
) -> AsyncIterator[Trial]:
    story: Story = request.param
    folder = Path(tempfile.mkdtemp(dir=memory))
    if story.name not in shelf:
        shelf[story.name] = await Told.once(story, memory / story.name)
    trial = Trial(story, shelf[story.name], folder)
    yield trial
    shutil.rmtree(folder)
    record_property("effects", len(trial.told.effects))
    record_property("times", trial.times)


one_of_a_kind = pytest.mark.parametrize("trial", [s for s in STORIES if not s.like], ids=str, indirect=True)
every_story = pytest.mark.parametrize("trial", STORIES, ids=str, indirect=True)


def every_cut(effects: list[str]) -> Iterator[tuple[int, bool]]:
    """Before every effect; where more than one file hangs on it, also with the names lost that were not synced."""
    for at, name in enumerate(effects, start=1):
        yield at, True
        if name != "disk":
            yield at, False


@one_of_a_kind
async def test_a_power_cut_at_any_effect_changes_nothing_about_the_end(trial: Trial) -> None:
    for at, names_survive in every_cut(trial.told.effects):
        shop = await trial.cut(at, names_survive=names_survive)
        await carried_on(shop)
        trial.judge(shop, f"{at} {trial.told.effects[at - 1]}")
    trial.found_nothing()


@every_story
async def test_nor_does_another_one_while_it_is_carried_on(trial: Trial) -> None:
    for draw in trial.drawn(DRAWN):
        first = draw.randint(1, len(trial.told.effects))
        shop = await trial.cut(first)
        where = f"{first} {trial.told.effects[first - 1]}"
        for _ in range(draw.randint(1, 3)):
            again = draw.randint(1, max(10, len(trial.told.effects) - first))
            shop.boot(again)
            await shop.until_cut(shop.recover())
            where += f", then {again}"
        await carried_on(shop)
        trial.judge(shop, where)
    trial.found_nothing()


@every_story
async def test_after_a_reboot_what_is_recorded_comes_up_again(trial: Trial) -> None:
    for draw in trial.drawn(DRAWN):
        at = draw.randint(1, len(trial.told.effects))
        shop = await trial.cut(at)
        shop.machine.reboot()
        await carried_on(shop)
        trial.judge(shop, f"reboot at {at} {trial.told.effects[at - 1]}", may_fail=True)
        for ring in shop.settings.runtime_rings:
            if shop.record(ring).running and not shop.record(ring).stuck:
                await answered(shop.manager.up(ring, ANN))
        at_rest(shop)
    trial.found_nothing()


@every_story
async def test_an_engine_that_goes_away_and_comes_back_is_waited_for(trial: Trial) -> None:
    for at in range(trial.told.on_the_machine):
        shop = trial.shop()
        shop.machine.dies_in, shop.machine.away_for = at, 5.0
        shop.machine.stops_with_it = bool(at % 2)
        await answered(trial.story.ask(shop))
        assert not [op for op in shop.operations() if not op.final]
        shop.clock.seconds += LONG
        trial.judge(shop, f"the engine went at {at}", may_fail=True)
    trial.found_nothing()


@every_story
async def test_an_engine_that_stays_away_is_left_for_later(trial: Trial) -> None:
    for draw in trial.drawn(DRAWN if trial.told.on_the_machine else 0):
        at = draw.randrange(trial.told.on_the_machine)
        shop = trial.shop()
        shop.machine.dies_in, shop.machine.away_for = at, LONG
        await answered(trial.story.ask(shop))
        left = [op for op in shop.operations() if not op.final]
        assert len(left) <= 1
        shop.clock.seconds += LONG
        await carried_on(shop)
        trial.judge(shop, f"the engine stayed away at {at}", may_fail=True)
    trial.found_nothing()


@every_story
async def test_a_full_disk_is_waited_for_and_then_left_for_later(trial: Trial) -> None:
    for draw in trial.drawn(DRAWN):
        shop = trial.shop()
        shop.power.full_from = draw.randint(1, trial.told.writes)
        room_at = shop.clock.seconds + draw.choice([15.0, LONG])
        shop.power.has_room = lambda shop=shop, room_at=room_at: shop.clock.seconds >= room_at
        await answered(trial.story.ask(shop))
        assert shop.operations()[0].phase is not Phase.STUCK or trial.story.ends == "stuck"
        shop.clock.seconds += LONG
        await carried_on(shop)
        trial.judge(shop, f"full from write {shop.power.full_from}", may_fail=True)
    trial.found_nothing()
