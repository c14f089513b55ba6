"""What a promotion would change, service by service, bound to what it was computed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime

from aither_rings_mcp.domain.model import FROM, Actor
from aither_rings_mcp.domain.naming import digest
from aither_rings_mcp.domain.value import Value

Action = Literal["create", "recreate", "remove", "tag"]


class Change(Value):
    """What happens to one service. Image ids are shortened for reading; the plan's hash covers them whole."""

    service: str
    from_: str | None = FROM
    to: str | None = None
    action: Action


class Plan(Value):
    """A promotion, worked out but not done. `hash` covers everything whose change makes it stale.

    Where source and target are one ring it is a rollback of that ring: no path leads from a ring to itself.
    """

    id: str
    hash: str
    source: str
    target: str
    release: str
    images: Mapping[str, str]
    replaces: str | None
    created_at: AwareDatetime
    expires_at: AwareDatetime
    by: Actor
    #: Why its gates are to be passed over, in a plan for that.
    forced: str | None = None

    @property
    def goes_back(self) -> bool:
        return self.source == self.target


def plan_hash(
    source: str,
    target: str,
    release: str,
    images: Mapping[str, str],
    replaces: str | None,
    forced: str | None = None,
) -> str:
    """Binds a plan to the path, the release, every image content id, what it would replace, and why by force."""
    flat = [f"{service}={image}" for service, image in sorted(images.items())]
    by_force = () if forced is None else ("forced", forced)
    return digest(source, target, release, replaces or "-", *flat, *by_force)


def short_image(image: str | None) -> str | None:
    """`sha256:0123456789ab…` -> `0123456789ab`, as Docker shows it."""
    return image.removeprefix("sha256:")[:12] if image else None


def changes(now: Mapping[str, str], then: Mapping[str, str], gate: bool) -> tuple[Change, ...]:
    """What happens to every service of either side, in name order.

    Also a service whose image stays the same is recreated: its release label and configuration change with it.
    """
    rows: list[Change] = []
    for service in sorted({*now, *then}):
        before, after = now.get(service), then.get(service)
        action: Action
        if gate:
            action = "tag"
        elif before is None:
            action = "create"
        elif after is None:
            action = "remove"
        else:
            action = "recreate"
        rows.append(Change(service=service, from_=short_image(before), to=short_image(after), action=action))
    return tuple(rows)


def what_changed(
    old: Plan, new_hash: str, release: str, replaces: str | None, images: Mapping[str, str]
) -> tuple[str, ...]:
    """Why a plan went stale, in words; empty when it did not."""
    if old.hash == new_hash:
        return ()
    reasons: list[str] = []
    if old.release != release:
        reasons.append(f"the release is now {release}, the plan was for {old.release}")
    if old.replaces != replaces:
        reasons.append(f"{old.target} now runs {replaces or 'nothing'}, the plan replaces {old.replaces or 'nothing'}")
    moved = sorted(s for s in {*old.images, *images} if old.images.get(s) != images.get(s))
    if moved:
        reasons.append(f"other images for {', '.join(moved)}")
    return tuple(reasons) or ("the plan's content",)
