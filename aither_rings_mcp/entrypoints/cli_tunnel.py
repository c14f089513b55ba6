"""cloudflared's config, as `ring-ctl tunnel` reads and writes it. Only its `ingress` is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.domain.tunnel import TunnelRule

_NEXT = "`ring-ctl tunnel` prints the `ingress:` that such a file needs."


class _Rule(BaseModel):
    """What decides where a request goes. Its other keys (`originRequest`) are the user's."""

    model_config = ConfigDict(extra="ignore", strict=True)
    hostname: str | None = None
    path: str | None = None
    service: str


class CloudflaredConfig(BaseModel):
    model_config = ConfigDict(extra="ignore")
    ingress: list[_Rule] = []


def read_ingress(file: Path) -> tuple[TunnelRule, ...]:
    """The rules of a cloudflared config; `invalid_arguments` for what is none."""
    try:
        config = CloudflaredConfig.model_validate(yaml.safe_load(file.read_bytes()) or {})
    except OSError as error:
        raise InvalidArguments(f"{file} cannot be read: {error.strerror}", _NEXT) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidArguments(f"{file} is not valid YAML{where}", _NEXT) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(key) for key in first["loc"]) or "the file"
        raise InvalidArguments(f"{file} is no cloudflared config: {at}: {first['msg']}", _NEXT) from error
    return tuple(TunnelRule(**rule.model_dump()) for rule in config.ingress)


def ingress_yaml(rules: Sequence[TunnelRule]) -> str:
    """The `ingress:` of a cloudflared config."""
    entries: list[dict[str, Any]] = [rule.model_dump(exclude_none=True) for rule in rules]
    return yaml.safe_dump({"ingress": entries}, sort_keys=False)
