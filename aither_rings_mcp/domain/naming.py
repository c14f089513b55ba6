"""Names: image tags by the article's convention, ids derived from content, what Docker accepts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from aither_rings_mcp.domain.errors import InvalidArguments

#: Docker's own rule for a tag (distribution/reference).
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_RELEASE = re.compile(r"r-[0-9a-f]{12}\Z")


def digest(*parts: str) -> str:
    """SHA-256 over the parts, each length-prefixed so that no two lists collide by joining."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        sha.update(f"{len(raw)}:".encode())
        sha.update(raw)
    return sha.hexdigest()


def release_id(images: Mapping[str, str], config_hash: str) -> str:
    """`r-` and 12 hex digits, from every service's image content id and the rendered config."""
    flat = [f"{service}={image}" for service, image in sorted(images.items())]
    return "r-" + digest(*flat, config_hash)[:12]


def commit7(commit: str) -> str:
    return commit[:7]


def ring_tag(ring: str, commit: str) -> str:
    return f"{ring}-{commit7(commit)}"


def latest_tag(ring: str) -> str:
    return f"{ring}-latest"


def rollback_tag(ring: str) -> str:
    return f"rollback-{ring}"


def forensic_tag(ring: str, at: datetime) -> str:
    return f"forensic-{ring}-{at:%Y%m%dT%H%M%SZ}"


def repository(app: str, service: str) -> str:
    return f"{app}-{service}"


def new_operation_id(now: datetime, token: str) -> str:
    """`op-20260131t235959-0a1b2c`: sorts by time; `token`, 6 hex digits, keeps two of one second apart."""
    return f"op-{now.astimezone(UTC):%Y%m%dt%H%M%S}-{token}"


def checked_tag(tag: str) -> str:
    """The tag itself, if Docker would take it; else `invalid_arguments`."""
    if not _TAG.match(tag):
        raise InvalidArguments(
            f"{tag!r} is not a valid image tag",
            "Use letters, digits, '_', '.' and '-', at most 128, not starting with '.' or '-'; "
            "`ring-ctl status` lists the tags that can be rolled back to (tool: ring_status).",
        )
    return tag


def checked_release(release: str) -> str:
    """The release id itself, if it has the shape of one; else `invalid_arguments`."""
    if not _RELEASE.match(release):
        raise InvalidArguments(
            f"{release!r} is not a release id",
            "A release id looks like r-0123456789ab; `ring-ctl history RING` shows them (tool: ring_history).",
        )
    return release
