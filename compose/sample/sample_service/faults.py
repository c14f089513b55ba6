"""Ways to be a bad release, so that the rings have something to catch.

They stand between the app and HTTP. The app and its tests know nothing of them, as with a fault that nobody planned.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

from .app import Answer, App, Identity

CRASH_AFTER_S = 1.0
SICK: Answer = (503, {"status": "unhealthy"})


class Healthy:
    """No fault: the app answers. `ok` and `fails-tests` (whose fault is in the code itself) run like this."""

    def __init__(self, app: App):
        self.app = app
        self.started = time.monotonic()

    @property
    def identity(self) -> Identity:
        return self.app.identity

    @property
    def in_prod(self) -> bool:
        return self.identity.ring == "prod"

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.started

    def answer(self, path: str, query: str = "") -> Answer:
        return self.instead(path) or self.app.answer(path, query)

    def instead(self, path: str) -> Answer | None:
        """What this fault answers in the app's place, if anything."""
        return None


class NeverHealthy(Healthy):
    def instead(self, path: str) -> Answer | None:
        return SICK if path == "/health" else None


class CrashLoop(Healthy):
    def __init__(self, app: App):
        super().__init__(app)
        timer = threading.Timer(CRASH_AFTER_S, self._crash)
        timer.daemon = True
        timer.start()

    def _crash(self) -> None:
        print("fatal: cannot go on", file=sys.stderr, flush=True)
        os._exit(1)    # sys.exit would end this thread only


class ProdOnly(Healthy):
    def instead(self, path: str) -> Answer | None:
        return SICK if self.in_prod and path in ("/health", "/ready") else None


class Latent(Healthy):
    def __init__(self, app: App, seconds: float):
        super().__init__(app)
        self.seconds = seconds

    def instead(self, path: str) -> Answer | None:
        sick = self.in_prod and path == "/health" and self.age_s >= self.seconds
        return SICK if sick else None


class Errors(Healthy):
    """Spread evenly instead of by chance: 20 percent is every fifth request."""

    def __init__(self, app: App, percent: float):
        super().__init__(app)
        self.percent = percent
        self._owed = 0.0
        self._lock = threading.Lock()

    def instead(self, path: str) -> Answer | None:
        if self.in_prod and path != "/health" and self._next_fails():
            return 500, {"error": "internal error"}
        return None

    def _next_fails(self) -> bool:
        with self._lock:
            self._owed += self.percent
            if self._owed < 100:
                return False
            self._owed -= 100
            return True


class SlowStart(Healthy):
    def __init__(self, app: App, seconds: float):
        super().__init__(app)
        self.seconds = seconds

    def instead(self, path: str) -> Answer | None:
        return SICK if path == "/health" and self.age_s < self.seconds else None


PLAIN = {
    "ok": Healthy,
    "never-healthy": NeverHealthy,
    "crash-loop": CrashLoop,
    "prod-only": ProdOnly,
    "fails-tests": Healthy,
}
MEASURED = {"latent": (Latent, "SECONDS"), "errors": (Errors, "PERCENT"), "slow-start": (SlowStart, "SECONDS")}

WORDS = ", ".join([*PLAIN, *(f"{name}:{unit}" for name, (_, unit) in MEASURED.items())])


def parse(word: str) -> Callable[[App], Healthy]:
    """`prod-only`, `latent:45` ... -> what puts that fault around an app; ValueError lists the words there are."""
    name, colon, value = word.partition(":")
    if name in PLAIN and not colon:
        return PLAIN[name]
    if name in MEASURED:
        kind, unit = MEASURED[name]
        amount = _amount(word, value, most=100 if unit == "PERCENT" else 3600)
        return lambda app: kind(app, amount)
    raise ValueError(f"unknown fault {word!r}; there are: {WORDS}")


def _amount(word: str, value: str, most: int) -> float:
    try:
        amount = float(value)
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= most:
        raise ValueError(f"fault {word!r} needs a number from 0 to {most} after a colon; there are: {WORDS}")
    return amount
