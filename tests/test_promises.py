"""Promises and tests, held against each other both ways."""

import re
from pathlib import Path

from aither_rings_mcp.domain.rollout import TRANSITIONS, Phase

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def promises() -> dict[int, str]:
    """number -> how far it is kept, from the table in the docs."""
    rows = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", ARCHITECTURE, re.MULTILINE)
    return {int(number): kept for number, kept in rows}


def named_by_tests() -> dict[int, set[str]]:
    named: dict[int, set[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for arguments in re.findall(r"mark\.promise\(([\d, ]+)\)", file.read_text()):
            for number in arguments.split(","):
                named.setdefault(int(number), set()).add(file.name)
    return named


def test_every_promise_said_to_be_kept_has_a_test() -> None:
    kept = {number for number, how in promises().items() if how != "not yet"}
    assert sorted(kept - named_by_tests().keys()) == []


def test_every_test_names_a_promise_that_exists() -> None:
    assert sorted(named_by_tests().keys() - promises().keys()) == []


def test_there_are_seventeen_promises() -> None:
    assert sorted(promises()) == list(range(1, 18))


def test_the_state_diagram_in_the_docs_is_the_transition_table() -> None:
    # failed and cancelled are left out of the picture: every phase before the first effect leads there
    aside = {Phase.FAILED, Phase.CANCELLED}
    table = {(phase.value, after.value) for (phase, _), after in TRANSITIONS.items() if after not in aside}
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", ARCHITECTURE, re.MULTILINE))
    assert drawn == table
