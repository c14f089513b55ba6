"""What the MCP tools take: strict models, the schemas published of them, and refusals that teach."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast

from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.domain.settings import Settings

MOST_FAULTS = 5
LONGEST_NAME = 40


class Arguments(ArgModelBase):
    """What one tool takes. Nothing is coerced and nothing is ignored: `dryrun=true` must not become a real run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def model_dump_one_level(self) -> dict[str, Any]:
        """The tool function gets the model itself, as `args`."""
        return {"args": self}


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected text")  # noqa: TRY004  # pydantic reports ValueError, and lets TypeError through
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _among(names: str) -> dict[str, Any]:
    """Marks a field whose values the config knows; `input_schema` puts them into the schema."""
    return {"among": names}


Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(min_length=1, max_length=1000)]
AnyRing = Annotated[str, Field(json_schema_extra=_among("rings"))]
RuntimeRing = Annotated[str, Field(json_schema_extra=_among("runtime_rings"))]
SourceRing = Annotated[str, Field(description="The ring to promote from.", json_schema_extra=_among("sources"))]
TargetRing = Annotated[str, Field(description="The ring to promote into.", json_schema_extra=_among("targets"))]
WaitS = Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)]
Format = Annotated[
    Literal["concise", "detailed"],
    Field(description="concise (the default) leaves out what is rarely needed; detailed gives everything."),
]
WAITING = (
    "Seconds to wait for the end; after that the answer is outcome `running` with an operation_id, "
    "and the operation goes on by itself."
)
KEY = "A text of your choice; a repeated call with the same key gets the same operation and starts no second one."


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


class EvidenceArguments(Arguments):
    operation_id: Text = Field(description="The operation that took a release back, or left it unhealthy.")
    section: Text | None = Field(
        default=None, description="Which section to read, such as summary or logs; without it, the list of them."
    )
    cursor: int | None = Field(
        default=None, ge=0, description="`next_cursor` of the answer before, for the rest of the section."
    )


class CancelArguments(Arguments):
    operation_id: Text = Field(description="The operation to give up.")
    reason: Reason = Field(description="Why, in one sentence for the history.")


class ApproveArguments(Arguments):
    plan_id: Text = Field(description="The plan that waits for an answer.")
    plan_hash: Text = Field(description="The hash of the plan that you were shown: the answer is to that, only.")
    decision: Literal["approved", "rejected"] = Field(description="The answer; it is final.")
    note: Reason = Field(description="A word to whoever asked, for the history.")


class _Published(GenerateJsonSchema):
    """Schemas without null noise: an absent value is left out, so neither `null` nor titles are published."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        published = super().default_schema(schema)
        if published.get("default", ...) is None:
            del published["default"]
        return published

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        return _bare(super().enum_schema(schema))

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return _bare(super().model_schema(schema))


def _bare(published: JsonSchemaValue) -> JsonSchemaValue:
    # Class names and docstrings speak to who reads the code.
    return {key: value for key, value in published.items() if key not in {"title", "description"}}


def names_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The names that the config knows, by what `_among` calls them."""
    return {
        "rings": tuple(settings.rings),
        "runtime_rings": settings.runtime_rings,
        "services": tuple(settings.services),
        "sources": tuple(dict.fromkeys(path.source for path in settings.paths)),
        "targets": tuple(dict.fromkeys(path.target for path in settings.paths)),
    }


def input_schema(model: type[Arguments], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What is published of a tool's arguments, with the config's names as enums."""
    schema = model.model_json_schema(schema_generator=_Published)
    for prop in cast("dict[str, dict[str, Any]]", schema["properties"]).values():
        if known := names.get(prop.pop("among", ""), ()):
            prop.get("items", prop)["enum"] = list(known)
    return schema


def output_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What is published of a tool's result. What may be absent is not required, because nulls are left out."""
    return model.model_json_schema(mode="serialization", schema_generator=_Published)


def refusal(tool: str, error: ValidationError, schema: Mapping[str, Any]) -> InvalidArguments:
    """Every wrong argument in words of the published schema; never the value given, nor pydantic's own text."""
    known: Mapping[str, Mapping[str, Any]] = schema["properties"]
    faults: dict[str, str] = {}
    hints: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(fault["loc"][0]) if fault["loc"] else "arguments"
        if name not in known:
            name = ascii(name[:LONGEST_NAME])[1:-1]
            faults[name] = f"unknown argument '{name}'"
            if near := did_you_mean(name, known):
                hints[name] = near
                faults[name] += f" (did you mean '{near}'?)"
        elif fault["type"] == "missing":
            faults[name] = f"'{name}' is missing; it has to be {_expected(known[name])}"
        else:
            faults[name] = f"'{name}' has to be {_expected(known[name])}"
    shown = list(faults.values())[:MOST_FAULTS]
    details: dict[str, object] = {"did_you_mean": hints} if hints else {}
    return InvalidArguments(
        f"{tool}: {'; '.join(shown)}; nothing was done",
        f"Call {tool} again; it takes {', '.join(known)}.",
        tool=tool,
        faults=dict(list(faults.items())[:MOST_FAULTS]),
        **details,
    )


def did_you_mean(name: str, known: Mapping[str, Any]) -> str | None:
    """The known name that this one was probably meant to be."""
    plain = {"".join(filter(str.isalnum, each)).lower(): each for each in known}
    near = difflib.get_close_matches("".join(filter(str.isalnum, name)).lower(), plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else None


def _expected(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"enum": [*values]}:
            return f"one of {', '.join(map(str, values))}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "integer" | "number" as kind}:
            words = "a whole number" if kind == "integer" else "a number"
            low, high = schema.get("minimum"), schema.get("maximum")
            if high is None:
                return f"{words}, at least {low:g}"
            return f"{words} from {low:g} to {high:g}"
        case {"type": "array", "items": {**items}}:
            return f"a list, each of it {_expected(items)}"
        case {"format": "date-time"}:
            return "a moment in ISO 8601, such as 2026-01-31T12:00:00Z"
        case {"maxLength": longest}:
            return f"a text of 1 to {longest} characters"
        case _:
            return "a text"
