import threading
from contextlib import closing
from http.client import HTTPConnection

import pytest
from websocket_client import Client, frame

from sample_service import faults
from sample_service.app import App, Identity
from sample_service.server import Server
from sample_service.websocket import TEXT


def statuses(fault, ring, paths):
    app = faults.parse(fault)(App(Identity(ring=ring)))
    return [app.answer(path)[0] for path in paths]


@pytest.mark.parametrize("percent", [0, 5, 50, 100])
def test_so_many_percent_of_the_requests_fail_in_prod_and_health_never(percent):
    paths = ["/", "/health", "/slow", "/nowhere"] * 100
    found = statuses(f"errors:{percent}", "prod", paths)
    asked = [status for status, path in zip(found, paths, strict=True) if path != "/health"]
    assert asked.count(500) == len(asked) * percent / 100
    assert {status for status, path in zip(found, paths, strict=True) if path == "/health"} == {200}


def test_elsewhere_the_same_release_makes_no_errors():
    assert set(statuses("errors:100", "dev", ["/"] * 10)) == {200}


@pytest.mark.parametrize(
    ("fault", "ring", "status"),
    [
        ("ok", "prod", 200),
        ("never-healthy", "dev", 503),
        ("prod-only", "dev", 200),
        ("prod-only", "prod", 503),
        ("latent:0", "prod", 503),
        ("latent:60", "prod", 200),
        ("slow-start:60", "dev", 503),
        ("slow-start:0", "dev", 200),
    ],
)
def test_health_says_what_the_fault_makes_of_it(fault, ring, status):
    assert statuses(fault, ring, ["/health", "/"]) == [status, 200]


def test_a_websocket_lives_in_a_release_that_fails_every_request():
    app = faults.parse("errors:100")(App(Identity(ring="prod")))
    server = Server(("127.0.0.1", 0), app)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        with closing(HTTPConnection(*server.server_address, timeout=5)) as connection:
            connection.request("GET", "/slow?s=0")
            assert connection.getresponse().status == 500
        with closing(Client(server.server_address)) as client:
            client.send(frame(TEXT, b"x"))
            assert (client.status, client.next()) == (101, (TEXT, b"x"))
    finally:
        server.shutdown()
        server.finish()
