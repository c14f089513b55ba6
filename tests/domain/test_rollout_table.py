"""The whole transition table: what it allows, what it forbids, and what can be proved from it."""

from __future__ import annotations

from itertools import product

import pytest

from aither_rings_mcp.domain.rollout import (
    BEFORE_EFFECT,
    FINAL,
    PERCENT,
    TRANSITIONS,
    IllegalTransition,
    Operation,
    Phase,
    Signal,
    advance,
)

#: Every line that may exist: `phase: signal>next ...`. A change of the table has to be written here too.
ALLOWED = """
accepted: build>building gate>gating prepare>preparing switch>switching retire>retiring cancel>cancelled error>failed
building: ok>preparing error>failed cancel>cancelled
gating: ok>preparing refused>blocked error>failed cancel>cancelled
preparing: ok>switching stage>starting roll>rolling tagged>recording error>failed cancel>cancelled
starting: ok>proving error>restoring refused>failed
proving: ok>switching share>canary unhealthy>restoring refused>failed
canary: ok>switching unhealthy>restoring
rolling: ok>switching unhealthy>restoring refused>failed
switching: ok>verifying routed>recording down>recording error>restoring kept>recording refused>failed
verifying: ok>recording kept>recording unhealthy>restoring
retiring: ok>recording
recording: ok>done
restoring: ok>restore_verifying untouched>restore_recording down>restore_recording error>stuck refused>stuck
restore_verifying: ok>restore_recording unhealthy>stuck
restore_recording: ok>rolled_back
"""
EXPECTED = {
    (Phase(phase), Signal(signal)): Phase(following)
    for phase, _, moves in (line.partition(": ") for line in ALLOWED.strip().splitlines())
    for signal, _, following in (move.partition(">") for move in moves.split())
}
#: A slot comes up beside the one that serves: nothing that users meet is touched.
BESIDE = {Phase.STARTING, Phase.PROVING}
ONWARD = {Phase.CANARY, Phase.ROLLING, Phase.SWITCHING, Phase.VERIFYING, Phase.RECORDING, Phase.RETIRING}
FORWARD = BEFORE_EFFECT | BESIDE | ONWARD


def reachable(start: Phase) -> set[Phase]:
    found: set[Phase] = set()
    todo = [start]
    while todo:
        here = todo.pop()
        following = {after for (phase, _), after in TRANSITIONS.items() if phase is here}
        todo += following - found
        found |= following
    return found


def into(target: Phase) -> set[Phase]:
    return {phase for (phase, _), after in TRANSITIONS.items() if after is target}


@pytest.mark.parametrize(("phase", "signal"), list(product(Phase, Signal)))
def test_a_signal_moves_a_phase_as_the_table_says_or_not_at_all(phase: Phase, signal: Signal) -> None:
    if (phase, signal) in EXPECTED:
        assert advance(phase, signal) is EXPECTED[phase, signal]
    else:
        with pytest.raises(IllegalTransition, match=f"{phase} has no transition for {signal}"):
            advance(phase, signal)


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL))
def test_every_rollout_that_is_under_way_can_come_to_an_end(phase: Phase) -> None:
    assert reachable(phase) & FINAL


@pytest.mark.parametrize("phase", sorted(FINAL))
def test_nothing_leaves_a_final_phase(phase: Phase) -> None:
    assert reachable(phase) == set()


def test_every_phase_can_be_reached_from_the_first() -> None:
    assert reachable(Phase.ACCEPTED) == set(Phase) - {Phase.ACCEPTED}


@pytest.mark.promise(7)
@pytest.mark.parametrize("phase", sorted(Phase))
def test_no_phase_comes_twice_so_there_is_one_attempt_at_everything(phase: Phase) -> None:
    assert phase not in reachable(phase)


@pytest.mark.promise(7)
def test_going_back_never_turns_into_going_forward() -> None:
    assert not reachable(Phase.RESTORING) & FORWARD
    assert reachable(Phase.RESTORING) & FINAL == {Phase.ROLLED_BACK, Phase.STUCK}


