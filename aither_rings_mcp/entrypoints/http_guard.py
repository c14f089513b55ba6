"""What stands before every route: host, origin, identity, pace and size, for MCP, SSE, REST and the dashboard alike.

Plain ASGI: answers stream through it untouched.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_network
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.middleware.cors import CORSMiddleware

from aither_rings_mcp.domain.access import Identity, Role
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, RingError
from aither_rings_mcp.domain.tokens import Token
from aither_rings_mcp.entrypoints.asking import IDENTITY
from aither_rings_mcp.entrypoints.http_hosts import Hosts
from aither_rings_mcp.entrypoints.http_limits import BoundedBody, Buckets, Pace, retry_after
from aither_rings_mcp.entrypoints.http_streams import WhileWelcome
from aither_rings_mcp.entrypoints.problems import Problem, problem
from aither_rings_mcp.ports import Clock, Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

#: What a proxy adds: whoever is behind one is not at this machine, however local the connection is.
_PROXIED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"cf-connecting-ip", b"via"})
_PACE = Pace(per_s=50, burst=200, patience=5.0)
#: Wrong tokens, for each address: a mistyped one is no attack.
_WRONG_TOKENS = Pace(per_s=1 / 6, burst=10)


@dataclass(frozen=True)
class Rules:
    """What a server asks of its clients. `public`: others than this machine can reach it, so a token is always needed.

    Without any token there is `local`: what whoever is on this machine may do, at most an operator's part. `open_paths`
    need no token; whoever shows none there may look only.
    """

    public: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    local: Role = Role.OPERATOR
    open_paths: Collection[str] = field(default_factory=lambda: frozenset({"/healthz", "/readyz"}))
    pace: Pace = _PACE
    wrong_tokens: Pace = _WRONG_TOKENS
    longest_body: int = 1 << 20


class Guard:
    """An ASGI app that lets through to `app` whoever may come, with their identity in `scope["state"]` and `IDENTITY`.

    What they may do there is for the use to say (`Grant`).
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, rules: Rules, clock: Clock) -> None:
        # what the SDK hands out between two rounds of a call is then good for this token alone
        self._app = AuthContextMiddleware(app)
        self._tokens = tokens
        self._rules = rules
        self._clock = clock
        self._hosts = Hosts(rules.hosts, rules.origins)
        self._welcomed = _cross_origin(self._let_in, self._hosts.origins)
        self._asked = Buckets(rules.pace, clock.monotonic)
        self._wrong = Buckets(rules.wrong_tokens, clock.monotonic)
        #: Once true it stays so: a file of tokens that vanishes must not open the door.
        self._needed = rules.public or self._hosts.public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            # no route speaks WebSocket, and one that did would go round the limits here
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Host and origin come first: whom we are not here for learns nothing about tokens."""
        port = (scope.get("server") or (None, None))[1]
        if foreign := self._hosts.refusal(_header(scope, b"host"), _header(scope, b"origin"), port):
            await _answer(foreign, send)
        else:
            await self._welcomed(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            identity = self._admitted(scope)
            await self._paced(identity.token or _peer(scope))
            self._checked_length(scope)
        except _Refused as refused:
            await _answer(refused.problem, send)
            return
        told = WhileWelcome(send, lambda: self._still_valid(identity))
        body = BoundedBody(receive, told.send, self._rules.longest_body, lambda: _answer(self._too_long(), send))
        within = IDENTITY.set(identity)
        try:
            await self._app(_introduced(scope, identity), body.receive, body.send)
        except Exception:
            # an app that was told its client went away may say so
            if not body.exceeded:
                raise
        finally:
            IDENTITY.reset(within)

    def _admitted(self, scope: Scope) -> Identity:
        """Whose request it is."""
        shown = _header(scope, b"authorization")
        bearers = [value[7:].strip() for value in shown if value[:7].lower() == "bearer "]
        is_open = scope["path"] in self._rules.open_paths
        if is_open and not bearers:
            return Identity(name="anonymous", kind="agent", role=Role.VIEWER)
        try:
            self._needed = self._needed or bool(self._tokens.all())
            found = self._tokens.match(bearers[0]) if len(bearers) == len(shown) == 1 else None
        except RingError as error:
            log.error("%s: %s", error.code, error.message)  # noqa: TRY400 - its trace says nothing more
            raise _Refused(problem(_nobody_is_let_in(error))) from error
        if found and found.state(self._clock.now()) == "valid":
            return found.identity()
        if bearers:
            raise _Refused(self._wrong_token(found, scope))
        if self._needed or any(name in _PROXIED for name, _ in scope["headers"]):
            raise _Refused(_unauthorized("this server lets in whoever has a token, and none was sent"))
        return Identity(name="anonymous", kind="agent", role=self._rules.local.unproven)

    def _still_valid(self, identity: Identity) -> bool:
        """Whether a token that was let in would be so now."""
        if identity.token is None:
            return True
        try:
            found = next((token for token in self._tokens.all() if token.id == identity.token), None)
        except RingError:
            return False
        return found is not None and found.state(self._clock.now()) == "valid"

    def _wrong_token(self, found: Token | None, scope: Scope) -> Problem:
        wait, go_on = self._wrong.take(_peer(scope))
        if not go_on:
            return _too_fast(wait, "too many wrong tokens came from this address", "Send the right token, or wait.")
        state = found.state(self._clock.now()) if found else "unknown here"
        return _unauthorized(f"the token is {state}", error="invalid_token")

    async def _paced(self, key: str) -> None:
        wait, go_on = self._asked.take(key)
        if not go_on:
            raise _Refused(_too_fast(wait, "requests come faster than this server takes them", "Wait, then repeat."))
        if wait:
            await self._clock.sleep(wait)

    def _checked_length(self, scope: Scope) -> None:
        """Refuses a body that says itself that it is too long, before any of it is read."""
        most = str(self._rules.longest_body)
        for said in _header(scope, b"content-length"):
            # compared as written: Python refuses to read thousands of digits
            length = said.lstrip("0")
            if said.isdecimal() and (len(length), length) <= (len(most), most):
                continue
            raise _Refused(self._too_long())

    def _too_long(self) -> Problem:
        limit = self._rules.longest_body
        return problem(
            InvalidArguments(f"the request's body is longer than {limit} bytes", "Send less.", limit=limit),
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            kind="body_too_long",
            headers={"connection": "close"},
        )


def _cross_origin(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app` for pages of these origins too: browsers ask beforehand, and show pages only what they are told to."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["mcp-session-id", "location", "retry-after", "www-authenticate"],
    )


class _Refused(Exception):
    def __init__(self, why: Problem) -> None:
        super().__init__(why.status)
        self.problem = why


def _nobody_is_let_in(error: RingError) -> RingError:
    """The error without the server's paths: whoever reads it has shown nothing yet."""
    return type(error)(
        "nobody can be let in: the file of tokens cannot be read",
        "Whoever runs the server finds the reason in its log, or with ring-ctl token list.",
    )


