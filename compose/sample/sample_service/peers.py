"""Ask every other service of the ring who it is."""

import json
import os
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from .ports import AitherPorts
from .release import changeable

LIMIT_S = 1.0


def ask(url: str) -> dict:
    """What `url` says about itself; a peer that cannot be asked is an answer too, with the reason in `error`."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname, parts.port, timeout=LIMIT_S)
    try:
        connection.request("GET", parts.path or "/")
        reply = connection.getresponse()
        body = json.loads(reply.read())
        return {"url": url, "status": reply.status, "ring": body.get("ring"), "release": body.get("release")}
    except (OSError, HTTPException, ValueError) as error:
        return {"url": url, "error": type(error).__name__}
    finally:
        connection.close()


@changeable
def count_answered(answers: list[dict]) -> int:
    """How many peers answered well: silence and errors do not count."""
    return sum(1 for answer in answers if answer.get("status") == 200)


def report(answers: dict[str, dict]) -> dict:
    answered = count_answered(list(answers.values()))
    return {
        "status": "ok" if answered == len(answers) else "degraded",
        "asked": len(answers),
        "answered": answered,
        "peers": answers,
    }


def ask_all() -> dict:
    from concurrent.futures import ThreadPoolExecutor

    me = os.environ.get("AITHER_SERVICE", "")
    names = [name for name in AitherPorts.SERVICES if name.lower() != me.lower()]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = pool.map(ask, [AitherPorts.get_service_url(name) for name in names])
        return report(dict(zip(names, answers, strict=True)))
