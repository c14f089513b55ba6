"""What callers may say, at every door that takes JSON: words, limits, schemas, and refusals that teach."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from aither_rings_mcp.domain.errors import InvalidArguments

MOST_FAULTS = 5
LONGEST_NAME = 40


def _moment(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected text")  # noqa: TRY004  # pydantic reports ValueError, and lets TypeError through
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(min_length=1, max_length=1000)]
WaitS = Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)]
WAITING = (
    "Seconds to wait for the end; after that the answer is outcome `running` with an operation_id, "
    "and the operation goes on by itself."
)
KEY = "A text of your choice; a repeated call with the same key gets the same operation and starts no second one."


class Published(GenerateJsonSchema):
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


def output_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What is published of a tool's result. What may be absent is not required, because nulls are left out."""
    return model.model_json_schema(mode="serialization", schema_generator=Published)


def refusal(call: str, wrong: Iterable[tuple[str, str]], schema: Mapping[str, Any]) -> InvalidArguments:
    """Every wrong argument in words of the published schema; never the value given, nor pydantic's own text.

    `wrong` are names of arguments, each with pydantic's type of its error.
    """
    known: Mapping[str, Mapping[str, Any]] = schema["properties"]
    faults: dict[str, str] = {}
    hints: dict[str, str] = {}
    for name, fault in wrong:
        if name not in known:
            name = ascii(name[:LONGEST_NAME])[1:-1]
            faults[name] = f"unknown argument '{name}'"
            if near := did_you_mean(name, known):
                hints[name] = near
                faults[name] += f" (did you mean '{near}'?)"
        elif fault == "missing":
            faults[name] = f"'{name}' is missing; it has to be {_expected(known[name])}"
        else:
            faults[name] = f"'{name}' has to be {_expected(known[name])}"
    shown = list(faults.values())[:MOST_FAULTS]
    details: dict[str, object] = {"did_you_mean": hints} if hints else {}
    return InvalidArguments(
        f"{call}: {'; '.join(shown)}; nothing was done",
        f"Call {call} again; it takes {', '.join(known)}.",
        tool=call,
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
