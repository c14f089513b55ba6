"""Which `after` can be kept."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.gate_order import after_faults
from aither_rings_mcp.domain.settings import GateSpec


def spec(name: str, *after: str) -> GateSpec:
    return GateSpec(gate="command", name=name, after=after)


def test_a_misspelt_predecessor_is_answered_with_the_right_name() -> None:
    (fault,) = after_faults([spec("tests_pass"), spec("lint", "test_pass")])
    assert (fault.index, fault.field) == (1, "after")
    assert "did you mean 'tests_pass'?" in fault.message


def test_two_gates_of_one_name_are_a_fault_of_the_second() -> None:
    (fault,) = after_faults([spec("a"), spec("b"), spec("a")])
    assert (fault.index, fault.field) == (2, "name")


def test_a_circle_is_told_once_with_its_way() -> None:
    faults = after_faults([spec("a", "c"), spec("b", "a"), spec("c", "b"), spec("d", "a")])
    assert [fault.message for fault in faults] == ["these gates wait for each other for ever: a -> c -> b -> a"]


def test_a_gate_that_waits_for_itself_is_a_circle() -> None:
    assert "a -> a" in after_faults([spec("a", "a")])[0].message


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"), max_size=3)))
def test_no_fault_means_that_an_order_exists_and_the_other_way_round(graph: dict[str, set[str]]) -> None:
    faults = after_faults([spec(name, *sorted(after)) for name, after in graph.items()])
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError:
        order = []
    runnable = set(order) == set(graph)
    assert runnable == (not faults)
