"""The words of an evidence bundle: what failed and why, what its containers did, what its config changed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.verdict import GateResult


def summary_text(op: Operation, release: Release | None, good: Release | None) -> str:
    """What failed and why, who asked for it and when."""
    request, seen = op.request, op.verification
    facts: dict[str, object] = {
        "operation": f"{op.id}: {request.kind} of {request.ring}"
        + (f" from {request.source}" if request.source else ""),
        "asked by": op.actor.in_full,
        "asked at": op.created_at.isoformat(timespec="seconds"),
        "reason given": request.reason,
        "gates forced by": f"{request.override.by}: {request.override.reason}" if request.override else None,
        "release": _named(release),
        "compared with": _named(good),
        "what was wrong": seen.get("reason") or (op.failure.why if op.failure else None),
        "healthy": f"{seen['healthy']} of {seen['total']}" if "healthy" in seen and "total" in seen else None,
        "unhealthy": ", ".join(map(str, seen.get("unhealthy") or ())),
        "other images than the release's": ", ".join(map(str, seen.get("mismatched") or ())),
        "images tagged": op.forensics,
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items() if value)


def _named(release: Release | None) -> str | None:
    return f"{release.id} ({release.tag}, commit {release.commit})" if release else None


def inspect_text(containers: Sequence[ContainerView]) -> str:
    """What the engine says of each container; nothing of its environment or labels."""
    return "".join(_inspected(container) for container in containers)


def _inspected(one: ContainerView) -> str:
    facts: dict[str, object] = {
        "service": one.service,
        "status": one.status,
        "health": one.health,
        "exit code": one.exit_code,
        "restarts": one.restarts,
        "image": one.image_id,
        "started": one.started_at.isoformat() if one.started_at else None,
        "finished": one.finished_at.isoformat() if one.finished_at else None,
        "addresses": ", ".join(f"{name} {address}" for name, address in sorted(one.addresses.items())),
        "published": ", ".join(f"{port} on {at}:{on}" for port, (at, on) in sorted(one.published.items())),
    }
    told = "".join(f"  {name}: {value}\n" for name, value in facts.items() if value not in (None, ""))
    return f"{one.name}\n{told}"


def events_text(op: Operation) -> str:
    """The steps of the operation so far."""
    return "".join(
        f"{step.at.isoformat(timespec='seconds')} {step.phase}" + (f": {step.note}" if step.note else "") + "\n"
        for step in op.steps
    )


def gates_text(results: Sequence[GateResult]) -> str:
    """What each gate said, with what failed in it and the end of its log."""
    return "".join(_gate(result) for result in results) or "no gate was asked\n"


def _gate(result: GateResult) -> str:
    said = [f"{result.name}: {result.status} - {result.summary}"]
    said += [f"  failed: {item.id} {item.where or ''} {item.message}" for item in result.failed_items]
    said += [f"  seen: {fact.kind} {fact.ref}: {fact.value}" for fact in result.evidence]
    said += [f"  | {line}" for line in result.log_tail]
    if result.fix_hint:
        said.append(f"  hint: {result.fix_hint}")
    return "\n".join(said) + "\n"


def image_changes(before: Release | None, after: Release) -> list[str]:
    """Which services got another image, one line each."""
    old: Mapping[str, str] = before.images if before else {}
    return [
        f"image of {name}: {old.get(name, 'none')} -> {after.images.get(name, 'none')}"
        for name in sorted({*old, *after.images})
        if old.get(name) != after.images.get(name)
    ]


def diff_text(changes: Sequence[str], before: str, after: str, names: tuple[str, str]) -> str:
    """What changed in words, then as a unified diff of the two configs."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
    return "".join(f"{line}\n" for line in (*changes, *diff)) or "nothing changed\n"
