"""The edge's configuration: HAProxy 2.6 or newer, made of rings.yaml and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from aither_rings_mcp.domain.edge_map import MAP_FILE
from aither_rings_mcp.domain.naming import digest
from aither_rings_mcp.domain.settings import Ring, Settings
from aither_rings_mcp.domain.slots import Slot

#: The edge's name on the network through which its ports are published, and on no other.
FRONT = "edge-front"
#: Answers 200 on the edge's own loopback: for its healthcheck.
HEALTH_PORT = 8404
_DESCRIPTION = "  description "
_PROBLEM = "application/problem+json"
_TITLES = {
    400: "Bad Request",
    408: "Request Timeout",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_GLOBAL = """\
global
  log stdout format raw local0 warning
  maxconn 4096
  stats socket /etc/edge/run/admin.sock mode 600 level admin expose-fd listeners
  # what was open before a reload may go on for a day, as everything that is open
  hard-stop-after 24h
  # only there during a reload: where servers are, until the DNS has answered
  server-state-file /etc/edge/run/servers.state

# A container that starts anew may have another address, and its old one may be another's: whoever is not there by
# name is not asked. Silence is something else: the engine's DNS may be busy, or the engine away with all well.
resolvers docker
  nameserver engine 127.0.0.11:53
  resolve_retries 2
  timeout resolve 1s
  timeout retry 500ms
  hold valid 1s
  hold obsolete 0s
  hold nx 1s
  hold refused 10s
  hold timeout 10s
  hold other 10s

defaults
  mode http
  log global
  load-server-state-from-file global
  maxconn 4096
  # One connection per request: none that the other side is just closing is ever used again.
  option http-server-close
  option forwardfor
  option dontlognull
  # a reload closes a client's connection after an answer, never under its next request
  option idle-close-on-response
  timeout connect 2s
  timeout queue 5s
  timeout http-request 10s
  # cloudflared gives up an idle connection after 90 s: it has to be the first
  timeout http-keep-alive 100s
  timeout client 10m
  timeout server 10m
  timeout client-fin 30s
  timeout server-fin 30s
  # WebSockets
  timeout tunnel 24h
  retries 3
  retry-on conn-failure empty-response
"""
_API = """\
backend controller
  # an event stream is silent for as long as nothing happens
  timeout server 24h
  server controller unix@/etc/edge/run/controller.sock
  http-error status 503 content-type {problem} string '{text}'
"""


def edge_config(settings: Settings) -> str:
    """The whole configuration. Its `description` is a digest of the rest: what a running edge was started with."""
    fronted = {name: ring for name, ring in settings.rings.items() if ring.fronts}
    parts = [_GLOBAL + _errors()]
    parts.append(f"frontend health\n  bind 127.0.0.1:{HEALTH_PORT}\n  http-request return status 200\n")
    public = sorted({host.lower() for ring in fronted.values() for hosts in ring.hostnames.values() for host in hosts})
    for name, ring in fronted.items():
        api_on = settings.edge.api_on if settings.edge else None
        parts += [_frontend(name, ring, service, public, service == api_on) for service in ring.fronts]
    for name, ring in fronted.items():
        parts += [
            _backend(settings, name, slot, service, project)
            for slot, project in ring.slots.items()
            for service in ring.fronts
        ]
    parts.append(_controller())
    text = "\n".join(parts)
    return text.replace("global\n", f"global\n{_DESCRIPTION}edge-{digest(text)[:12]}\n", 1)


def description(config: str) -> str:
    """What tells a configuration from every other; a running edge tells it of its own."""
    return next(line.removeprefix(_DESCRIPTION) for line in config.splitlines() if line.startswith(_DESCRIPTION))


def backend(ring: str, slot: Slot, service: str) -> str:
    """The name by which the edge counts what a service in a slot answers."""
    return f"{ring}-{slot}-{service}"


def container(project: str, service: str) -> str:
    """The name that Compose gives the one container of a service."""
    return f"{project}-{service}-1"


def _frontend(name: str, ring: Ring, service: str, public: list[str], api: bool) -> str:
    return "\n".join(_frontend_lines(name, ring, service, public, api)) + "\n"


def _frontend_lines(name: str, ring: Ring, service: str, public: list[str], api: bool) -> Iterator[str]:
    yield f"frontend {name}-{service}"
    yield f"  bind {FRONT}:{ring.fronts[service]}"
    yield "  # Cloudflare marks all that it brings: the world neither chooses a slot nor reaches the controller."
    yield "  acl public req.hdr(cf-ray) -m found"
    for host in public:
        how = f"-m end {host[1:]}" if host.startswith("*.") else f"-m str {host}"
        yield f"  acl public req.hdr(host),field(1,:),rtrim(.),lower {how}"
    if api:
        yield "  acl api path /rings"
        yield "  acl api path_beg /rings/"
    yield "  acl again method GET HEAD OPTIONS PUT DELETE"
    yield "  acl preview req.hdr(x-ring-slot) -m found"
    yield "  http-request disable-l7-retry unless again"
    yield f"  http-request set-var(txn.route) str({name}),map({MAP_FILE},{Slot.BLUE})"
    yield f"  http-request set-var(txn.route) str({name}/{service}),map({MAP_FILE})"
    yield "  http-request set-var(txn.slot) var(txn.route),field(1,:)"
    if ring.green is not None:
        yield "  http-request set-var(txn.share) var(txn.route),field(3,:)"
        yield "  http-request set-var(txn.slot) var(txn.route),field(2,:) if { rand(10000),sub(txn.share) lt 0 }"
    yield "  http-request set-var(txn.slot) req.hdr(x-ring-slot) if preview !public"
    there = " ".join(ring.slots)
    yield (
        f"  http-request return status 404 content-type {_PROBLEM} string "
        f"'{_problem(404, 'Not Found', f'{name} has no such slot')}' "
        f"if !{{ var(txn.slot) -m str {there} }}" + (" !api" if api else "")
    )
    if api:
        yield "  use_backend controller if api !public"
    yield f"  use_backend {name}-%[var(txn.slot)]-{service}"


def _backend(settings: Settings, name: str, slot: Slot, service: str, project: str) -> str:
    port = settings.services[service].probe.port or settings.rings[name].fronts[service]
    at = f"{container(project, service)}:{port}"
    return (
        f"backend {backend(name, slot, service)}\n"
        f"  server {service} {at} resolvers docker resolve-prefer ipv4 init-addr last,none\n"
    )


def _controller() -> str:
    detail = "The controller is not there: start it with ring-ctl serve"
    return _API.format(problem=_PROBLEM, text=_problem(503, _TITLES[503], detail))


def _errors() -> str:
    """Short, and JSON as the rest."""
    return "".join(
        f"  http-error status {status} content-type {_PROBLEM} string '{_problem(status, title)}'\n"
        for status, title in _TITLES.items()
    )


def _problem(status: int, title: str, detail: str | None = None) -> str:
    """A problem document (RFC 9457)."""
    said = f',"detail":"{detail}"' if detail else ""
    return f'{{"type":"about:blank","title":"{title}","status":{status}{said}}}'
