"""Makes a published schema as small as it can be while it still says and checks the same."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

_REF = re.compile(r'"#/\$defs/(\w+)"')
#: Words of JSON Schema under which every key is somebody's own name.
_NAMED = frozenset({"properties", "$defs"})


def slim(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without defaults and titles, and with every definition that is used once in its place.

    Clients pass tool lists on to their models, so each word is paid for with every request.
    """
    defs = cast("dict[str, dict[str, Any]]", schema.get("$defs", {}))
    uses = Counter(_REF.findall(json.dumps(schema)))

    def put(node: object, named: bool = False) -> object:
        if isinstance(node, list):
            return [put(each) for each in cast("list[object]", node)]
        if not isinstance(node, dict):
            return node
        words = cast("dict[str, object]", node)
        if named:
            return {name: put(each) for name, each in words.items()}
        ref = str(words.get("$ref", "")).removeprefix("#/$defs/")
        if uses[ref] == 1:
            words = {**defs[ref], **{key: value for key, value in words.items() if key != "$ref"}}
        return {key: put(value, key in _NAMED) for key, value in words.items() if not _spare(key, value)}

    slimmed = cast("dict[str, Any]", put({key: value for key, value in schema.items() if key != "$defs"}))
    kept = {name: put(each) for name, each in defs.items() if uses[name] > 1}
    return {**slimmed, "$defs": kept} if kept else slimmed


def _spare(key: str, value: object) -> bool:
    return key in {"default", "title"} or (key == "additionalProperties" and value is True)
