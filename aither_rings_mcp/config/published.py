"""The JSON Schema of rings.yaml, for editors and for whoever generates one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from aither_rings_mcp.domain.settings import GateSpec, Settings


class _Published(GenerateJsonSchema):
    """Without titles that only repeat the key, and without defaults that only this machine has."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        described = super().default_schema(schema)
        if described.get("default") == sys.executable:
            del described["default"]
        return described


def schema(gate_options: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of rings.yaml, each gate's `with` included.

    A gate it does not know is allowed and may take any options: it may come from another package.
    """
    models = [Settings, GateSpec, *gate_options.values()]
    refs, generated = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, schema_generator=_Published
    )
    names = {_name(refs[model, "validation"]): f"with_{gate}" for gate, model in gate_options.items()}
    definitions = _renamed(generated["$defs"], names)
    spec = definitions[_name(refs[GateSpec, "validation"])]
    spec["properties"]["gate"] = {
        "description": "the gate's type",
        "anyOf": [{"enum": sorted(gate_options)}, {"type": "string"}],
    }
    spec["allOf"] = [_when_gate(gate, definitions[f"with_{gate}"]) for gate in sorted(gate_options)]
    whole = definitions.pop(_name(refs[Settings, "validation"]))
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **whole,
        "title": "rings.yaml",
        "$defs": dict(sorted(definitions.items())),
    }


def _name(ref: Mapping[str, Any]) -> str:
    return str(ref["$ref"]).rpartition("/")[2]


def _renamed(definitions: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Every gate calls its options `Options`; pydantic tells them apart by module, readers by the gate's name."""
    text = json.dumps({names.get(name, name): definition for name, definition in definitions.items()})
    for old, new in names.items():
        text = text.replace(f'"#/$defs/{old}"', f'"#/$defs/{new}"')
    return json.loads(text)


def _when_gate(gate: str, options: dict[str, Any]) -> dict[str, Any]:
    options["title"] = f"with of {gate}"
    then: dict[str, Any] = {"properties": {"with": {"$ref": f"#/$defs/with_{gate}"}}}
    if options.get("required"):
        then["required"] = ["with"]
    return {"if": {"properties": {"gate": {"const": gate}}, "required": ["gate"]}, "then": then}
