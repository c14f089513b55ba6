"""The working tree, for gates that read it: is it what the release was built from, and where in it is a line?"""

from __future__ import annotations

from pathlib import Path

from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.ports import Finding, GateContext


def source_changed(ctx: GateContext) -> Finding | None:
    """Why this tree says nothing about the release; None when it does, or when the release names no source."""
    if not ctx.release.source_digest or ctx.source_digest() == ctx.release.source_digest:
        return None
    return Finding(
        Verdict.ERROR,
        f"the working tree is not the one {ctx.release.id} was built from any more",
        "source_changed",
        fix_hint="`ring-ctl deploy dev --build` makes a release of the tree as it is now; then promote that.",
    )


def place(ctx: GateContext, path: str, line: int | str) -> str:
    """`file:line`, the file as seen from the folder of rings.yaml where it lies below it."""
    file, root = Path(path), ctx.root.resolve()
    return f"{file.relative_to(root) if file.is_relative_to(root) else file}:{line}"
