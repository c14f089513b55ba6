"""pydantic's findings in plain words, each at its place in the file and without the value found there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from aither_rings_mcp.config.places import Fault, Key, Place
from aither_rings_mcp.domain.redact import redact

Schema = Mapping[str, Any]

_QUOTED = re.compile(r"'([^']*)'")
LIST = "has to be a list (`- item` lines, or [a, b])"
MAPPING = "has to be a mapping (`key: value` lines)"
_WORDS: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "has to be text; put a number, true or false in quotes if you mean the text",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "finite_number": "has to be a finite number",
    "bool_type": "has to be true or false",
    "tuple_type": LIST,
    "list_type": LIST,
    "frozen_set_type": LIST,
    "set_type": LIST,
    "dict_type": MAPPING,
    "mapping_type": MAPPING,
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
    "greater_than": "has to be more than {gt}",
    "greater_than_equal": "has to be at least {ge}",
    "less_than": "has to be less than {lt}",
    "less_than_equal": "has to be at most {le}",
    "string_too_short": "has to be at least {min_length} characters long",
    "string_too_long": "has to be at most {max_length} characters long",
}
_PATTERNS: Mapping[str, str] = {
    "^/": "has to start with '/'",
    "^[a-z0-9][a-z0-9_-]{0,62}$": "is not a valid name: use lower-case letters, digits, '-' and '_', "
    "at most 63, starting with a letter or digit",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing when no known word is close."""
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def faults(error: ValidationError, base: Place, model: type[BaseModel]) -> Iterator[Fault]:
    """Every finding of `error` below `base`, which `model` describes."""
    schema = model.model_json_schema()
    for found in error.errors(include_url=False):
        place = _locate(base, found["loc"], missing=found["type"] == "missing")
        yield place.fault(_message(place, base, schema, found["type"], found["msg"], found.get("ctx", {})))


def _locate(base: Place, loc: tuple[Key, ...], missing: bool) -> Place:
    """The place that `loc` means; it also names union members and validators, which no file holds."""
    here = base
    for position, key in enumerate(loc):
        child = here.children().get(key)
        if child is not None:
            here = child
        elif missing and position == len(loc) - 1:
            here = here.at(key)
    return here


def _message(place: Place, base: Place, schema: Schema, kind: str, said: str, ctx: Mapping[str, Any]) -> str:
    if kind == "extra_forbidden":
        known = _known_keys(schema, place.path[len(base.path) : -1])
        return f"unknown key{did_you_mean(place.key, known) or '; known here: ' + (', '.join(known) or 'none')}"
    if place.present and place.value is None and kind != "missing":
        return "is empty: give it a value or take the key out"
    if kind in {"enum", "literal_error"}:
        expected = str(ctx["expected"])
        return f"has to be {expected}{did_you_mean(place.text or '', _QUOTED.findall(expected))}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(ctx["pattern"]), f"has to match {ctx['pattern']}")
    if kind == "too_short":
        return f"needs at least {ctx['min_length']} item{'s' if ctx['min_length'] != 1 else ''}"
    if kind == "too_long":
        return f"takes at most {ctx['max_length']} items"
    if kind in _WORDS:
        return _WORDS[kind].format_map(ctx)
    if kind in {"value_error", "assertion_error"}:
        # A gate's own validator wrote this one; it may quote what it was given.
        return redact(said.partition(", ")[2] or said)
    return redact(said.replace("Input should be", "has to be").replace("Input should", "should"))


def _known_keys(schema: Schema, path: tuple[Key, ...]) -> list[str]:
    """The keys that a JSON schema knows at `path`."""
    here = [schema]
    for key in path:
        here = [below for one in _alternatives(schema, here) for below in _below(one, key)]
    return sorted({key for one in _alternatives(schema, here) for key in one.get("properties", {})})


def _alternatives(root: Schema, schemas: Iterable[Schema]) -> Iterator[Schema]:
    for one in schemas:
        if "$ref" in one:
            yield from _alternatives(root, [root["$defs"][one["$ref"].rpartition("/")[2]]])
        else:
            yield one
            yield from _alternatives(root, [*one.get("anyOf", ()), *one.get("oneOf", ())])


def _below(schema: Schema, key: Key) -> Iterator[Schema]:
    below = schema.get("items") if isinstance(key, int) else schema.get("properties", {}).get(key)
    below = below or (schema.get("additionalProperties") if isinstance(key, str) else None)
    if isinstance(below, Mapping):
        yield below
    if isinstance(key, str):
        yield from schema.get("patternProperties", {}).values()
