"""`python tests/config/write_schema.py` writes docs/rings.schema.json."""

from __future__ import annotations

import json

from config_kit import REPO, built_in_gates

from aither_rings_mcp.config import schema

FILE = REPO / "docs" / "rings.schema.json"


def current() -> str:
    return json.dumps(schema(built_in_gates()), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(current())
