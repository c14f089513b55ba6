import time

import pytest

from sample_service.app import App, Identity


def down():
    raise ConnectionRefusedError("redis://:secret@redis:6379 refused")


def up():
    return None


@pytest.fixture
def app():
    return App(Identity(service="veil", ring="dev", slot="blue", release="r1", commit="abc1234"))


def test_home_says_who_it_is(app):
    status, body = app.answer("/")
    assert status == 200
    assert {name: body[name] for name in ("service", "ring", "slot", "release", "commit")} == {
        "service": "veil",
        "ring": "dev",
        "slot": "blue",
        "release": "r1",
        "commit": "abc1234",
    }


def test_health_does_not_ask_the_backbone():
    app = App(Identity(), checks={"redis": down})
    assert app.answer("/health")[0] == 200


def test_ready_when_the_whole_backbone_answers():
    app = App(Identity(), checks={"redis": up, "postgres": up})
    assert app.answer("/ready") == (200, {"status": "ok", "checks": {"redis": "ok", "postgres": "ok"}})


def test_not_ready_while_a_part_of_the_backbone_is_down():
    app = App(Identity(), checks={"redis": down, "postgres": up})
    status, body = app.answer("/ready")
    assert status == 503
    assert body["checks"] == {"redis": "ConnectionRefusedError", "postgres": "ok"}


def test_ready_keeps_the_drivers_message_to_itself():
    app = App(Identity(), checks={"redis": down})
    assert "secret" not in str(app.answer("/ready"))


def test_an_unknown_path_is_not_found(app):
    assert app.answer("/env")[0] == 404


def test_what_the_environment_leaves_empty_keeps_its_default():
    identity = Identity.from_environment({"AITHER_SERVICE": "mind", "AITHER_RING": "", "REDIS_URL": "redis://x"})
    assert (identity.service, identity.ring) == ("mind", "local")


def test_a_slow_answer_comes_after_the_seconds_it_was_asked_for(app):
    began = time.monotonic()
    status, body = app.answer("/slow", "s=0.05")
    assert time.monotonic() - began >= 0.05
    assert (status, body["took_s"], body["release"]) == (200, 0.05, "r1")


@pytest.mark.parametrize("query", ["", "s", "s=", "s=-1", "s=61", "s=nan", "s=inf", "s=soon", "t=1"])
def test_a_slow_answer_of_no_length_is_refused_at_once(app, query):
    status, body = app.answer("/slow", query)
    assert status == 400
    assert "/slow?s=SECONDS" in body["error"]
