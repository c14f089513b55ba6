import json
import threading
from http.client import HTTPConnection

import pytest

from sample_service.app import App, Identity
from sample_service.server import Server


@pytest.fixture
def connection():
    server = Server(("127.0.0.1", 0), App(Identity(service="node")))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    connection = HTTPConnection(*server.server_address, timeout=5)
    yield connection
    connection.close()
    server.shutdown()
    server.finish()


def get(connection, path):
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, reply.getheader("Content-Type"), json.loads(reply.read())


def test_answers_are_json_over_http(connection):
    status, kind, body = get(connection, "/health")
    assert (status, kind, body["status"]) == (200, "application/json", "ok")


def test_one_connection_serves_many_requests(connection):
    assert [get(connection, path)[0] for path in ("/", "/nowhere", "/health?verbose=1")] == [200, 404, 200]
    assert connection.sock is not None


def test_head_has_no_body(connection):
    connection.request("HEAD", "/")
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"")
