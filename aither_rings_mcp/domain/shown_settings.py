"""rings.yaml as it may leave: what is set, without environment values and without anything that looks like a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aither_rings_mcp.domain.redact import MASK, redact
from aither_rings_mcp.domain.secrecy import secret_name, shown
from aither_rings_mcp.domain.settings import Settings

_COMMANDS = frozenset({"argv", "command"})


def shown_settings(settings: Settings) -> dict[str, Any]:
    """What rings.yaml sets; what is as by default is left out. Of an `env` only the names stay."""
    given = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return cast("dict[str, Any]", _shown("", given))


def _shown(key: str, value: object) -> object:
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, object]", value)
        return {name: MASK if key == "env" else _shown(name, each) for name, each in inner.items()}
    if isinstance(value, list):
        each_of = cast("Sequence[object]", value)
        words = shown({"command": each_of})["command"] if key in _COMMANDS else each_of
        return [_shown("", each) for each in words]
    if not isinstance(value, str):
        return value
    return MASK if secret_name(key) else redact(value)
