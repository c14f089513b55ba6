"""A WebSocket (RFC 6455) from the server's side: texts that are echoed, and a message of its own every second.

Whoever holds one open sees that it lives on, and which release it talks to, while others already get the next one.
"""

import base64
import binascii
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import BinaryIO

LONGEST = 64 * 1024     # bytes of one message, its fragments together

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, UNSUPPORTED, NOT_UTF8, TOO_BIG = 1000, 1002, 1003, 1007, 1009
NO_CODE = 1005          # stands for a close frame that gives none; is never sent

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ClosingError(Exception):
    """No more messages come; `code` is what the closing frame says."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


def wanted(headers: Mapping[str, str]) -> bool:
    """Does this request ask to become a WebSocket?"""
    return "websocket" in (word.strip().lower() for word in headers.get("Upgrade", "").split(","))


def accept(headers: Mapping[str, str]) -> str:
    """What `Sec-WebSocket-Accept` has to say; ValueError says what is wrong with the handshake."""
    if headers.get("Sec-WebSocket-Version") != "13":
        raise ValueError("Sec-WebSocket-Version has to be 13")
    key = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        long_enough = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        long_enough = False
    if not long_enough:
        raise ValueError("Sec-WebSocket-Key has to be 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def echo(reader: BinaryIO, writer: BinaryIO, tick: Callable[[int], str], every_s: float) -> None:
    """Serve one connection from its handshake to its end. `tick` makes the message number n, from 1."""
    socket = WebSocket(reader, writer)
    over = threading.Event()

    def ticks() -> None:
        number = 0
        with suppress(OSError, ValueError):    # the client went away, or its connection is closed already
            while not over.wait(every_s):
                number += 1
                socket.send(TEXT, tick(number).encode())

    threading.Thread(target=ticks, daemon=True).start()
    with suppress(OSError):
        try:
            for text in socket.texts():
                socket.send(TEXT, text.encode())
        except ClosingError as end:
            socket.send(CLOSE, b"" if end.code == NO_CODE else end.code.to_bytes(2, "big"))
    over.set()


class WebSocket:
    def __init__(self, reader: BinaryIO, writer: BinaryIO):
        self._reader = reader
        self._writer = writer
        self._sending = threading.Lock()
        self._closed = False

    def send(self, opcode: int, payload: bytes) -> None:
        """One whole frame. After a close frame nothing more is sent."""
        size = len(payload)
        if size < 126:
            length = bytes([size])
        elif size < 1 << 16:
            length = bytes([126]) + size.to_bytes(2, "big")
        else:
            length = bytes([127]) + size.to_bytes(8, "big")
        with self._sending:
            if self._closed:
                return
            self._closed = opcode == CLOSE
            self._writer.write(bytes([0x80 | opcode]) + length + payload)
            self._writer.flush()

    def texts(self) -> Iterator[str]:
        """Every text message, until `ClosingError`. Pings are answered on the way."""
        message: bytes | None = None
        while True:
            final, opcode, payload = self._frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                raise ClosingError(_closing_code(payload))
            elif opcode in (TEXT, CONTINUATION):
                if (opcode == TEXT) != (message is None):
                    raise ClosingError(PROTOCOL_ERROR)
                message = (message or b"") + payload
                if len(message) > LONGEST:
                    raise ClosingError(TOO_BIG)
                if final:
                    yield _decoded(message)
                    message = None
            elif opcode != PONG:
                raise ClosingError(UNSUPPORTED if opcode == BINARY else PROTOCOL_ERROR)

    def _frame(self) -> tuple[bool, int, bytes]:
        first, second = self._exactly(2)
        final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        control_is_split = opcode >= CLOSE and (size > 125 or not final)
        if first & 0x70 or not second & 0x80 or control_is_split:    # an extension nobody agreed on, or no mask
            raise ClosingError(PROTOCOL_ERROR)
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        if size > LONGEST:
            raise ClosingError(TOO_BIG)
        mask, masked = self._exactly(4), self._exactly(size)
        return final, opcode, bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))

    def _exactly(self, size: int) -> bytes:
        got = self._reader.read(size)
        if len(got) < size:
            raise ConnectionError("the client went away")
        return got


def _closing_code(payload: bytes) -> int:
    if not payload:
        return NO_CODE
    code = int.from_bytes(payload[:2], "big")
    allowed = 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
    return code if len(payload) >= 2 and allowed else PROTOCOL_ERROR


def _decoded(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ClosingError(NOT_UTF8) from None
