"""What stands before every HTTP route: who gets through, and what everybody else is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_site import Site, served

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments
from aither_rings_mcp.entrypoints.http_guard import Rules
from aither_rings_mcp.entrypoints.http_hosts import Hosts, authority, check_bind, is_public
from aither_rings_mcp.entrypoints.http_limits import Buckets, Pace

PATHS = ("/", "/mcp", "/sse", "/metrics", "/rings/prod", "/nowhere")
OPEN = ("/healthz", "/readyz")
NO_TOKEN = 'Bearer realm="aither-rings"'


async def get(site: Site, path: str = "/", token: str | None = None, **headers: str) -> httpx.Response:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.get(site.url + path, headers=headers)


def refusal(response: httpx.Response, status: int, code: str = "forbidden") -> dict[str, Any]:
    """The problem document of a refused request."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert {"type", "title", "status", "detail", "code", "next"} <= document.keys()
    assert (document["status"], document["code"]) == (status, code)
    return document


@pytest.fixture
async def local(tmp_path: Path) -> AsyncGenerator[Site]:
    """On loopback, without any token."""
    async with served(tmp_path) as site:
        yield site


@pytest.fixture
async def public(tmp_path: Path) -> AsyncGenerator[Site]:
    """On every address, known as rings.example.org."""
    rules = Rules(public=True, hosts=("rings.example.org",), origins=("https://board.example.org",))
    async with served(tmp_path, rules, host="0.0.0.0") as site:
        yield site


# -- hosts and origins


@pytest.mark.parametrize("path", [*PATHS, *OPEN])
async def test_a_wrong_host_is_misdirected_on_every_route(public: Site, path: str) -> None:
    token = public.token(Role.APPROVER)
    for host in ("evil.example", f"evil.example:{public.port}", "localhost", "127.0.0.1:1", "rings.example.org.evil"):
        assert refusal(await get(public, path, token, Host=host), 421)["type"].endswith(":unknown_host")
    assert public.seen.paths == []


@pytest.mark.parametrize("path", [*PATHS, *OPEN])
async def test_a_foreign_origin_is_refused_on_every_route(public: Site, path: str) -> None:
    token = public.token(Role.APPROVER)
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "file://", "https://"):
        assert refusal(await get(public, path, token, Origin=origin), 403)["type"].endswith(":foreign_origin")
    assert public.seen.paths == []


async def test_own_hosts_and_origins_pass(public: Site) -> None:
    token, port = public.token(Role.VIEWER), public.port
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", f"[0:0::1]:{port}", "rings.example.org",
                 "rings.example.org:443"):  # fmt: skip
        assert (await get(public, "/", token, Host=host)).status_code == 200, host
    for origin in (f"http://localhost:{port}", f"http://[::1]:{port}", "https://rings.example.org",
                   "https://board.example.org", "https://board.example.org:443"):  # fmt: skip
        assert (await get(public, "/", token, Origin=origin)).status_code == 200, origin


async def test_a_page_of_an_allowed_origin_may_ask_and_read_the_answer(public: Site) -> None:
    board = {"Origin": "https://board.example.org", "Access-Control-Request-Method": "POST"}
    async with httpx.AsyncClient(trust_env=False) as client:
        before = await client.options(
            f"{public.url}/mcp",
            headers={**board, "Host": "rings.example.org", "Access-Control-Request-Headers": "authorization,mcp-name"},
        )
        foreign = await client.options(
            f"{public.url}/mcp", headers={**board, "Host": "rings.example.org", "Origin": "https://evil.example"}
        )
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, board["Origin"])
    assert "authorization" in before.headers["access-control-allow-headers"]
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers
    for answer in (
        await get(public, "/", public.token(Role.VIEWER), Origin=board["Origin"]),
        await get(public, "/", Origin=board["Origin"]),
    ):
        assert answer.headers["access-control-allow-origin"] == board["Origin"], answer.status_code
    assert "access-control-allow-origin" not in (await get(public, "/", public.token(Role.VIEWER))).headers


async def test_host_and_origin_are_looked_at_before_the_token(public: Site) -> None:
    assert (await get(public, Host="evil.example", Origin="https://evil.example")).status_code == 421
    assert (await get(public, Origin="https://evil.example")).status_code == 403
    assert (await get(public)).status_code == 401


