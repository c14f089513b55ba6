"""Refusals and failures over HTTP: a status and a problem document (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.redact import redact, redacted

MEDIA_TYPE = "application/problem+json"

#: By the error's code. What the caller can mend by another request is a 4xx, also where waiting mends it.
STATUS: Mapping[str, HTTPStatus] = {
    "unknown_ring": HTTPStatus.NOT_FOUND,
    "operation_not_found": HTTPStatus.NOT_FOUND,
    # 422, not 400: the request could be read, and what it asks for makes no sense. A body that is no JSON is a 400,
    # which whoever reads it says with `status`.
    "invalid_arguments": HTTPStatus.UNPROCESSABLE_ENTITY,
    # 409: both rings are there and nothing is misspelt; as the rings stand, this way is not open.
    "invalid_transition": HTTPStatus.CONFLICT,
    "ring_busy": HTTPStatus.CONFLICT,
    "ring_stuck": HTTPStatus.CONFLICT,
    "quarantined": HTTPStatus.CONFLICT,
    "plan_expired": HTTPStatus.CONFLICT,
    "plan_stale": HTTPStatus.CONFLICT,
    "image_missing": HTTPStatus.CONFLICT,
    "no_rollback_target": HTTPStatus.CONFLICT,
    "ring_frozen": HTTPStatus.LOCKED,
    "read_only": HTTPStatus.FORBIDDEN,
    "forbidden": HTTPStatus.FORBIDDEN,
    "docker_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "state_unreadable": HTTPStatus.INTERNAL_SERVER_ERROR,
    "config_invalid": HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}


@dataclass(frozen=True)
class Problem:
    """One refused request, ready to be sent: `body` with `headers`, its media type among them."""

    status: int
    document: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def body(self) -> bytes:
        return json.dumps(self.document, default=str).encode()


def problem(
    error: RingError,
    *,
    status: HTTPStatus | None = None,
    kind: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Problem:
    """The error as a problem document: `type`, `title`, `status`, `detail`, `code`, `next`, and the error's details.

    `status` and `kind` are for what HTTP tells apart more finely than the error's code.
    """
    status = status or STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    kind = kind or error.code
    document: dict[str, object] = {
        **redacted(error.details),
        "type": f"urn:aither-rings:problem:{kind}",
        "title": kind.replace("_", " ").capitalize(),
        "status": status.value,
        "detail": redact(error.message),
        "code": error.code,
        "next": redact(error.next_step),
    }
    told = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **(headers or {})}
    return Problem(status.value, document, told)
