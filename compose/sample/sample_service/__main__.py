"""Run one service: `AITHER_SERVICE=veil python -m sample_service`."""

import signal
import sys


def leave(signum, frame):
    raise SystemExit(0)


# Before the imports: the first process of a container has no default handlers, so an early SIGTERM would be lost
# and the stop would last until Docker's kill.
signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGINT, leave)

from . import app, faults, release, server  # noqa: E402
from .ports import AitherPorts  # noqa: E402


def main() -> None:
    service = app.from_environment()
    port = AitherPorts.get_port(service.identity.service)
    running = server.Server(("", port), faults.parse(release.FAULT)(service))
    print(f"{service.identity.service} listens on {port}", file=sys.stderr, flush=True)
    try:
        running.serve_forever()
    finally:
        running.finish()


main()
