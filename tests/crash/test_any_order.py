"""Whatever is asked, in whatever order, with whatever going wrong meanwhile: once it is carried on, all is in order.

The exhaustive power cuts take one rollout at a time from a tidy start. This explores what a few of them in a row
come to. `RINGS_EXAMPLES=500` looks further, and elsewhere each time; without it every run takes the same ways.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from fakes import checks
from fakes.machine import Fault, FaultKind
from fakes.shop import ANN, Shop, Snapshot, reopened
from fakes.stories import DEV, candidate
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.model import Override, RecordedEvent, RingRecord
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase

EXAMPLES = int(os.environ.get("RINGS_EXAMPLES", "60"))
#: Longer than `limits.engine` of the shop, in seconds.
LONG = 60.0
HOTFIX = Override(by="ann", reason="hotfix")

Ask = Callable[[Shop], Awaitable[Any]]


@dataclass(frozen=True)
class Cut:
    """The power goes before effect `at`, if the request has as many; and `again` while it is carried on."""

    at: int
    meanwhile: Literal["nothing", "reboot", "prune"]
    again: int | None


@dataclass(frozen=True)
class Away:
    """The engine goes away after `after` effects of its own, with its containers or without."""

    after: int
    seconds: float
    containers_stop: bool


PROD = frozenset({"shop-prod"})
FAULT = st.sampled_from(["ok", "ok", "never-healthy", "crash-loop", "refuses-to-start"])
VERSION = st.integers(1, 3)
RUNTIME = st.sampled_from(["dev", "prod"])
OVERRIDE = st.sampled_from([None, None, HOTFIX])
AT = st.integers(1, 120)
CUT = st.builds(Cut, at=AT, meanwhile=st.just("nothing"), again=st.none())
MORE_THAN_A_CUT = st.builds(
    Cut,
    at=AT,
    meanwhile=st.sampled_from(["nothing", "reboot", "prune"]),
    again=st.none() | st.integers(1, 60),
)
SECONDS = st.sampled_from([5.0, LONG])
AWAY = st.builds(Away, after=st.integers(0, 30), seconds=SECONDS, containers_stop=st.booleans())
TROUBLE = st.none() | CUT | MORE_THAN_A_CUT | AWAY


class AnyOrder(RuleBasedStateMachine):
    """One shop; what is asked of it is undisturbed, cut off, or left without its engine."""

    def __init__(self, folder: Path, start: Snapshot) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._start = start
        self._loop = asyncio.Runner()
        self.shop = Shop(self._folder / "fresh")
        #: Operations whose evidence may be gone, or never was: nothing ran that could have been tagged.
        self._without_evidence: set[str] = set()
        self._told: tuple[RecordedEvent, ...] = ()
        self._epochs: dict[str, int] = {}

    def teardown(self) -> None:
        self.shop.close()
        self._loop.close()
        shutil.rmtree(self._folder)

    @initialize(empty=st.booleans(), names_survive=st.booleans())
    def begin(self, empty: bool, names_survive: bool) -> None:
        if not empty:
            self.shop.close()
            self.shop = reopened(self._start, self._folder / "busy")
        self._names_survive = names_survive
        self._boot()

    # -- what is asked

    @rule(fault=FAULT, where=st.sampled_from([PROD, DEV]), version=VERSION, trouble=TROUBLE)
    def deploy(self, fault: FaultKind, where: frozenset[str], version: int, trouble: Cut | Away | None) -> None:
        source = f"{fault} in {min(where)} {version}"  # the same source is the same images, with the same fault
        self._ask(lambda shop: shop.deploy(source, Fault(fault, where)), trouble)

    @rule(override=OVERRIDE, trouble=TROUBLE)
    def stage(self, override: Override | None, trouble: Cut | Away | None) -> None:
        self._ask(lambda shop: shop.stage(override=override), trouble)

    @rule(override=OVERRIDE, trouble=TROUBLE)
    def promote(self, override: Override | None, trouble: Cut | Away | None) -> None:
        self._ask(lambda shop: shop.promote(override=override), trouble)

    @rule(fault=FAULT, version=VERSION, trouble=TROUBLE)
    def ship(self, fault: FaultKind, version: int, trouble: Cut | Away | None) -> None:
        """Through all rings, with trouble in the last: by chance alone, few releases would get that far."""
        self.deploy(fault, PROD, version, None)
        self.stage(None, None)
        self.promote(None, trouble)

    @rule(ring=RUNTIME, trouble=TROUBLE)
    def rollback(self, ring: str, trouble: Cut | Away | None) -> None:
        self._ask(lambda shop: shop.manager.rollback(ring, ANN), trouble)

    @rule(ring=RUNTIME, trouble=TROUBLE)
    def up(self, ring: str, trouble: Cut | Away | None) -> None:
        self._ask(lambda shop: shop.manager.up(ring, ANN), trouble)

    @rule(ring=RUNTIME, trouble=TROUBLE)
    def down(self, ring: str, trouble: Cut | Away | None) -> None:
        self._ask(lambda shop: shop.manager.down(ring, ANN), trouble)

    @rule(ring=st.sampled_from(["dev", "staging", "prod"]), trouble=TROUBLE)
    def cancel(self, ring: str, trouble: Cut | Away | None) -> None:
        """Something is asked for, and taken back before its worker came to anything."""

        async def asked(shop: Shop) -> None:
            shop.hands.held = True
            asks = {"dev": lambda: shop.deploy("never", wait_s=0), "staging": lambda: shop.stage(wait_s=0)}
            try:
                answer = await asks.get(ring, lambda: shop.promote(wait_s=0))()
            finally:
                shop.hands.held = False
            if answer.operation_id:
                await shop.manager.cancel(answer.operation_id, ANN, "not today")

        self._ask(asked, trouble)

    # -- what happens by itself

    @rule()
    def recover(self) -> None:
        self._loop.run(self.shop.recover())

    @rule()
    def reboot(self) -> None:
        self.shop.machine.reboot()
        self._boot()

    @rule()
    def prune(self) -> None:
        self._pruned()

    # -- what holds

    @invariant()
    def all_is_in_order(self) -> None:
        shop, operations = self.shop, self.shop.operations()
        checks.nothing_is_left_unfinished(shop, operations)
        checks.the_history_tells_each_operation_once(shop, operations)
        for ring in shop.settings.runtime_rings:
            checks.the_record_agrees_with_what_runs(shop, ring)
            checks.tags_point_where_the_record_does(shop, ring)
            what_is_recorded_makes_sense(shop.record(ring))
        checks.pins_hold_every_way_back(shop)
        checks.evidence_is_of_what_went(shop, [op for op in operations if op.id not in self._without_evidence])
        only_well_releases_run_in_prod(shop)
        # who lost the engine could not take down its preview: the next promotion will
        assert shop.machine.lost or not shop.machine.of("shop-preview"), "a preview was left behind"
        self._what_was_told_stays(shop)
        self._epochs_only_grow(operations)

    def _what_was_told_stays(self, shop: Shop) -> None:
        told = tuple(reversed(shop.world.history.read(1000)[0]))
        assert told[: len(self._told)] == self._told
        self._told = told

    def _epochs_only_grow(self, operations: tuple[Operation, ...]) -> None:
        for ring in self.shop.settings.rings:
            epochs = {op.id: op.epoch for op in reversed(operations) if op.request.ring == ring}
            assert all(one < after for one, after in itertools.pairwise(epochs.values())), epochs
            assert all(epochs[id_] >= epoch for id_, epoch in self._epochs.items() if id_ in epochs)
            self._epochs |= epochs

    # -- how it is asked

    def _ask(self, ask: Ask, trouble: Cut | Away | None) -> None:
        shop = self.shop
        known = {op.id for op in shop.operations()}
        before = {name: shop.record(name) for name in shop.settings.rings}
        shop.clock.seconds += 10
        self._loop.run(self._disturbed(ask, trouble))
        for op in shop.operations():
            if op.id not in known:
                record = before[op.request.ring]
                if not record.running:
                    self._without_evidence.add(op.id)
                nothing_is_taken_back_for_trouble(op, shop)
                what_was_condemned_stays_out(op, shop.record(op.request.ring), record)

    async def _disturbed(self, ask: Ask, trouble: Cut | Away | None) -> None:
        """Asks, and carries on what is left once the trouble has passed."""
        shop, machine = self.shop, self.shop.machine
        match trouble:
            case Cut():
                # no new start before it: what an earlier request left unsynced is lost with it
                shop.power.cut_at = len(shop.power.effects) + trouble.at
                await shop.until_cut(answered(ask(shop)))
                if shop.power.dead:
                    await self._meanwhile(trouble)
            case Away():
                machine.dies_in, machine.away_for = trouble.after, trouble.seconds
                machine.stops_with_it = trouble.containers_stop
                await answered(ask(shop))
                machine.dies_in = None
                shop.clock.seconds += LONG
            case None:
                await answered(ask(shop))
                return
        self._boot()
        await shop.recover()

    async def _meanwhile(self, cut: Cut) -> None:
        match cut.meanwhile:
            case "reboot":
                self.shop.machine.reboot()
            case "prune":
                self._pruned()
            case "nothing":
                pass
        if cut.again:
            self._boot(cut.again)
            await self.shop.until_cut(self.shop.recover())

    def _boot(self, cut_at: int | None = None) -> None:
        self.shop.boot(cut_at, names_survive=self._names_survive)

    def _pruned(self) -> None:
        """Takes evidence along: only what a record needs is pinned."""
        self.shop.machine.prune_images()
        self._without_evidence |= {op.id for op in self.shop.operations()}


async def answered(asked: Awaitable[Any]) -> None:
    with suppress(RingError):  # a refusal, or how it ended, which is in its journal
        await asked


def what_is_recorded_makes_sense(record: RingRecord) -> None:
    # what proved itself stays good in this world, so there always is a way back that works
    assert not record.stuck
    if record.release:
        assert record.deployments[0].release == record.release
        assert not record.is_quarantined(record.release), "a release runs that was rolled back"
    if back := record.rollback_release:
        assert back != record.release
        assert not record.is_quarantined(back)
        assert [d for d in record.deployments if d.release == back and d.proven_at], "it never proved itself"


def nothing_is_taken_back_for_trouble(op: Operation, shop: Shop) -> None:
    """A power cut, a reboot or an absent engine is no fault of the release that was on its way."""
    if op.phase is Phase.ROLLED_BACK and op.release:
        faults = [shop.machine.images.get(image) for image in op.release.images.values()]
        assert all(fault is None or shop.world.project(op.request.ring) in fault.projects for fault in faults)
        assert all(fault is None or fault.kind != "ok" for fault in faults), f"{op.id} took back a good release"


def what_was_condemned_stays_out(op: Operation, record: RingRecord, before: RingRecord) -> None:
    if op.release is None:
        return
    if op.request.kind is Kind.PROMOTE and op.phase is Phase.DONE and not op.request.override:
        assert not before.is_quarantined(op.release.id), "a release that was rolled back came back by itself"
    if op.phase is Phase.ROLLED_BACK:
        assert op.request.kind is not Kind.ROLLBACK
        # what could not start is not condemned: that may be the machine's fault
        assert record.is_quarantined(op.release.id) or not op.verification.get("reason")


def only_well_releases_run_in_prod(shop: Shop) -> None:
    record = shop.record("prod")
    if record.running:
        running = shop.machine.of("shop-prod")
        assert {shop.machine.misbehaves(container) for container in running} == {"ok"}
        built_from = shop.world.releases.load(str(record.release)).built_from
        staged = {event.to for event in shop.world.history.read(1000)[0] if event.outcome == "candidate_tagged"}
        assert built_from in staged, "prod runs what never was in staging"


@pytest.fixture(scope="module")
def busy(memory: Path) -> Iterator[Snapshot]:
    """v1 and v2 went through prod; v3 waits in staging."""
    shop = Shop(memory / "busy before any order")
    asyncio.run(candidate()(shop))
    yield shop.snapshot()
    shop.close()


@pytest.mark.promise(2, 5, 6, 7, 8, 9, 12)
@pytest.mark.timeout(400 + 4 * EXAMPLES)  # a failure is shrunk for up to five minutes
def test_in_any_order_with_any_trouble_it_ends_in_order(memory: Path, busy: Snapshot) -> None:
    run_state_machine_as_test(
        lambda: AnyOrder(memory, busy),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            derandomize="RINGS_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
