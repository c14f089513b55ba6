"""An HTTP request with what is expected of its answer: shared by `smoke_tests` and `http`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, cast

import anyio
from pydantic import AfterValidator, Field, model_validator

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.domain.settings import Duration
from aither_rings_mcp.domain.verdict import Evidence, FailedItem

if TYPE_CHECKING:
    import httpx

#: More of a body than this is neither kept nor looked at.
_LARGEST_BODY = 1024 * 1024
_EXCERPT = 300

Status = Annotated[int, Field(ge=100, le=599)]


class Expect(Value):
    """What an answer has to be. Everything given has to hold."""

    status: Status | tuple[Status, ...] = 200
    json_: Any = Field(default=None, alias="json", description="a subset: other keys may be there too")
    contains: str | None = Field(default=None, description="text in the body")
    header: Mapping[str, str] = Field(default_factory=dict, description="name: text in its value")
    max_ms: Annotated[float, Field(gt=0)] | None = None


class Request(Value):
    """One request. `limit` is for the whole of it, the body included."""

    method: Annotated[str, Field(pattern=r"^[A-Za-z]+$"), AfterValidator(str.upper)] = "GET"
    headers: Mapping[str, str] = Field(default_factory=dict)
    json_: Any = Field(default=None, alias="json")
    body: str | None = None
    limit: Duration = 10.0
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _one_body(self) -> Request:
        if self.json_ is not None and self.body is not None:
            raise ValueError("give `json` or `body`, not both")
        return self


@dataclass(frozen=True)
class Response:
    """What came back, the body at most 1 MiB of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_ms: float

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class NoAnswer:
    """Nobody answered, or not in time."""

    reason: str


async def ask(client: httpx.AsyncClient, request: Request, url: str) -> Response | NoAnswer:
    """The answer to one request. Redirects are not followed: they are answers too."""
    import httpx

    started = perf_counter()
    body = bytearray()
    try:
        with anyio.fail_after(request.limit):
            async with client.stream(
                request.method, url, headers=dict(request.headers), json=request.json_, content=request.body
            ) as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) >= _LARGEST_BODY:
                        break
    except TimeoutError:
        return NoAnswer(f"no whole answer within {request.limit:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return NoAnswer(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    took_ms = (perf_counter() - started) * 1000
    return Response(response.status_code, response.headers, bytes(body[:_LARGEST_BODY]), took_ms)


def misses(expect: Expect, response: Response) -> tuple[str, ...]:
    """Everything that was expected of the answer and is not so."""
    found: list[str] = []
    wanted = expect.status if isinstance(expect.status, tuple) else (expect.status,)
    if response.status not in wanted:
        found.append(f"expected status {' or '.join(map(str, wanted))}, got {response.status}")
    if "json_" in expect.model_fields_set:
        found += _json_misses(expect.json_, response.text)
    if expect.contains is not None and expect.contains not in response.text:
        found.append(f"expected the body to contain {expect.contains!r}")
    for name, text in expect.header.items():
        got = response.headers.get(name)
        if got is None or text not in got:
            found.append(f"expected header {name} with {text!r}, got {'none' if got is None else repr(got)}")
    if expect.max_ms is not None and response.took_ms > expect.max_ms:
        found.append(f"expected an answer within {expect.max_ms:g} ms, it took {response.took_ms:.0f} ms")
    return tuple(found)


def differences(expected: Any, got: Any, at: str = "$") -> list[str]:
    """Where `got` lacks something of `expected`: objects may have more keys, everything else is equal."""
    if isinstance(expected, dict) and isinstance(got, dict):
        wanted, has = cast("dict[str, Any]", expected), cast("dict[str, Any]", got)
        lacking = [f"{at}.{key}: missing" for key in wanted if key not in has]
        shared = [d for key in wanted if key in has for d in differences(wanted[key], has[key], f"{at}.{key}")]
        return lacking + shared
    if isinstance(expected, list) and isinstance(got, list):
        items, found = cast("list[Any]", expected), cast("list[Any]", got)
        if len(items) != len(found):
            return [f"{at}: expected {len(items)} items, got {len(found)}"]
        pairs = enumerate(zip(items, found, strict=True))
        return [d for i, (one, other) in pairs for d in differences(one, other, f"{at}[{i}]")]
    # True == 1 in Python, not in JSON.
    if isinstance(expected, bool) is not isinstance(got, bool) or expected != got:
        return [f"{at}: expected {_short(expected)}, got {_short(got)}"]
    return []


def failure(
    request: Request, name: str, url: str, why: tuple[str, ...], response: Response | None
) -> tuple[FailedItem, Evidence | None]:
    """One failed request as an item, and what it answered as evidence."""
    item = FailedItem(id=name, where=f"{request.method} {url}", message="; ".join(why))
    if response is None:
        return item, None
    return item, Evidence(
        kind="response",
        ref=f"{request.method} {url}",
        value=f"status {response.status}, {response.took_ms:.0f} ms, body: {excerpt(response)}",
    )


def excerpt(response: Response) -> str:
    """The beginning of the body on one line. Redacted before it is cut, or half a secret would pass."""
    line = " ".join(redact(response.text[: 16 * _EXCERPT]).split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT] + "…"


def _json_misses(expected: Any, text: str) -> list[str]:
    try:
        got = json.loads(text)
    except ValueError:
        return ["expected a JSON body, got something else"]
    return differences(expected, got)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"
