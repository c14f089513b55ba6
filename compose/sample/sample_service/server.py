"""HTTP around the app: HTTP/1.1 with keep-alive, one thread per connection, gone at once when told to go."""

import json
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Protocol

from . import websocket
from .app import Answer, Identity

FINISH_LIMIT_S = 0.15
TICK_S = 1.0


class Answering(Protocol):
    @property
    def identity(self) -> Identity: ...

    def answer(self, path: str, query: str = "") -> Answer: ...


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "sample"
    sys_version = ""
    timeout = 75            # seconds that an idle keep-alive connection may stay
    wbufsize = -1           # head and body leave in one packet, so nobody waits for a delayed ACK
    server: "Server"

    def do_GET(self):  # noqa: N802, the name http.server looks for
        path, _, query = self.path.partition("?")
        if path == "/ws" and self.command == "GET" and websocket.wanted(self.headers):
            self._websocket()
            return
        with self.server.busy():
            try:
                status, body = self.server.app.answer(path, query)
            except Exception as error:  # the request's boundary: one bad request must not take the connection's thread
                status, body = 500, {"error": type(error).__name__}
            self._answer(status, body)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, body: dict):
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.wfile.flush()

    def _websocket(self):
        """Not `busy`: nobody waits for its end when the service is told to go."""
        try:
            accepted = websocket.accept(self.headers)
        except ValueError as error:
            self._answer(400, {"error": str(error)})
            return
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        self.connection.settimeout(None)    # a listener may have nothing to say
        me = self.server.app.identity
        who = {"service": me.service, "ring": me.ring, "slot": me.slot, "release": me.release}
        websocket.echo(self.rfile, self.wfile, lambda number: json.dumps({"tick": number} | who), self.server.tick_s)

    def log_request(self, code="-", size="-"):
        # Health checks come every few seconds: what went well is not worth a line.
        if isinstance(code, int) and code >= 500:
            print(f"{self.command} {self.path.partition('?')[0]} {code}", file=sys.stderr, flush=True)

    def log_message(self, format, *args):
        """Nothing of http.server's own: its lines hold text that a client chose."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: Answering, tick_s: float = TICK_S):
        super().__init__(address, Handler)
        self.app = app
        self.tick_s = tick_s
        self._busy = 0
        self._idle = threading.Condition()

    def server_bind(self):
        # Not HTTPServer's: that one asks the resolver for our full name, which nobody needs.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    @contextmanager
    def busy(self):
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def finish(self):
        """Take no more connections and let requests under way end, for a moment only."""
        self.server_close()
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, timeout=FINISH_LIMIT_S)
