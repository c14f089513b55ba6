"""What real servers send, whole and cut, over a real socket."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from aither_rings_mcp.adapters.http_wire import Answer, BrokenAnswer, get


async def said(*pieces: bytes) -> Answer:
    """What comes of a server that sends these pieces and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        with closing(writer):
            async with asyncio.timeout(10):
                return await get(reader, writer, "here", "/a b?c=%41")


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",), Answer(200, b"ok", reusable=True)),
        ((b"HTTP/1.1 404\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n",), Answer(404, b"", reusable=False)),
        ((b"HTTP/1.0 500 Oh\r\n\r\nto the", b" end"), Answer(500, b"to the end", reusable=False)),
        ((b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"), Answer(204, b"", reusable=True)),
        (
            (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x\r\n01", b"23\r\n0\r\nT: 1\r\n\r\n"),
            Answer(200, b"abc0123", reusable=True),
        ),
    ],
)  # fmt: skip
async def test_an_answer_is_read_to_its_end_however_it_is_framed(pieces: tuple[bytes, ...], answer: Answer) -> None:
    assert await said(*pieces) == answer


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 soon\r\n\r\n",
        b"x" * 200_000,
    ],
)
async def test_what_is_not_a_whole_answer_is_none(piece: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        await said(piece)
