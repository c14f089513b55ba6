"""GET over a plain stream: where hundreds are asked at once, a client library costs more than the answers."""

from __future__ import annotations

from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter
from dataclasses import dataclass
from urllib.parse import quote

#: Reserved characters and escapes stay as they are written; whatever else a path may not hold is escaped.
_AS_WRITTEN = "/?:@!$&'()*+,;=%~"
_NO_BODY = frozenset({204, 304})


class BrokenAnswer(ConnectionError):
    """What came is not a whole HTTP answer."""


@dataclass(frozen=True)
class Answer:
    """`reusable`: the connection is where the next request may go."""

    status: int
    body: bytes
    reusable: bool


async def get(reader: StreamReader, writer: StreamWriter, host: str, path: str, *, close: bool = False) -> Answer:
    """Asks once and reads the answer to its end; OSError (`BrokenAnswer`) when none comes. The limit is the caller's.

    `close` tells the other side that nothing more will be asked on this connection.
    """
    last = "Connection: close\r\n" if close else ""
    request = f"GET {quote(path, safe=_AS_WRITTEN)} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n{last}\r\n"
    writer.write(request.encode())
    try:
        while (head := _Head(await reader.readuntil(b"\r\n\r\n"))).status < 200:
            pass  # interim: the answer itself is still to come
        body, framed = await _body(reader, head)
    except (IncompleteReadError, LimitOverrunError, ValueError) as error:
        raise BrokenAnswer(f"not a whole HTTP answer: {error}") from error
    return Answer(head.status, body, framed and head.headers.get("connection") != "close")


class _Head:
    """Status and headers. ValueError where they are neither."""

    def __init__(self, raw: bytes) -> None:
        status, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        version, _, rest = status.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("it is not HTTP/1")
        self.status = int(rest[:3])
        self.headers = {name.lower(): value.strip().lower() for name, _, value in (ln.partition(":") for ln in lines)}


async def _body(reader: StreamReader, head: _Head) -> tuple[bytes, bool]:
    """The body, and whether its end was told by anything but the end of the connection."""
    if head.status in _NO_BODY:
        return b"", True
    if head.headers.get("transfer-encoding") == "chunked":
        return await _chunks(reader), True
    if (length := head.headers.get("content-length")) is not None:
        return await reader.readexactly(int(length)), True
    return await reader.read(), False


async def _chunks(reader: StreamReader) -> bytes:
    chunks: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append((await reader.readexactly(size + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(chunks)
