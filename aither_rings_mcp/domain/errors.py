"""Every refusal and failure that a door can show, each with a code, an exit code and a next step."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `ring-ctl`."""

    DONE = 0
    INTERNAL = 1
    BAD_REQUEST = 2
    BUSY = 3
    BLOCKED = 4
    ENGINE = 5
    STATE = 6
    BAD_RELEASE = 7
    STUCK = 8


class RingError(Exception):
    """A refusal or failure that teaches: what is wrong, and what to do next.

    `details` are small JSON values an agent can act on (the busy operation's id, the closest known name).
    """

    code = "internal"
    exit_code = Exit.INTERNAL

    def __init__(self, message: str, next_step: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.details: dict[str, object] = details

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message, "next": self.next_step, **self.details}


class InternalError(RingError):
    pass


class UnknownRing(RingError):
    code, exit_code = "unknown_ring", Exit.BAD_REQUEST


class InvalidTransition(RingError):
    code, exit_code = "invalid_transition", Exit.BAD_REQUEST


class InvalidArguments(RingError):
    code, exit_code = "invalid_arguments", Exit.BAD_REQUEST


class ConfigInvalid(RingError):
    code, exit_code = "config_invalid", Exit.BAD_REQUEST


class OperationNotFound(RingError):
    code, exit_code = "operation_not_found", Exit.BAD_REQUEST


class RingBusy(RingError):
    code, exit_code = "ring_busy", Exit.BUSY


class RingFrozen(RingError):
    code, exit_code = "ring_frozen", Exit.BLOCKED


class Quarantined(RingError):
    code, exit_code = "quarantined", Exit.BLOCKED


class PlanExpired(RingError):
    code, exit_code = "plan_expired", Exit.BLOCKED


class PlanStale(RingError):
    code, exit_code = "plan_stale", Exit.BLOCKED


class ReadOnly(RingError):
    code, exit_code = "read_only", Exit.BLOCKED


class Forbidden(RingError):
    code, exit_code = "forbidden", Exit.BLOCKED


class NoRollbackTarget(RingError):
    code, exit_code = "no_rollback_target", Exit.BLOCKED


class DockerUnavailable(RingError):
    code, exit_code = "docker_unavailable", Exit.ENGINE


class EngineFailure(RingError):
    """The engine answered, and said no: a failed build, a taken port, a full disk."""

    code, exit_code = "internal", Exit.ENGINE


class ImageMissing(RingError):
    code, exit_code = "image_missing", Exit.ENGINE


class StateUnreadable(RingError):
    code, exit_code = "state_unreadable", Exit.STATE


class RingStuck(RingError):
    code, exit_code = "ring_stuck", Exit.STUCK


_EVERY = (
    InternalError, UnknownRing, InvalidTransition, InvalidArguments, ConfigInvalid, OperationNotFound, RingBusy,
    RingFrozen, Quarantined, PlanExpired, PlanStale, ReadOnly, Forbidden, NoRollbackTarget, DockerUnavailable,
    EngineFailure, ImageMissing, StateUnreadable, RingStuck,
)  # fmt: skip
_BY_NAME = {kind.__name__: kind for kind in _EVERY}


def in_one_line(error: Mapping[str, object]) -> str:
    """What `as_dict` of an error says to who reads no JSON: what is wrong, and what to do next."""
    what, then = (" ".join(str(error[name]).split()).rstrip(".") for name in ("message", "next"))
    return f"{what}. Next: {then}."


def to_record(error: RingError) -> dict[str, object]:
    """The error as JSON values, so that another process can raise the same one."""
    return {"type": type(error).__name__, **error.as_dict()}


def from_record(record: Mapping[str, object]) -> RingError:
    """The error that `to_record` described."""
    kind = _BY_NAME.get(str(record.get("type")), InternalError)
    details = {k: v for k, v in record.items() if k not in {"type", "code", "message", "next"}}
    return kind(str(record.get("message")), str(record.get("next")), **details)
