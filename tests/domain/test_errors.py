"""Promise 17: refusals teach, also when another process raised them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain import errors
from aither_rings_mcp.domain.errors import Exit, InternalError, RingError, from_record, to_record

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RingError)]
#: The codes of the surface; every error has one of them.
CODES = {
    "unknown_ring", "invalid_transition", "ring_busy", "ring_frozen", "ring_stuck", "quarantined", "plan_expired",
    "plan_stale", "read_only", "forbidden", "docker_unavailable", "image_missing", "no_rollback_target",
    "operation_not_found", "config_invalid", "state_unreadable", "invalid_arguments", "internal",
}  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
DETAILS = st.dictionaries(
    st.text(min_size=1).filter(lambda key: key not in {"type", "code", "message", "next", "next_step", "self"}), VALUES
)


@given(kind=st.sampled_from(KINDS), message=st.text(), next_step=st.text(), details=DETAILS)
def test_an_error_survives_a_journey_between_processes(
    kind: type[RingError], message: str, next_step: str, details: dict[str, object]
) -> None:
    error = kind(message, next_step, **details)
    back = from_record(json.loads(json.dumps(to_record(error))))
    assert type(back) is (kind if kind is not RingError else InternalError)
    assert (back.code, back.exit_code) == (error.code, error.exit_code)
    assert (back.message, back.next_step, back.details) == (message, next_step, details)


@pytest.mark.promise(17)
@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_the_surface_and_an_exit_code_that_is_no_success(kind: type[RingError]) -> None:
    assert kind.code in CODES
    assert kind.exit_code is not Exit.DONE


def test_every_code_has_an_error() -> None:
    assert {kind.code for kind in KINDS} == CODES


def test_a_record_of_an_error_from_a_newer_version_is_still_an_error() -> None:
    back = from_record({"type": "FromTheFuture", "code": "new", "message": "m", "next": "n", "ring": "prod"})
    assert isinstance(back, InternalError)
    assert (back.message, back.next_step, back.details) == ("m", "n", {"ring": "prod"})


@pytest.mark.promise(17)
def test_an_error_says_what_is_wrong_and_what_to_do() -> None:
    error = errors.RingBusy("prod is busy", "Wait for op-1.", operation_id="op-1")
    assert error.as_dict() == {
        "code": "ring_busy",
        "message": "prod is busy",
        "next": "Wait for op-1.",
        "operation_id": "op-1",
    }
    assert str(error) == "prod is busy"
