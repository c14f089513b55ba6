"""What the REST door publishes of itself: OpenAPI 3.1 with the config's names and without null noise."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

Names = Mapping[str, Sequence[str]]

_TAGS = [
    {"name": "look", "description": "Changes nothing. Needs the role viewer."},
    {"name": "act", "description": "Changes a ring, or answers who wants to. Needs the role operator, or approver."},
    {"name": "server", "description": "About this server."},
]
_TOKEN = {"token": {"type": "http", "scheme": "bearer", "description": "From `ring-ctl token create`."}}

ASKED_PLAN: dict[str, Any] = {
    "ok": True,
    "summary": "staging -> prod: 2 services come to run prod-0a1b2c3.",
    "next_actions": [],
    "as_of": "2026-01-31T12:00:00Z",
    "plan_id": "plan-0a1b2c3d",
    "plan_hash": "3f8a0c",
    "expires_at": "2026-02-01T11:00:00Z",
    "source": "staging",
    "target": "prod",
    "release": "r-0123456789ab",
    "changes": [{"service": "api", "from": "4d1b43290c1b", "to": "ad7b82eb45d1", "action": "recreate"}],
    "gates": ["smoke_tests", "manual_approval"],
    "strategy": "blue_green",
    "blast_radius": {"services": 2, "critical": ["api"], "ports": [], "downtime": "none"},
    "approval": {"required": True, "plan_id": "plan-0a1b2c3d", "ways": ["ring-ctl approve plan-0a1b2c3d"]},
    "asked_by": "demiurge (agent via mcp)",
    "asked_at": "2026-01-31T11:00:00Z",
    "state": "open",
}
WAITING_PLANS: dict[str, Any] = {
    "ok": True,
    "summary": "1 plan waits for a person.",
    "as_of": "2026-01-31T12:00:00Z",
    "plans": [ASKED_PLAN],
    "may_answer": True,
}


def described(app: FastAPI, names: Names, open_paths: Collection[str]) -> None:
    """Has `app` publish a tidied schema: `names` of the config as enums, a token for all but `open_paths`."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            published = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, tags=_TAGS
            )
            published["components"]["securitySchemes"] = _TOKEN
            for path, operations in published["paths"].items():
                for operation in operations.values():
                    operation["security"] = [] if path in open_paths else [{"token": []}]
                    _problems(operation)
            app.openapi_schema = cast("dict[str, Any]", _tidied(published, names))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _problems(operation: dict[str, Any]) -> None:
    """Refusals are problem documents, not plain JSON."""
    refusal = operation["responses"].get("default", {})
    if "application/json" in refusal.get("content", {}):
        refusal["content"] = {"application/problem+json": refusal["content"]["application/json"]}


def _tidied(schema: Any, names: Names, named: bool = False) -> Any:
    """The schema without `null` (an absent value is left out), without titles; `named`: its keys are names."""
    if isinstance(schema, list):
        return [_tidied(each, names) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    node = cast("dict[str, Any]", schema)
    if named:
        return {key: _tidied(value, names) for key, value in node.items()}
    node = _without_null(node)
    if (known := names.get(node.pop("among", ""))) is not None:
        node["enum"] = list(known)
    tidy = {key: _tidied(value, names, key == "properties") for key, value in node.items() if key not in _VERBATIM}
    if "type" in node or "anyOf" in node or "$ref" in node:
        tidy.pop("title", None)
    return {**tidy, **{key: node[key] for key in _VERBATIM if key in node}}


#: Data, whatever its keys are called.
_VERBATIM = frozenset({"example", "examples", "default", "enum", "const"})


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    node = dict(node)
    some = [each for each in node.get("anyOf", ()) if each != {"type": "null"}]
    if "anyOf" in node and len(some) < len(node["anyOf"]):
        if node.get("default", ...) is None:
            del node["default"]
        if len(some) == 1:
            del node["anyOf"]
            return {**some[0], **node}
        node["anyOf"] = some
    return node
