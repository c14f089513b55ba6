"""Errors over HTTP: each has a status and a problem document, and leaks nothing."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from aither_rings_mcp.domain import errors
from aither_rings_mcp.domain.errors import InvalidArguments, RingBusy, RingError
from aither_rings_mcp.entrypoints.problems import STATUS, problem

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RingError)]


@pytest.mark.promise(17)
@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_and_says_what_is_next(kind: type[RingError]) -> None:
    made = problem(kind("what is wrong", "what to do", ring="prod"))
    document = json.loads(made.body)
    assert made.status == document["status"] == STATUS[kind.code]
    assert 400 <= made.status < 600
    assert (document["detail"], document["next"]) == ("what is wrong", "what to do")
    assert (document["code"], document["ring"]) == (kind.code, "prod")
    assert document["type"] == f"urn:aither-rings:problem:{kind.code}"
    assert made.headers["content-type"] == "application/problem+json"


def test_no_status_is_for_a_code_that_is_none() -> None:
    assert set(STATUS) == {kind.code for kind in KINDS}


def test_details_take_no_place_of_the_standards() -> None:
    document = problem(RingBusy("busy", "wait", title="x", status=200, detail="y")).document
    assert (document["title"], document["status"], document["detail"]) == ("Ring busy", 409, "busy")


def test_a_finer_status_keeps_the_code() -> None:
    made = problem(InvalidArguments("no JSON", "Send JSON."), status=HTTPStatus.BAD_REQUEST, kind="not_json")
    assert (made.status, made.document["code"]) == (400, "invalid_arguments")
    assert made.document["type"] == "urn:aither-rings:problem:not_json"


@pytest.mark.promise(16)
def test_a_secret_in_a_message_does_not_leave() -> None:
    made = problem(InvalidArguments("token=hunter2 is wrong", "Not password=hunter2."))
    assert b"hunter2" not in made.body
