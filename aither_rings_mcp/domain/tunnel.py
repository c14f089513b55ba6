"""Where people find a ring's services: on the edge's ports, and through a tunnel under names of the world.

Both are the same whatever runs: the edge stands between them and the slots, so no promotion changes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.domain.settings import Settings


class TunnelRule(Value):
    """A rule of cloudflared's `ingress`: the first that fits a request decides. Without a host name it fits all."""

    hostname: str | None = None
    path: str | None = None
    service: str


#: cloudflared refuses a config whose last rule does not fit everything.
NOWHERE = TunnelRule(service="http_status:404")


def front_url(settings: Settings, port: int) -> str:
    """The URL of one of the edge's front ports, without a path."""
    host = settings.edge.host if settings.edge else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def tunnel_config(settings: Settings) -> tuple[TunnelRule, ...]:
    """The `ingress` that shows every host name of rings.yaml, and nothing else.

    In the order of rings.yaml, but names before wildcards and narrow wildcards before wide ones: a wildcard stands
    for names of any depth, so what comes after it would never be asked.
    """
    rules = [
        TunnelRule(hostname=hostname, service=front_url(settings, ring.fronts[service]))
        for ring in settings.rings.values()
        for service, hostnames in ring.hostnames.items()
        for hostname in hostnames
    ]
    return (*sorted(rules, key=_width), NOWHERE)


def _width(rule: TunnelRule) -> tuple[bool, int]:
    hostname = rule.hostname or "*"
    wild = hostname.startswith("*")
    return wild, -hostname.count(".") if wild else 0


def differences(settings: Settings, found: Sequence[TunnelRule]) -> tuple[str, ...]:
    """How an existing `ingress` routes otherwise than rings.yaml says; nothing when it does the same.

    Rules for other names that go to other places are their owner's business.
    """
    return tuple(redact(said) for said in _differences(settings, found))


def _differences(settings: Settings, found: Sequence[TunnelRule]) -> Iterator[str]:
    wanted = {str(rule.hostname): rule.service for rule in tunnel_config(settings)[:-1]}
    for hostname, service in wanted.items():
        rule = next((rule for rule in found if _fits(rule, hostname)), None)
        if rule is None or not rule.hostname:
            yield f"{hostname} has no rule; it should go to {service}"
        elif rule.path:
            part = f"only where its path fits {rule.path}"
            yield f"{hostname} goes to {rule.service} {part}; all of it should go to {service}"
        elif not _same(rule.service, service):
            by = "" if rule.hostname.lower() == hostname else f" by the rule for {rule.hostname} before it"
            yield f"{hostname} goes to {rule.service}{by}; it should go to {service}"
    fronts = [front_url(settings, port) for ring in settings.rings.values() for port in ring.fronts.values()]
    for rule in found[:-1]:
        if (rule.hostname or "*").lower() not in wanted and any(_same(rule.service, front) for front in fronts):
            yield f"{rule.hostname or 'everything else'} goes to {rule.service}, but rings.yaml does not name it"
    if not found or found[-1].path or found[-1].hostname not in (None, "", "*"):
        yield f"the last rule has to be `service: {NOWHERE.service}`, without a host name"
    elif found[-1].service != NOWHERE.service:
        yield f"everything else goes to {found[-1].service}; it should go to {NOWHERE.service}"


def _fits(rule: TunnelRule, hostname: str) -> bool:
    """As cloudflared compares them; a wildcard asked about fits only what is as wide."""
    pattern = (rule.hostname or "*").lower()
    return pattern in ("*", hostname) or (pattern.startswith("*.") and hostname.endswith(pattern[1:]))


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
