"""How people get to a ring: its fronts on the edge, and the tunnel. Read from rings.yaml alone; nothing is asked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import FrontView, TunnelAnswer, UrlAnswer
from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.domain.slots import SLOT_HEADER, Slot
from aither_rings_mcp.domain.tunnel import TunnelRule, differences, front_url, tunnel_config
from aither_rings_mcp.manager.world import World


def tunnel(world: World, found: Sequence[TunnelRule] | None) -> TunnelAnswer:
    """The tunnel's `ingress`; with `found`, also how that one routes otherwise."""
    ingress = tunnel_config(world.settings)
    names = len(ingress) - 1
    wrong = None if found is None else differences(world.settings, found)
    if wrong:
        summary = f"The tunnel does not route what rings.yaml says: {len(wrong)} difference{'s'[: len(wrong) > 1]}."
    elif wrong is not None:
        summary = f"The tunnel routes what rings.yaml says: {_counted(names)}, all else gets 404."
    else:
        summary = f"{_counted(names)} of rings.yaml go to the edge, all else gets 404; no promotion changes this."
    return TunnelAnswer(ok=not wrong, summary=summary, as_of=world.clock.now(), ingress=ingress, differences=wrong)


def _counted(names: int) -> str:
    return f"{names or 'no'} host name{'s'[: names != 1]}"


def url(world: World, ring: str, slot: Slot | None) -> UrlAnswer:
    """Where people find each front service of `ring`; with `slot`, how to ask that slot whichever one serves.

    Raises `invalid_arguments` for a ring without fronts, and for a slot that it does not have.
    """
    settings = policy.runtime_ring(world.settings, ring)
    if not settings.fronts:
        known = f"people find it at {settings.url}" if settings.url else "nothing says where people find it"
        raise InvalidArguments(
            f"{ring} has no fronts; {known}",
            f"Add `fronts:` to {ring} in rings.yaml: docs/configuration.md.",
            ring=ring,
        )
    if slot is Slot.GREEN and settings.green is None:
        raise InvalidArguments(
            f"{ring} has no second slot", f"Ask without --slot, or add `green:` to {ring} in rings.yaml.", ring=ring
        )
    header = f"{SLOT_HEADER}: {slot}" if slot else None
    fronts = tuple(
        FrontView(
            service=service,
            url=(at := front_url(world.settings, port)),
            hostnames=settings.hostnames.get(service, ()),
            curl=shlex.join(["curl", "-H", header, f"{at}/"]) if header else None,
        )
        for service, port in settings.fronts.items()
    )
    places = ", ".join(f"{front.service} at {front.url}" for front in fronts)
    summary = f"Ask {slot} of {ring} with the header {header}: {places}." if slot else f"People find {ring}: {places}."
    return UrlAnswer(
        ok=True,
        summary=summary,
        as_of=world.clock.now(),
        ring=ring,
        slot=slot,
        header=header,
        fronts=fronts,
    )
