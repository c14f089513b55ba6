"""The service's answers, without HTTP: a path in, a status and a body out."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from . import backbone, peers, release

SLOWEST_S = 60

Answer = tuple[int, dict]


@dataclass(frozen=True)
class Identity:
    """Who this copy is: told by its environment, and by its image for service and commit."""

    service: str = "genesis"
    ring: str = "local"
    slot: str = ""
    release: str = ""
    commit: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Identity":
        given = {name: environment.get(f"AITHER_{name.upper()}") for name in cls.__dataclass_fields__}
        return cls(**{name: value for name, value in given.items() if value})


class App:
    def __init__(self, identity: Identity, checks: Mapping[str, Callable[[], None]] = backbone.CHECKS):
        self.identity = identity
        self._checks = checks
        self._routes = {
            "/": self.home,
            "/health": self.health,
            "/ready": self.ready,
            "/peers": self.peers,
            "/slow": self.slow,
            "/ws": self.no_websocket,
        }

    def answer(self, path: str, query: str = "") -> Answer:
        route = self._routes.get(path)
        return route(query) if route else (404, {"error": "not found", "paths": list(self._routes)})

    def home(self, query: str) -> Answer:
        return 200, vars(self.identity) | {"note": release.NOTE}

    def health(self, query: str) -> Answer:
        """Am I alive? Says nothing about the backbone: restarting me would not mend that."""
        return 200, {"status": "ok", "service": self.identity.service}

    def ready(self, query: str) -> Answer:
        """Can I do my work now? Asks the backbone."""
        outcomes = backbone.check(self._checks)
        well = all(outcome == "ok" for outcome in outcomes.values())
        return (200 if well else 503), {"status": "ok" if well else "unready", "checks": outcomes}

    def peers(self, query: str) -> Answer:
        return 200, peers.ask_all()

    def slow(self, query: str) -> Answer:
        """Answers after `s` seconds: a request that is under way while the ring changes over."""
        try:
            seconds = float(parse_qs(query)["s"][0])
        except (KeyError, ValueError):
            seconds = -1
        if not 0 <= seconds <= SLOWEST_S:
            return 400, {"error": f"ask for /slow?s=SECONDS, from 0 to {SLOWEST_S}"}
        time.sleep(seconds)
        return 200, vars(self.identity) | {"took_s": seconds}

    def no_websocket(self, query: str) -> Answer:
        return 400, {"error": "this is a WebSocket: ask with `Upgrade: websocket`"}


def from_environment() -> App:
    return App(Identity.from_environment(os.environ))
