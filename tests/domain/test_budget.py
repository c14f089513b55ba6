"""What agents may still do. People are never held up; what is refused now passes when it said it would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.budget import Change, Verdict, changes_told, refusal, told_enough
from aither_rings_mcp.domain.model import Actor, Event
from aither_rings_mcp.domain.settings import Agents

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ANN, BOT, OTHER = Actor(name="ann"), Actor(name="bot", kind="agent", door="mcp"), Actor(name="otto", kind="agent")
MONITOR = Actor(name="ring-monitor", kind="monitor", door="monitor")
RULE = Agents()
SETTLE = 300.0


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def told(minutes_ago: float, event: str, outcome: str, actor: Actor = BOT, **fields: Any) -> Event:
    return Event(
        at=ago(minutes_ago), ring=fields.pop("ring", "prod"), event=event, outcome=outcome,
        operation=f"op-{minutes_ago}", actor=str(actor), **fields,
    )  # fmt: skip


def changes(*events: Event, actor: Actor = BOT) -> tuple[Change, ...]:
    return changes_told(events, {"prod"}, actor, SETTLE)


def refused(*events: Event, actor: Actor = BOT, rule: Agents = RULE) -> tuple[str, int, datetime | None] | None:
    found = refusal(actor, "prod", changes(*events, actor=actor), rule, NOW)
    return (found.reason_code, found.used, found.retry_at) if found else None


def test_so_many_changes_an_hour_and_then_when_the_first_of_them_is_an_hour_ago() -> None:
    events = [told(at, "promote", "promoted") for at in range(59, 47, -1)]
    assert refused(*events[1:]) is None
    assert refused(*events) == ("budget", 12, ago(59) + timedelta(hours=1))
    assert refused(told(60, "promote", "promoted"), *events[1:]) is None, "an hour ago is over"


def test_a_change_counts_from_when_it_began() -> None:
    rule = Agents(changes_per_hour=1)
    assert refused(told(30, "promote", "promoted", duration_s=600.0), rule=rule) == ("budget", 1, ago(-20))


def test_an_agents_rollback_counts_as_a_change() -> None:
    rule = Agents(changes_per_hour=2)
    events = told(20, "promote", "promoted", to="r-2"), told(5, "rollback", "rolled_back", from_="r-2", to="r-1")
    assert refused(*events, rule=rule) == ("budget", 2, ago(20) + timedelta(hours=1))


@pytest.mark.parametrize("outcome", ["blocked", "approval_required", "failed", "cancelled"])
def test_what_changed_nothing_does_not_count(outcome: str) -> None:
    assert changes(told(1, "promote", outcome)) == ()


def test_other_rings_and_other_operations_do_not_count() -> None:
    others = told(1, "promote", "promoted", ring="dev"), told(1, "deploy", "rolled_back"), told(1, "up", "up")
    assert changes(*others) == ()


def test_a_cool_down_doubles_with_each_promotion_that_goes_back() -> None:
    rule = Agents(breaker=100)
    events = [told(at, "promote", "rolled_back") for at in (50, 40, 30, 0.5)]
    waits = [refused(*events[-n:], rule=rule) for n in (1, 2, 3, 4)]
    assert waits == [("cooldown", n, ago(0.5) + timedelta(seconds=60 * 2 ** (n - 1))) for n in (1, 2, 3, 4)]


def test_a_cool_down_has_its_limit() -> None:
    rule = Agents(breaker=100, changes_per_hour=1000)
    events = [told(5000 - at, "promote", "stuck") for at in range(4999)]
    assert refused(*events[:90], events[-1], rule=rule) == ("cooldown", 91, ago(2) + timedelta(hours=1))


def test_a_promotion_that_stayed_ends_the_row() -> None:
    bad = told(0.3, "promote", "rolled_back")
    good = told(0.2, "promote", "promoted")
    assert refused(bad, good) is None
    assert refused(bad, good, told(0.1, "promote", "rolled_back")) == ("cooldown", 1, ago(0.1 - 1))


def test_a_cool_down_is_ones_own() -> None:
    assert refused(told(0.1, "promote", "rolled_back", OTHER)) is None


def test_three_in_a_row_that_went_back_leave_only_people_whoever_asked_for_them() -> None:
    events = [told(at, "promote", "rolled_back", actor) for at, actor in ((900, ANN), (800, OTHER), (700, BOT))]
    assert refused(*events[1:]) is None
    assert refused(*events) == ("breaker", 3, None)
    assert refused(*events, actor=ANN) is None
    assert refused(*events, told(600, "promote", "promoted", ANN)) is None


def test_a_release_that_was_taken_back_while_it_settled_did_not_stay() -> None:
    def cycle(at: float, by: Actor, after: float = 1.0) -> list[Event]:
        release = f"r-{at}"
        return [
            told(at, "promote", "promoted", to=release),
            told(at - after, "rollback", "rolled_back", by, from_=release, to="r-1"),
        ]

    assert refused(*cycle(900, MONITOR), *cycle(800, ANN), *cycle(700, OTHER)) == ("breaker", 3, None)
    late = [event for at in (900, 800, 700) for event in cycle(at, ANN, after=6)]
    assert refused(*late) is None, "it had settled: that it went later says nothing about promoting"
    watched = [event for at in (900, 800, 700) for event in cycle(at, MONITOR, after=6)]
    assert refused(*watched) == ("breaker", 3, None), "the monitor takes back only what goes bad while it settles"


def test_a_rollback_from_another_release_says_nothing_about_the_last_promotion() -> None:
    events = told(9, "promote", "promoted", to="r-2"), told(8, "rollback", "rolled_back", MONITOR, from_="r-9")
    assert [change.verdict for change in changes(*events)] == [Verdict.STAYED, None]


@pytest.mark.parametrize("name", ["bot", "bot (agent via mcp)", "a (person via cli) b", ""])
def test_an_actor_is_found_again_by_name_and_kind_through_any_door(name: str) -> None:
    actor = Actor(name=name, kind="agent", door="mcp")
    assert actor.told_as(str(actor))
    assert actor.told_as(str(actor.model_copy(update={"door": "rest"})))
    assert not actor.told_as(str(actor.model_copy(update={"kind": "person"})))
    assert not actor.told_as(str(actor.model_copy(update={"name": name + "x"})))


def test_a_row_of_ones_own_is_read_to_its_beginning_while_it_can_make_one_wait() -> None:
    events = (
        told(300, "promote", "rolled_back"),
        told(200, "promote", "promoted", OTHER),
        told(100, "promote", "promoted", OTHER),
        told(1.5, "promote", "rolled_back"),
    )
    assert refused(*events) == ("cooldown", 2, ago(1.5 - 2))
    assert not told_enough("prod", changes(*events[1:]), ago(200), RULE, NOW)
    long_ago = NOW + timedelta(hours=2)
    assert told_enough("prod", changes(*events[1:]), ago(200), RULE, long_ago)


def test_what_goes_on_counts_from_when_it_began() -> None:
    rule = Agents(changes_per_hour=1)
    running = Change(operation="op-1", ring="prod", mine=True, began=ago(10))
    found = refusal(BOT, "prod", [running], rule, NOW)
    assert found
    assert (found.reason_code, found.retry_at) == ("budget", ago(-50))


# -- for any past

ACTORS = st.sampled_from([ANN, BOT, OTHER, MONITOR])
EVENTS = st.builds(
    lambda event, actor, release, after, took: (event, actor, release, after, took),
    st.sampled_from(
        [("promote", "promoted"), ("promote", "rolled_back"), ("promote", "stuck"), ("promote", "blocked"),
         ("rollback", "rolled_back"), ("rollback", "stuck"), ("deploy", "deployed")]
    ),
    ACTORS,
    st.sampled_from(["r-1", "r-2"]),
    st.floats(0, 3000),
    st.floats(0, 200),
)  # fmt: skip
RULES = st.builds(
    lambda changes, cooldown, longer, breaker: Agents(
        changes_per_hour=changes, cooldown=cooldown, cooldown_max=cooldown + longer, breaker=breaker
    ),
    st.integers(1, 8),
    st.floats(1, 2000),
    st.floats(0, 9000),
    st.integers(1, 6),
)


def past(made: list[Any]) -> list[Event]:
    """Events one after the other, the last of them just before NOW."""
    at, events = NOW, list[Event]()
    for number, ((event, outcome), actor, release, after, took) in enumerate(made):
        at -= timedelta(seconds=after)
        events.append(
            Event(
                at=at, ring="prod", event=event, outcome=outcome, operation=f"op-{number}", actor=str(actor),
                from_="r-1", to=release, duration_s=round(took, 1),
            )
        )  # fmt: skip
    return events[::-1]


@given(st.lists(EVENTS, max_size=25), RULES)
def test_a_person_and_the_monitor_are_never_refused(made: list[Any], rule: Agents) -> None:
    for actor in (ANN, MONITOR):
        assert refused(*past(made), actor=actor, rule=rule) is None


@given(st.lists(EVENTS, max_size=25), RULES)
def test_nobody_is_refused_below_the_budget(made: list[Any], rule: Agents) -> None:
    found = changes(*past(made))
    refusal_ = refusal(BOT, "prod", found, rule, NOW)
    mine = [change for change in found if change.mine and change.began > NOW - timedelta(hours=1)]
    if refusal_ and refusal_.reason_code == "budget":
        assert len(mine) >= rule.changes_per_hour
    bad = [change for change in found if change.verdict is Verdict.WENT_BACK]
    if refusal_ and refusal_.reason_code == "breaker":
        assert len(bad) >= rule.breaker
    if len(mine) < rule.changes_per_hour and not bad:
        assert refusal_ is None


@given(st.lists(EVENTS, max_size=25), RULES)
def test_what_is_refused_now_passes_when_it_said_it_would(made: list[Any], rule: Agents) -> None:
    found = changes(*past(made))
    refusal_ = refusal(BOT, "prod", found, rule, NOW)
    if refusal_ and refusal_.retry_at:
        assert refusal_.retry_at > NOW
        assert refusal(BOT, "prod", found, rule, refusal_.retry_at - timedelta(microseconds=1)) is not None
        assert refusal(BOT, "prod", found, rule, refusal_.retry_at) is None
    elif refusal_:
        assert refusal_.reason_code == "breaker"
        assert refusal(BOT, "prod", found, rule, NOW + timedelta(days=400)) is not None


@given(st.lists(EVENTS, min_size=1, max_size=25), RULES)
def test_what_was_not_read_makes_no_difference(made: list[Any], rule: Agents) -> None:
    events = past(made)
    whole = refusal(BOT, "prod", changes(*events), rule, NOW)
    for start in range(len(events)):
        part = changes(*events[start:])
        if told_enough("prod", part, events[start].at, rule, NOW):
            seen = refusal(BOT, "prod", part, rule, NOW)
            # of a breaker that is open, the row may be longer than was read
            assert (seen and (seen.reason_code, seen.retry_at)) == (whole and (whole.reason_code, whole.retry_at))