@pytest.mark.promise(7)
def test_a_refused_restore_is_stuck_so_a_rollback_never_ends_in_rolled_back() -> None:
    """The executor answers `refused` when it should restore a rollback; from there only `stuck` is left."""
    assert advance(Phase.RESTORING, Signal.REFUSED) is Phase.STUCK


@pytest.mark.promise(7)
def test_whatever_fails_while_restoring_is_stuck_and_not_tried_again() -> None:
    bad = {Signal.ERROR, Signal.REFUSED, Signal.UNHEALTHY}
    ends = {
        after
        for (phase, signal), after in TRANSITIONS.items()
        if phase in {Phase.RESTORING, Phase.RESTORE_VERIFYING} and signal in bad
    }
    assert ends == {Phase.STUCK}
    assert into(Phase.STUCK) == {Phase.RESTORING, Phase.RESTORE_VERIFYING}


def test_an_ending_that_says_nothing_happened_comes_before_any_effect_on_what_serves() -> None:
    for nothing_happened in (Phase.BLOCKED, Phase.CANCELLED):
        assert into(nothing_happened) <= BEFORE_EFFECT
    # from these a rollback whose slot is not well: its users are sent back to where they were
    assert into(Phase.FAILED) <= BEFORE_EFFECT | BESIDE | {Phase.ROLLING, Phase.SWITCHING}


def test_once_the_switch_began_it_cannot_be_cancelled_or_given_up() -> None:
    after = {phase for phase in Phase if phase not in BEFORE_EFFECT}
    after_switch = {Phase.SWITCHING} | reachable(Phase.SWITCHING)
    assert not [phase for phase, signal in TRANSITIONS if phase in after and signal is Signal.CANCEL]
    assert not reachable(Phase.SWITCHING) & {Phase.BLOCKED, Phase.CANCELLED}
    assert [
        signal for (phase, signal), after in TRANSITIONS.items() if phase in after_switch and after is Phase.FAILED
    ] == [Signal.REFUSED]


def test_until_the_switch_begins_it_can_be_cancelled() -> None:
    assert {phase for phase, signal in TRANSITIONS if signal is Signal.CANCEL} == BEFORE_EFFECT


@pytest.mark.promise(5)
def test_nothing_is_done_or_rolled_back_without_being_recorded() -> None:
    assert into(Phase.DONE) == {Phase.RECORDING}
    assert into(Phase.ROLLED_BACK) == {Phase.RESTORE_RECORDING}


def test_nothing_is_recorded_as_restored_unless_it_was_verified_or_taken_down() -> None:
    ways = {move for move, after in TRANSITIONS.items() if after is Phase.RESTORE_RECORDING}
    assert ways == {
        (Phase.RESTORE_VERIFYING, Signal.OK), (Phase.RESTORING, Signal.DOWN), (Phase.RESTORING, Signal.UNTOUCHED)
    }  # fmt: skip


def test_a_switch_that_worked_is_verified_before_it_is_recorded() -> None:
    assert advance(Phase.SWITCHING, Signal.OK) is Phase.VERIFYING


def test_gates_come_before_preparation_and_there_is_no_way_around_a_refusal() -> None:
    assert advance(Phase.GATING, Signal.REFUSED) is Phase.BLOCKED
    assert into(Phase.GATING) == {Phase.ACCEPTED}


def test_percent_is_known_while_under_way_and_grows_on_the_way_forward() -> None:
    assert set(PERCENT) == set(Phase) - FINAL
    assert all(0 <= percent < 100 for percent in PERCENT.values())
    for (phase, _), after in TRANSITIONS.items():
        if after in PERCENT and after is not Phase.RESTORING:
            assert PERCENT[phase] < PERCENT[after] or phase in {Phase.BUILDING, Phase.GATING}


def test_an_operation_is_final_in_the_final_phases_only() -> None:
    assert {phase for phase in Phase if Operation.model_construct(phase=phase).final} == FINAL