async def raw(site: Site, request: str) -> str:
    """The first line of the answer to bytes that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(request.replace("\n", "\r\n").encode("latin-1"))
        async with asyncio.timeout(30):
            return (await reader.readline()).decode()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.0\n\n", "421"),
        ("GET / HTTP/1.1\nHost: localhost:{port}\nHost: localhost:{port}\nConnection: close\n\n", "4"),
        ("GET / HTTP/1.1\nHost: a@localhost:{port}\nConnection: close\n\n", "421"),
        ("GET / HTTP/1.1\nHost: localhost:{port}/\nConnection: close\n\n", "421"),
        ("GET / HTTP/1.1\nHost: \nConnection: close\n\n", "421"),
        ("GET / HTTP/1.1\nHost: localhost:{port},evil\nConnection: close\n\n", "421"),
        ("GET / HTTP/1.1\nHost: loc\xe4lhost:{port}\nConnection: close\n\n", "421"),
        (
            "GET / HTTP/1.1\nHost: localhost:{port}\nOrigin: http://localhost:{port}\nOrigin: https://evil.example\n"
            "Connection: close\n\n",
            "403",
        ),
        ("GET / HTTP/1.1\nHost: localhost:{port}\nConnection: close\n\n", "200"),
    ],
)
async def test_odd_heads_get_no_further(local: Site, head: str, status: str) -> None:
    said = await raw(local, head.replace("{port}", str(local.port)))
    assert said.split()[1].startswith(status), said


async def test_a_websocket_finds_no_way_round(local: Site) -> None:
    said = await raw(
        local,
        f"GET /mcp HTTP/1.1\nHost: localhost:{local.port}\nUpgrade: websocket\nConnection: Upgrade\n"
        "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
    )
    assert "101" not in said
    assert local.seen.paths in ([], ["/mcp"])  # without a WebSocket library it is an ordinary GET


# -- identity


async def test_alone_on_loopback_without_tokens_anybody_here_has_the_servers_role(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(local=Role.VIEWER)) as site:
        seen = (await get(site)).json()
    assert seen == {
        "same": True,
        "name": "anonymous",
        "kind": "agent",
        "role": "viewer",
        "token": None,
        "attended": True,
    }


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "Via"])
async def test_whoever_comes_through_a_proxy_is_not_local(local: Site, header: str) -> None:
    assert (await get(local)).status_code == 200
    assert (await get(local, **{header: "for=1.2.3.4"})).status_code == 401


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_token_the_answer_is_the_bare_challenge(public: Site, path: str) -> None:
    response = await get(public, path)
    assert "token" in refusal(response, 401)["detail"]
    assert response.headers["www-authenticate"] == NO_TOKEN
    basic = await get(public, path, Authorization="Basic YTpi")
    assert (basic.status_code, basic.headers["www-authenticate"]) == (401, NO_TOKEN)
    assert public.seen.paths == []


async def test_a_token_that_does_not_count_is_told_so_by_the_standard(public: Site) -> None:
    good = public.token(Role.OPERATOR)
    expired = public.token(Role.OPERATOR, expires_at=public.clock.now() + timedelta(seconds=60))
    revoked = public.token(Role.OPERATOR)
    public.tokens.revoke(revoked.split("_")[1], public.clock.now())
    public.clock.seconds += 60
    table = [
        (good[:-1] + "x", "unknown here"),
        ("nonsense", "unknown here"),
        (expired, "expired"),
        (revoked, "revoked"),
        (f"{good} {good}", "unknown here"),
    ]
    for sent, said in table:
        response = await get(public, token=sent)
        refusal(response, 401)
        assert response.headers["www-authenticate"] == (
            f'{NO_TOKEN}, error="invalid_token", error_description="the token is {said}"'
        )
        assert sent not in response.text + str(response.headers)
    assert (await get(public, f"/?access_token={good}")).status_code == 401
    assert public.seen.paths == []
    assert (await get(public, token=good)).status_code == 200
    assert (await get(public, Authorization=f"bearer  {good}")).status_code == 200


async def test_two_tokens_at_once_are_none(public: Site) -> None:
    good = public.token(Role.VIEWER)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        twice = [("Authorization", f"Bearer {good}")] * 2
        assert (await client.get(public.url, headers=twice)).status_code == 401


async def test_the_identity_is_the_tokens(public: Site) -> None:
    token = public.token(Role.APPROVER, name="ann", kind="person")
    seen = (await get(public, "/metrics", token)).json()
    assert seen == {
        "same": True,
        "name": "ann",
        "kind": "person",
        "role": "approver",
        "token": "000000000000",
        "attended": True,
    }


@pytest.mark.parametrize("path", OPEN)
async def test_open_paths_need_no_token_and_give_no_role(public: Site, path: str) -> None:
    seen = (await get(public, path)).json()
    assert (seen["role"], seen["token"]) == ("viewer", None)
    assert (await get(public, path, "nonsense")).status_code == 401
    assert (await get(public, path + "/..")).status_code == 401


async def test_the_first_token_closes_a_running_server_and_a_vanished_file_does_not_open_it(
    local: Site, tmp_path: Path
) -> None:
    assert (await get(local)).status_code == 200
    token = local.token(Role.VIEWER)
    assert (await get(local)).status_code == 401
    assert (await get(local, token=token)).status_code == 200
    local.tokens.revoke("000000000000", local.clock.now())
    assert (await get(local, token=token)).status_code == 401
    assert (await get(local)).status_code == 401
    (tmp_path / "tokens.json").unlink()
    assert (await get(local)).status_code == 401


async def test_a_given_host_of_elsewhere_needs_tokens_though_the_server_is_on_loopback(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(hosts=("rings.example.org",))) as site:
        assert (await get(site)).status_code == 401
    async with served(tmp_path, Rules(hosts=("localhost:8001",))) as site:
        assert (await get(site, Host="localhost:8001")).status_code == 200
        assert (await get(site, Host="localhost:8002")).status_code == 421


async def test_an_unreadable_file_of_tokens_refuses_everybody(
    local: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = local.token(Role.VIEWER)
    (tmp_path / "tokens.json").write_text("{")
    with caplog.at_level(logging.ERROR):
        for sent in (token, None):
            document = refusal(await get(local, token=sent), 500, "state_unreadable")
            assert str(tmp_path) not in json.dumps(document)
    assert str(tmp_path) in caplog.text
    assert (await get(local, "/healthz")).status_code == 200


# -- pace and size


async def test_wrong_tokens_are_slowed_down_and_the_right_one_is_not(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(wrong_tokens=Pace(per_s=0.5, burst=3))) as site:
        good = site.token(Role.VIEWER)
        assert [(await get(site, token="x")).status_code for _ in range(4)] == [401, 401, 401, 429]
        response = await get(site, token="x")
        assert refusal(response, 429)["type"].endswith(":too_many_requests")
        assert response.headers["retry-after"] == "2"
        assert (await get(site, token=good)).status_code == 200
        site.clock.seconds += 2
        assert [(await get(site, token="x")).status_code for _ in range(2)] == [401, 429]


async def test_who_asks_too_fast_waits_and_then_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(pace=Pace(per_s=2, burst=2))) as site:
        one, other = site.token(Role.VIEWER), site.token(Role.VIEWER)
        assert [(await get(site, token=one)).status_code for _ in range(3)] == [200, 200, 429]
        response = await get(site, token=one)
        refusal(response, 429)
        assert response.headers["retry-after"] == "1"
        assert (await get(site, token=other)).status_code == 200
        site.clock.seconds += 0.5
        assert [(await get(site, token=one)).status_code for _ in range(2)] == [200, 429]


async def test_within_its_patience_a_server_is_slower_and_refuses_nobody(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(pace=Pace(per_s=2, burst=2, patience=5))) as site:
        assert [(await get(site)).status_code for _ in range(6)] == [200] * 6
        assert site.clock.waited == [0.5] * 4


def test_a_bucket_fills_at_its_pace_and_who_was_refused_took_nothing() -> None:
    now = [0.0]
    buckets = Buckets(Pace(per_s=10, burst=3, patience=0.2), lambda: now[0])
    waits = [buckets.take("a") for _ in range(5)]
    assert [go_on for _, go_on in waits] == [True] * 5
    assert [wait for wait, _ in waits] == pytest.approx([0, 0, 0, 0.1, 0.2])
    assert [buckets.take("a") for _ in range(9)] == [(pytest.approx(0.1), False)] * 9
    assert buckets.take("b") == (0, True)
    now[0] = 100.0
    assert [buckets.take("a")[0] for _ in range(3)] == pytest.approx([0, 0, 0])


def test_clients_without_number_take_no_memory_without_end() -> None:
    buckets = Buckets(Pace(per_s=1, burst=1), lambda: 0.0)
    for number in range(10_000):
        buckets.take(str(number))
    assert len(buckets) < 5_000


async def post(site: Site, body: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.post(f"{site.url}/size", content=body, headers=headers)


async def in_chunks(size: int) -> AsyncGenerator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize("size", [0, 100, 1000])
async def test_a_body_up_to_the_limit_arrives_whole(tmp_path: Path, size: int) -> None:
    async with served(tmp_path, Rules(longest_body=1000)) as site:
        assert (await post(site, b"x" * size)).text == str(size)
        assert (await post(site, in_chunks(size))).text == str(size)


async def test_a_longer_one_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(longest_body=1000)) as site:
        assert refusal(await post(site, b"x" * 1001), 413, "invalid_arguments")["limit"] == 1000
        assert site.seen.bytes == 0
        head = "POST /size HTTP/1.1\nHost: localhost:{port}\nConnection: close\nContent-Length: "
        for length, status in ((f"{'9' * 5000}", "4"), ("0", "200"), ("000", "200")):
            said = await raw(site, f"{head.replace('{port}', str(site.port))}{length}\n\n")
            assert said.split()[1].startswith(status), said


async def test_one_that_comes_in_chunks_is_counted_as_it_streams(tmp_path: Path) -> None:
    async with served(tmp_path, Rules(longest_body=1000)) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(
            f"POST /size HTTP/1.1\r\nHost: localhost:{site.port}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            for sent in range(1, 4):
                writer.write(b"190\r\n" + b"x" * 400 + b"\r\n")
                await writer.drain()
                while sent < 3 and site.seen.bytes < sent * 400:
                    await asyncio.sleep(0.01)
            # the answer comes though the body has not ended, and the connection ends with it
            said = (await reader.read()).decode()
        writer.close()
    assert said.startswith("HTTP/1.1 413 ")
    assert json.loads(said.partition("\r\n\r\n")[2])["code"] == "invalid_arguments"
    assert site.seen.bytes == 800


async def test_a_stream_passes_through_piece_by_piece(local: Site) -> None:
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream("GET", f"{local.url}/stream") as response,
    ):
        pieces = response.aiter_bytes()
        assert await anext(pieces) == b"data: first\n\n"
        local.seen.go_on.set()
        assert await anext(pieces) == b"data: last\n\n"


@pytest.mark.promise(17)
async def test_a_stream_tells_nothing_more_once_its_token_is_revoked(local: Site) -> None:
    token = local.token(Role.VIEWER)
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30, headers={"Authorization": f"Bearer {token}"}) as client,
        client.stream("GET", f"{local.url}/stream") as response,
    ):
        pieces = response.aiter_bytes()
        assert await anext(pieces) == b"data: first\n\n"
        local.tokens.revoke(local.tokens.all()[0].id, local.clock.now())
        local.seen.go_on.set()
        assert [piece async for piece in pieces] == []


# -- where a server may listen


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert not is_public(host)
    check_bind(host, tokens_exist=False)


@pytest.mark.promise(17)
@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.5", "10.0.0.1", "fe80::1", "8.8.8.8", "::ffff:10.0.0.1"]
)
def test_without_tokens_a_server_listens_to_this_machine_only(host: str) -> None:
    assert is_public(host)
    check_bind(host, tokens_exist=True)
    with pytest.raises(Forbidden) as refused:
        check_bind(host, tokens_exist=False)
    assert "ring-ctl token create" in refused.value.next_step


def test_a_name_that_resolves_to_nothing_is_told() -> None:
    with pytest.raises(InvalidArguments, match="resolves to nothing"):
        check_bind("no-such-host.invalid", tokens_exist=False)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("LocalHost:80", ("localhost", 80)),
        ("[0:0:0:0:0:0:0:1]:8000", ("[::1]", 8000)),
        ("[::1]", ("[::1]", None)),
        ("::1:8000", None),
        ("[::1", None),
        ("[fe80::1%25eth0]", None),
        ("localhost:", None),
        ("localhost:99999", None),
        ("localhost:-1", None),
        ("a b", None),
        ("", None),
    ],
)
def test_a_host_is_read_as_the_standard_writes_it(text: str, means: tuple[str, int | None] | None) -> None:
    found = authority(text)
    assert (found and (found.host, found.port)) == means


@pytest.mark.parametrize(
    ("hosts", "origins"), [(("https://x",), ()), (("a b",), ()), ((), ("rings.example.org",)), ((), ("null",))]
)
def test_a_host_or_origin_that_is_none_is_told_at_the_start(hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArguments, match="is no"):
        Hosts(hosts, origins)
