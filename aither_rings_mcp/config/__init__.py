"""rings.yaml -> typed settings, or every fault at once, each with its line and path."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from aither_rings_mcp.config import words
from aither_rings_mcp.config.places import Fault, Place, read
from aither_rings_mcp.config.published import schema
from aither_rings_mcp.config.rules import broken
from aither_rings_mcp.config.words import MAPPING
from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.domain.settings import Settings

__all__ = ["Loaded", "load", "schema"]

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1024 * 1024
_NEXT = "Pass --config PATH or set RINGS_CONFIG; docs/rings.example.yaml is a complete example."


@dataclass(frozen=True)
class Loaded:
    """A config without faults. `root` is the folder of the file, from which its relative paths start."""

    settings: Settings
    root: Path
    state_dir: Path


def load(path: Path, gate_options: Mapping[str, type[BaseModel]]) -> Loaded:
    """The config in `path`, or `config_invalid` with everything that is wrong with it.

    `gate_options` says which gates there are and what each takes as `with`. RINGS_STATE_DIR outranks `state_dir`.
    """
    path = path.absolute()
    document, faults = read(_text(path))
    if not isinstance(document.value, Mapping):
        said = "the file is empty" if document.value is None else f"{MAPPING}, such as `app: shop`"
        raise _invalid(path, faults or [document.fault(said)])
    settings, wrong = _parsed(Settings, document)
    for gate in (gate for way in document.at("paths") for gate in way.at("gates")):
        wrong += _wrong_options(gate, gate_options)
    faults = [*faults, *wrong, *broken(document, path.parent, gate_options)]
    if faults or settings is None:
        raise _invalid(path, faults)
    return Loaded(settings, path.parent, path.parent / (os.environ.get("RINGS_STATE_DIR") or settings.state_dir))


def _text(path: Path) -> str:
    try:
        if not path.exists():
            raise ConfigInvalid(f"there is no config at {path}", _NEXT)
        if not path.is_file():
            raise ConfigInvalid(f"{path} is not a file", _NEXT)
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror}", _NEXT) from error
    if len(raw) > MAX_BYTES:
        raise _invalid(path, [Fault(1, "", "larger than 1 MiB, which no config of rings is")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(path, [Fault(raw.count(b"\n", 0, error.start) + 1, "", "not UTF-8 text")]) from error


def _wrong_options(gate: Place, gate_options: Mapping[str, type[BaseModel]]) -> list[Fault]:
    """What is wrong with one gate's `with`; an unknown type is left to the rules, a wrong shape to the settings."""
    kind, given = gate.at("gate"), gate.at("with")
    try:
        model = gate_options.get(kind.text or "")
    except (ImportError, AttributeError) as error:
        return [kind.fault(f"the gate {kind.text!r} is installed, but its package does not load: {error}")]
    return _parsed(model, given)[1] if model and isinstance(given.value, Mapping | None) else []


def _parsed(model: type[M], place: Place) -> tuple[M | None, list[Fault]]:
    """The place as `model`, and what keeps it from being one. A key that is not there is an empty mapping."""
    try:
        # Strict, and as JSON: what the published schema says and nothing besides, so no `port: "8001"`.
        return model.model_validate_json(json.dumps(place.plain() or {}), strict=True), []
    except ValidationError as error:
        return None, list(words.faults(error, place, model))


def _invalid(path: Path, faults: Iterable[Fault]) -> ConfigInvalid:
    ordered = sorted(set(faults), key=lambda fault: (fault.line, fault.path, fault.message))
    lines = [
        ": ".join(part for part in (f"{path.name}:{fault.line}", fault.path, fault.message) if part)
        for fault in ordered
    ]
    return ConfigInvalid(
        f"{len(lines)} fault{'s' if len(lines) != 1 else ''} in {path}:\n" + "\n".join(lines),
        "Correct the lines named above; docs/rings.example.yaml shows every key.",
        faults=[{"path": fault.path, "line": fault.line, "message": fault.message} for fault in ordered],
    )