def _unauthorized(said: str, *, error: str | None = None) -> Problem:
    """401 with the challenge of RFC 6750, which names no error where no token was sent."""
    parts = ['realm="aither-rings"']
    if error:
        parts += [f'error="{error}"', f'error_description="{said}"']
    return problem(
        Forbidden(
            said,
            "Send one as a bearer token, in the header Authorization. On the server `ring-ctl token create` makes one.",
        ),
        status=HTTPStatus.UNAUTHORIZED,
        kind="unauthorized",
        headers={"www-authenticate": f"Bearer {', '.join(parts)}"},
    )


def _too_fast(wait: float, said: str, then: str) -> Problem:
    after = retry_after(wait)
    return problem(
        Forbidden(said, then, retry_after_s=int(after)),
        status=HTTPStatus.TOO_MANY_REQUESTS,
        kind="too_many_requests",
        headers={"retry-after": after},
    )


def _introduced(scope: Scope, identity: Identity) -> Scope:
    """The scope with who asks: in its state, and as the user who alone may go on with a session of the SDK."""
    introduced = {**scope, "state": {**scope.get("state", {}), "identity": identity}}
    if identity.token:
        shown = AccessToken(token="", client_id=identity.token, scopes=[identity.role.value])
        introduced["user"] = AuthenticatedUser(shown)
    return introduced


def _header(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]


def _peer(scope: Scope) -> str:
    """The address at the other end; of IPv6 the network, as everybody there has addresses without number."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        return str(ip_network((int(IPv6Address(host.partition("%")[0])), 64), strict=False))
    except ValueError:
        return host


async def _answer(refusal: Problem, send: Send) -> None:
    body = refusal.body
    headers = {**refusal.headers, "content-length": str(len(body))}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
