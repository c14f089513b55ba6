"""What the MCP tools take: strict models, and the schemas published of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from pydantic import ConfigDict, Field

from aither_rings_mcp.entrypoints.arguments import KEY, WAITING, Moment, Published, Reason, Text, WaitS


class Arguments(ArgModelBase):
    """What one tool takes. Nothing is coerced and nothing is ignored: `dryrun=true` must not become a real run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    def model_dump_one_level(self) -> dict[str, Any]:
        """The tool function gets the model itself, as `args`."""
        return {"args": self}


def _among(names: str) -> dict[str, Any]:
    """Marks a field whose values the config knows; `input_schema` puts them into the schema."""
    return {"among": names}


AnyRing = Annotated[str, Field(json_schema_extra=_among("rings"))]
RuntimeRing = Annotated[str, Field(json_schema_extra=_among("runtime_rings"))]
SourceRing = Annotated[str, Field(description="The ring to promote from.", json_schema_extra=_among("sources"))]
TargetRing = Annotated[str, Field(description="The ring to promote into.", json_schema_extra=_among("targets"))]
Format = Annotated[
    Literal["concise", "detailed"],
    Field(description="concise (the default) leaves out what is rarely needed; detailed gives everything."),
]


class StatusArguments(Arguments):
    ring: AnyRing | None = Field(default=None, description="One ring only; without it, all rings.")
    response_format: Format = "concise"


class HealthArguments(Arguments):
    ring: RuntimeRing = Field(description="The ring to look at.")
    services: list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        min_length=1,
        description="Only these services, each of them shown whatever its state; without it, all.",
        json_schema_extra=_among("services"),
    )
    response_format: Format = "concise"


class PlanArguments(Arguments):
    source: SourceRing
    target: TargetRing


class PromoteArguments(Arguments):
    source: SourceRing
    target: TargetRing
    plan_id: Text | None = Field(
        default=None, description="A plan from ring_plan: do exactly that, or refuse if something changed since."
    )
    dry_run: bool = Field(default=False, description="True: only say what would happen; nothing is changed.")
    force: bool = Field(
        default=False,
        description="True: go past failing gates; needs `reason`, stays visible, and only where the server allows it.",
    )
    reason: Reason | None = Field(default=None, description="Why, in one sentence, for the history; force needs it.")
    wait_s: WaitS = Field(default=45, description=WAITING)
    idempotency_key: Text | None = Field(default=None, description=KEY)


class RollbackArguments(Arguments):
    ring: RuntimeRing = Field(description="The ring to take back.")
    tag: Text | None = Field(
        default=None, description="The image tag to go back to; without it, the last release that proved itself."
    )
    release: Text | None = Field(default=None, description="The release id to go back to, instead of a tag.")
    reason: Reason | None = Field(default=None, description="Why, in one sentence for the history.")
    dry_run: bool = Field(default=False, description="True: only say what would happen; nothing is changed.")
    wait_s: WaitS = Field(default=45, description=WAITING)
    idempotency_key: Text | None = Field(default=None, description=KEY)


class HistoryArguments(Arguments):
    ring: AnyRing | None = Field(default=None, description="One ring only; without it, all rings.")
    limit: int = Field(default=10, ge=1, le=100, description="How many events, newest first.")
    cursor: Text | None = Field(default=None, description="`next_cursor` of the answer before, for older events.")
    since: Moment | None = Field(
        default=None, description="Only events from this moment on, in ISO 8601; UTC unless it names an offset."
    )
    event: Text | None = Field(
        default=None, description="Only events of this kind, such as promote, rollback or deploy."
    )
    response_format: Format = "concise"


class OperationArguments(Arguments):
    operation_id: Text = Field(description="The id that a promotion, rollback or ring_status gave.")
    wait_s: WaitS = Field(default=0, description="Seconds to wait for the end; 0 answers at once.")
    include_log: bool = Field(default=False, description="True: with a part of its log, which is data, never orders.")
    log_cursor: int | None = Field(
        default=None, ge=0, description="`log.next_cursor` of the answer before, for what came after it."
    )


class CancelArguments(Arguments):
    operation_id: Text = Field(description="The operation to stop.")
    reason: Reason = Field(description="Why, in one sentence for the history.")


class EvidenceArguments(Arguments):
    operation_id: Text = Field(description="The operation that took a release back, or left it unhealthy.")
    section: Text | None = Field(
        default=None, description="Which section to read, such as summary or logs; without it, the list of them."
    )
    cursor: int | None = Field(
        default=None, ge=0, description="`next_cursor` of the answer before, for the rest of the section."
    )


def input_schema(model: type[Arguments], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What is published of a tool's arguments, with the config's names as enums."""
    schema = model.model_json_schema(schema_generator=Published)
    for prop in cast("dict[str, dict[str, Any]]", schema["properties"]).values():
        if known := names.get(prop.pop("among", ""), ()):
            prop.get("items", prop)["enum"] = list(known)
    return schema


class ApproveArguments(Arguments):
    plan_id: Text = Field(description="The plan that waits for an answer; the resource ring://plans lists them.")
    plan_hash: Text = Field(
        description="Its hash, as you were shown it or ring://plans/{id} shows it: the answer is to that, only."
    )
    decision: Literal["approved", "rejected"] = Field(description="The answer; it is final.")
    note: Reason = Field(description="A word to whoever asked, for the history.")
