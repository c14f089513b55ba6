"""The two slots of a ring, and which of them gets its users' requests."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aither_rings_mcp.domain.value import Value

#: With this header, and a slot's name as its value, the edge asks that slot whichever one serves.
SLOT_HEADER = "X-Ring-Slot"


class Slot(StrEnum):
    """One running copy of a ring's services. A ring without a second slot is always on blue."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Slot:
        return Slot.GREEN if self is Slot.BLUE else Slot.BLUE


class Route(Value):
    """Where a ring's requests go: to `slot`, but `canary` percent of them to the other one.

    `services` are those that are elsewhere while a ring goes over one service at a time.
    """

    slot: Slot = Slot.BLUE
    canary: Annotated[float, Field(ge=0, le=100)] = 0
    services: Mapping[str, Slot] = Field(default_factory=dict)


class Pace(Value):
    """How many answers a service gave, and how long they took on average."""

    answers: int
    mean_ms: float


class Traffic(Value):
    """What the edge counted for one slot of a ring, all its front services together, since the edge started, or between
    two looks at it.

    `errors` are answers of 5xx, the edge's own (nobody there) included. `paces` are those of the services: since the
    edge started, the mean is that of the last answers only (see `traffic.AVERAGED`); between two looks it is that of
    the answers between them, where that can be told.
    """

    requests: int = 0
    errors: int = 0
    #: Of what older versions wrote; nothing is judged by these.
    latency_ms: float | None = None
    open: int = 0
    paces: Mapping[str, Pace] = Field(default_factory=dict)
