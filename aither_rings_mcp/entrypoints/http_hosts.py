"""Which names this server answers to, which pages may ask it, and where it may listen."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments
from aither_rings_mcp.entrypoints.problems import Problem, problem

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: RFC 3986: an IPv6 literal in brackets, or a name; then perhaps a port. No user, no path.
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>\d{1,5}))?", re.ASCII)
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#\s]+)")
T = TypeVar("T")
_PORT_OF = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Authority:
    """A host, in lower case, and its port as it was written."""

    host: str
    port: int | None


def authority(text: str) -> Authority | None:
    """What `Host` or an origin names; None for what names no host."""
    match = _AUTHORITY.fullmatch(text.strip().lower())
    if match is None or (match["port"] and int(match["port"]) > 65535):
        return None
    host = match["host"]
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    return Authority(host, int(match["port"]) if match["port"] else None)


class Hosts:
    """The hosts and origins that this server answers to: the loopback's names at its own port, and those given.

    A host given without a port counts with any. A page of another origin, which a browser may have been lured to, is
    refused even here: it would use the server with its visitor's network.
    """

    def __init__(self, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self._given = frozenset(_understood(host, authority(host), "host") for host in hosts)
        self._origins = frozenset(_understood(origin, _origin(origin), "origin") for origin in origins)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that were given, as browsers write them."""
        return tuple(
            f"{scheme}://{named.host}" + (f":{named.port}" if named.port else "")
            for scheme, named in sorted(self._origins, key=str)
        )

    @property
    def public(self) -> bool:
        """Whether a host was given that is not this machine's own: people come from elsewhere then."""
        return any(one.host not in _LOOPBACK for one in self._given)

    def refusal(self, hosts: Sequence[str], origins: Sequence[str], port: int | None) -> Problem | None:
        """What is wrong with the `Host` and `Origin` headers of a request to the socket at `port`, if anything is."""
        host = authority(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._answers(host, port, "http"):
            return problem(
                Forbidden(
                    "this server does not answer to the host that was asked for",
                    "Use the address that whoever runs the server gives; they allow a name with --allow-host.",
                ),
                status=HTTPStatus.MISDIRECTED_REQUEST,
                kind="unknown_host",
            )
        if len(origins) > 1 or any(not self._welcomes(origin, port) for origin in origins):
            return problem(
                Forbidden(
                    "pages of this origin may not use this server",
                    "Use the server's own pages, or a program; whoever runs it allows an origin with --allow-origin.",
                ),
                kind="foreign_origin",
            )
        return None

    def _answers(self, asked: Authority, port: int | None, scheme: str) -> bool:
        if asked in self._given or Authority(asked.host, None) in self._given:
            return True
        return asked.host in _LOOPBACK and (asked.port or _PORT_OF[scheme]) == port

    def _welcomes(self, text: str, port: int | None) -> bool:
        origin = _origin(text)
        if origin is None:
            return False
        return origin in self._origins or self._answers(origin[1], port, origin[0])


def _origin(text: str) -> tuple[str, Authority] | None:
    match = _ORIGIN.fullmatch(text.strip().lower())
    named = authority(match["authority"]) if match else None
    if match is None or named is None:
        return None
    default = named.port == _PORT_OF[match["scheme"]]
    return match["scheme"], Authority(named.host, None) if default else named


def _understood(text: str, parsed: T | None, what: str) -> T:
    if parsed is None:
        example = "rings.example.org or [fd00::5]:8000" if what == "host" else "https://rings.example.org"
        raise InvalidArguments(f"{text[:100]!r} is no {what}", f"Write one like {example}.")
    return parsed


def is_public(host: str) -> bool:
    """Whether others than this machine can reach a server that listens there. A name counts by what it resolves to."""
    try:
        return not ip_address(host.strip("[]")).is_loopback
    except ValueError:
        pass
    if not host:
        return True  # every address there is
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise InvalidArguments(
            f"{host[:100]!r} is no address of this machine: it resolves to nothing", "Listen at 127.0.0.1, or at an IP."
        ) from error
    return any(not ip_address(one.partition("%")[0]).is_loopback for one in found)


def check_bind(host: str, tokens_exist: bool) -> None:
    """Returns where a server may listen at `host`; without tokens that is nowhere but on this machine's loopback."""
    if is_public(host) and not tokens_exist:
        raise Forbidden(
            f"listening at {host or 'every address'} would let in whoever can reach this machine: no token exists",
            "Make one first, `ring-ctl token create NAME --role operator`, or listen at 127.0.0.1.",
        )
