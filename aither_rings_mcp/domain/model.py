"""The values everything else speaks of: rings, releases, candidates, the record of each ring."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, AwareDatetime, Field, SerializerFunctionWrapHandler, model_serializer

from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.domain.slots import Slot, Traffic
from aither_rings_mcp.domain.value import Value

#: `from` is a word of Python's: named `from_` in code, `from` in every document.
FROM: Any = Field(default=None, validation_alias=AliasChoices("from", "from_"), serialization_alias="from")


class RingKind(StrEnum):
    RUNTIME = "runtime"
    GATE = "gate"


class Actor(Value):
    """Who asked, through which door.

    `via` is the client's name and version as it told them, `call` the id of the tool call or request: hints for whoever
    reads, never proof.
    """

    name: str
    kind: Literal["person", "agent", "monitor"] = "person"
    door: Literal["cli", "mcp", "rest", "monitor"] = "cli"
    via: str | None = None
    call: str | None = None

    @property
    def automatic(self) -> bool:
        """Whether nobody looks at what this actor does before it is done."""
        return self.kind != "person"

    def __str__(self) -> str:
        return f"{self.name} ({self.kind} via {self.door})"

    @property
    def in_full(self) -> str:
        """The actor with the client and the call, where they are known."""
        call = f"call {self.call}" if self.call else None
        return ", ".join(part for part in (str(self), self.via, call) if part)

    @model_serializer(mode="wrap")
    def _without_blanks(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}

    def told_as(self, who: str) -> bool:
        """Whether `who`, as a record tells somebody, is this actor: the same name and kind, through any door."""
        name, _, kind = who.rpartition(" (")
        return name == self.name and kind.startswith(f"{self.kind} via ")


class Override(Value):
    """A bypass of the gates: by whom and why. It stays visible until the next release."""

    by: str
    reason: Annotated[str, Field(min_length=3), AfterValidator(redact)]  # every look at the ring shows it


class SchemaChange(StrEnum):
    """What a release does to the data it shares with the release before: only adds to it, or takes away from it.

    Behind a contract the release before finds its data gone, so nothing automatic goes back across one.
    """

    EXPAND = "expand"
    CONTRACT = "contract"


class Release(Value):
    """What a ring runs, as one immutable unit.

    `id` is derived from `images` (service -> image content id) and `config_hash` (rendered Compose
    config, environment included); tags and commit are labels for people.
    """

    id: str
    ring: str
    commit: str
    tag: str
    source_digest: str = ""
    images: Mapping[str, str]
    config_hash: str
    created_at: AwareDatetime
    built_from: str | None = None
    schema_change: SchemaChange | None = None


class Candidate(Value):
    """A release that passed the gates into staging; `images` are what a promotion will run."""

    release: str
    source: str
    commit: str
    tag: str
    images: Mapping[str, str]
    passed_at: AwareDatetime
    expires_at: AwareDatetime
    gates: Mapping[str, str] = Field(default_factory=dict)
    override: Override | None = None

    def expired(self, now: datetime) -> bool:
        return now >= self.expires_at


class Deployment(Value):
    """One release in one ring, at one time. `proven_at` says when it proved itself; None: it never did."""

    release: str
    tag: str
    commit: str
    deployed_at: AwareDatetime
    proven_at: AwareDatetime | None = None
    schema_change: SchemaChange | None = None


class Quarantine(Value):
    """A release that was rolled back; it may not come back without an override."""

    release: str
    since: AwareDatetime
    reason: str


class Settling(Value):
    """A release that is new in its ring, while what served before it waits in the other slot, ready to take over again.

    `release` is what waits there; None where nothing does. `baseline` and `before_users` are what the edge counted for
    what served before, and for the new release until it got its users; None: as much as at the first look at which the
    edge reaches it. What is replaced in place leaves a gap, and that is held against nobody.
    """

    until: AwareDatetime
    release: str | None = None
    baseline: Traffic = Traffic()
    before_users: Traffic | None = Traffic()


class Frozen(Value):
    """Nothing new comes into a ring, because somebody said so. `until`: by itself no longer; None: until `thaw`."""

    by: str
    reason: str
    since: AwareDatetime
    until: AwareDatetime | None = None


class RingRecord(Value):
    """What is recorded of one ring. `deployments` is newest first and holds `current` at index 0 when set."""

    tag: str | None = None
    commit: str | None = None
    release: str | None = None
    deployed_at: AwareDatetime | None = None
    rollback_target: str | None = None
    rollback_release: str | None = None
    running: bool = False
    deployments: tuple[Deployment, ...] = ()
    candidate: Candidate | None = None
    quarantine: tuple[Quarantine, ...] = ()
    override: Override | None = None
    stuck: str | None = None
    #: What runs came by going back: nothing automatic goes back from it.
    returned: bool = False
    #: Releases that the monitor took back, newest last: it does so once for each.
    taken_back: tuple[str, ...] = ()
    #: The slot that serves.
    slot: Slot = Slot.BLUE
    #: What the edge had counted in that slot when what runs got its users; None: nobody knows.
    before_users: Traffic | None = None
    settling: Settling | None = None
    frozen: Frozen | None = None

    def is_quarantined(self, release: str) -> bool:
        return any(entry.release == release for entry in self.quarantine)


class State(Value):
    """The whole of `rings-state.json`."""

    version: int = 1
    rings: Mapping[str, RingRecord] = Field(default_factory=dict)

    def ring(self, name: str) -> RingRecord:
        return self.rings.get(name, RingRecord())

    def with_ring(self, name: str, record: RingRecord) -> State:
        return self.model_copy(update={"rings": {**self.rings, name: record}})


#: What stands for a ring in an event that belongs to none; no ring can have this name.
NO_RING = "-"


class Event(Value):
    """One line of the history, without the chain fields that the history file adds."""

    at: AwareDatetime
    ring: str
    event: str
    outcome: str
    operation: str
    from_: str | None = FROM
    to: str | None = None
    commit: str | None = None
    actor: str
    #: The actor's client and call.
    via: str | None = None
    call: str | None = None
    reason: str | None = None
    duration_s: float | None = None
    gates_failed: tuple[str, ...] = ()
    detail: str | None = None

    def redacted(self) -> Self:
        """The event with its free text as it may leave, or be kept."""
        said = {"via": self.via, "call": self.call, "reason": self.reason, "detail": self.detail}
        return self.model_copy(update={name: redact(text) for name, text in said.items() if text})


class RecordedEvent(Event):
    """A line of the history as it stands in the file: numbered and chained to the one before."""

    seq: int
    prev: str
    hash: str
