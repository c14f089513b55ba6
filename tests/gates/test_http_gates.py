"""`smoke_tests` and `http` against a real little server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gate_world import Directory, context
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.gates.expectations import Expect, Response, differences, misses
from aither_rings_mcp.gates.http import Http
from aither_rings_mcp.gates.smoke_tests import SmokeTests
from aither_rings_mcp.ports import Finding


class Server(ThreadingHTTPServer):
    """Two services in one: `/pair` answers only when two ask at once, `/hang` when the test is over."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pair = threading.Barrier(2)
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        match self.path:
            case "/ready":
                self.answer(200, json.dumps({"ok": True, "checks": {"redis": "up", "n": 1}}), "application/json")
            case "/down":
                self.answer(503, "no database at postgres://app:hunter2hunter2@db/app " + "x" * 5000)
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/ready")
                self.end_headers()
            case "/pair":
                self.server.pair.wait(5)
                self.answer(200, "both")
            case "/hang":
                self.server.over.wait(20)
            case _:
                self.answer(404, "not here")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(201, json.dumps({"sent": body, "key": self.headers.get("X-Key")}))

    def answer(self, status: int, body: str, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


async def smoke(tmp_path: Path, server: Server, *requests: dict[str, Any]) -> Finding:
    gate = SmokeTests(SmokeTests.Options.model_validate({"requests": [{"service": "genesis", **r} for r in requests]}))
    return await gate.check(context(tmp_path, services=Directory({"genesis": server.url})))


async def test_requests_that_are_answered_as_expected_pass(tmp_path: Path, server: Server) -> None:
    finding = await smoke(
        tmp_path,
        server,
        {"path": "/ready", "expect": {"json": {"checks": {"redis": "up"}}, "header": {"content-type": "json"}}},
        {"path": "/ready", "expect": {"contains": "redis", "max_ms": 5000}},
        {"path": "/down", "expect": {"status": [500, 503]}},
        {"path": "/moved", "expect": {"status": 302, "header": {"Location": "/ready"}}},
        {
            "method": "post",
            "json": {"a": 1},
            "headers": {"X-Key": "k"},
            "expect": {"status": 201, "json": {"key": "k"}},
        },
        {"method": "POST", "body": "raw", "expect": {"status": 201, "json": {"sent": "raw"}}},
    )
    assert (finding.status, finding.failed_items) == (Verdict.PASSED, ())


async def test_requests_go_side_by_side(tmp_path: Path, server: Server) -> None:
    assert (await smoke(tmp_path, server, {"path": "/pair"}, {"path": "/pair"})).status is Verdict.PASSED


async def test_each_failure_says_what_was_expected_and_what_came(tmp_path: Path, server: Server) -> None:
    finding = await smoke(
        tmp_path,
        server,
        {"path": "/ready", "expect": {"json": {"ok": 1, "checks": {"redis": "down", "gone": 0}}}},
        {"path": "/down", "expect": {"json": {}, "header": {"x-gone": "1"}}},
        {"path": "/ready"},
    )
    ready, down = finding.failed_items
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "unexpected_answer")
    assert finding.summary.startswith("2 of 3 ")
    assert (ready.id, ready.where) == ("genesis GET /ready", f"GET {server.url}/ready")
    for told in ("$.ok: expected 1, got true", '$.checks.redis: expected "down", got "up"', "$.checks.gone: missing"):
        assert told in ready.message
    assert "expected status 200, got 503" in down.message
    assert "expected header x-gone with '1', got none" in down.message
    value = finding.evidence[1].value
    assert value.startswith("status 503")
    assert "hunter2" not in value
    assert len(value) < 400


async def test_a_service_that_does_not_answer_failed_and_one_that_is_not_there_too(
    tmp_path: Path, server: Server
) -> None:
    finding = await smoke(
        tmp_path, server, {"path": "/hang", "limit": "200ms"}, {"service": "gone"}, {"path": "/ready"}
    )
    hung, gone = finding.failed_items
    assert finding.status is Verdict.FAILED
    assert hung.message == "no whole answer within 0.2 s"
    assert gone.message.startswith("the release has no service 'gone'. Its services: genesis")


@pytest.mark.parametrize(
    "request_", [{"path": "ready"}, {"expects": {}}, {"json": {}, "body": ""}, {"port": 0}, {"expect": {"status": 42}}]
)
def test_a_request_that_makes_no_sense_is_refused_with_the_options(request_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SmokeTests.Options.model_validate({"requests": [{"service": "genesis", **request_}]})


async def http(tmp_path: Path, **options: Any) -> Finding:
    return await Http(Http.Options.model_validate(options)).check(context(tmp_path))


async def test_any_url_is_judged_by_the_same_expectations(tmp_path: Path, server: Server) -> None:
    assert (await http(tmp_path, url=f"{server.url}/ready", expect={"json": {"ok": True}})).status is Verdict.PASSED
    finding = await http(tmp_path, url=f"{server.url}/down")
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "unexpected_answer")
    assert "got 503" in finding.failed_items[0].message


async def test_what_a_url_answers_is_in_no_summary(tmp_path: Path, server: Server) -> None:
    odd = await http(tmp_path, url=f"{server.url}/ready", expect={"json": {"ok": "not what it says"}})
    unheard = await http(tmp_path, url=f"{server.url}/hang", limit="100ms")
    for finding, said in ((odd, "$.ok: expected"), (unheard, "no whole answer")):
        assert said in finding.failed_items[0].message
        assert said not in finding.summary


async def test_a_url_that_nobody_answers_is_an_error_not_a_failure(tmp_path: Path, server: Server) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as unused:
        url = f"http://127.0.0.1:{unused.server_address[1]}"
    finding = await http(tmp_path, url=url)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "unreachable")
    assert (await http(tmp_path, url=f"{server.url}/hang", limit="100ms")).status is Verdict.ERROR


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        Http.Options.model_validate({"url": "file:///etc/passwd"})


def test_a_json_null_can_be_expected() -> None:
    null, other = Expect.model_validate({"json": None}), Expect()
    answer = Response(200, {}, b'{"a": 1}', 1)
    assert misses(null, answer) == ('$: expected null, got {"a": 1}',)
    assert misses(other, answer) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_a_json_matches_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(
    JSON, st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.dictionaries(st.text(max_size=3), JSON, max_size=3)
)
def test_more_keys_than_expected_make_no_difference(_: Any, expected: dict[str, Any], more: dict[str, Any]) -> None:
    assert differences(expected, {**more, **expected}) == []


@given(JSON, JSON)
def test_scalars_and_lists_match_only_what_is_equal_in_json(one: Any, other: Any) -> None:
    if isinstance(one, dict) or (isinstance(one, list) and "{" in json.dumps(one)):
        return
    assert (differences(one, other) == []) == (json.dumps(one) == json.dumps(other))
