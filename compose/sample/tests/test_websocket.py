import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from websocket_client import ACCEPTED, Client, frame

from sample_service import websocket
from sample_service.app import App, Identity
from sample_service.server import Server
from sample_service.websocket import CLOSE, CONTINUATION, PING, PONG, TEXT

ME = Identity(service="node", ring="prod", slot="green", release="r-1")
NEVER_S = 3600


@contextmanager
def serving(tick_s):
    server = Server(("127.0.0.1", 0), App(ME), tick_s=tick_s)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server.server_address
    server.shutdown()
    server.finish()


@pytest.fixture
def client():
    with serving(NEVER_S) as address, closing(Client(address)) as client:
        yield client


def test_the_handshake_is_that_of_the_rfc(client):
    assert (client.status, client.headers["Sec-WebSocket-Accept"]) == (101, ACCEPTED)
    assert (client.headers["Upgrade"], client.headers["Connection"]) == ("websocket", "Upgrade")


@pytest.mark.parametrize("text", ["", "hello", "grüße", "x" * 125, "x" * 126, "x" * websocket.LONGEST])
def test_texts_of_any_length_are_echoed(client, text):
    client.send(frame(TEXT, text.encode()))
    assert client.next() == (TEXT, text.encode())


def test_a_text_in_parts_is_echoed_whole_and_a_ping_between_them_is_answered(client):
    client.send(frame(TEXT, b"one ", first=0), frame(PING, b"there?"), frame(CONTINUATION, b"text"))
    assert [client.next(), client.next()] == [(PONG, b"there?"), (TEXT, b"one text")]


def test_an_unasked_pong_changes_nothing(client):
    client.send(frame(PONG, b"x"), frame(TEXT, b"still here"))
    assert client.next() == (TEXT, b"still here")


@pytest.mark.parametrize("closing", [b"", (1000).to_bytes(2, "big") + b"bye", (4000).to_bytes(2, "big")])
def test_a_close_is_answered_with_its_code_and_ends_the_connection(client, closing):
    client.send(frame(CLOSE, closing))
    assert [client.next(), client.next()] == [(CLOSE, closing[:2]), None]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(TEXT, b"x", masked=0), 1002),
        (frame(TEXT, b"x", first=0xC0), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"x", first=0) + frame(TEXT, b"y"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", first=0), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (frame(0x3, b"x"), 1002),
        (frame(0x2, b"x"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"x" * websocket.LONGEST, first=0) + frame(CONTINUATION, b"x"), 1009),
        (bytes([0x81, 0xFF]) + (1 << 62).to_bytes(8, "big"), 1009),
    ],
)
def test_what_breaks_the_rules_ends_the_connection_with_its_code(client, wrong, code):
    client.send(wrong)
    assert client.next() == (CLOSE, code.to_bytes(2, "big"))


def test_ticks_come_by_themselves_and_name_the_release():
    with serving(0.01) as address, closing(Client(address)) as client:
        ticks = [json.loads(client.next()[1]) for _ in range(3)]
    who = {"service": "node", "ring": "prod", "slot": "green", "release": "r-1"}
    assert ticks == [{"tick": number} | who for number in (1, 2, 3)]


def test_after_a_close_frame_nothing_more_is_sent():
    sent = io.BytesIO()
    socket = websocket.WebSocket(io.BytesIO(), sent)
    socket.send(CLOSE, b"")
    socket.send(TEXT, b"a tick that came late")
    assert sent.getvalue() == bytes([0x80 | CLOSE, 0])


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Key": "short"},
        {"Sec_WebSocket_Key": base64.b64encode(b"15 bytes are no").decode()},
        {"Upgrade": "h2c"},
    ],
)
def test_what_is_no_handshake_is_refused(headers):
    with serving(NEVER_S) as address, closing(Client(address, **headers)) as client:
        assert (client.status, client.headers["Content-Type"]) == (400, "application/json")


def test_no_other_path_becomes_a_websocket():
    with serving(NEVER_S) as address, closing(Client(address, path="/health")) as client:
        assert client.status == 200


def test_told_to_stop_it_stops_at_once_whatever_is_under_way():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    # Whatever fault the release under test has: crashing by itself is not stopping when told.
    code = (
        "import runpy; from sample_service import ports, release; release.FAULT = 'ok'; "
        f"ports.AitherPorts.SERVICES['Genesis'] = {address[1]}; runpy.run_module('sample_service', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"AITHER_SERVICE": "genesis"},
        stderr=subprocess.PIPE,
    )
    try:
        assert b"listens" in process.stderr.readline()
        with closing(Client(address)) as client, closing(socket.create_connection(address)) as slow:
            client.send(frame(TEXT, b"x"))
            assert client.next() == (TEXT, b"x")
            slow.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: x\r\n\r\n")
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
            assert time.monotonic() - began < 2
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
