"""Hands out evidence: a bundle's sections, or what the journal tells where no bundle is kept."""

from __future__ import annotations

from aither_rings_mcp.domain.answers import EvidenceAnswer, NextAction
from aither_rings_mcp.domain.errors import InvalidArguments, RingError
from aither_rings_mcp.domain.evidence import Bundle, SectionFacts, cleaned, draft, fit, page
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.domain.secrecy import known_secrets
from aither_rings_mcp.manager.evidence import told
from aither_rings_mcp.manager.world import World


def handed_out(world: World, operation_id: str, section: str | None, cursor: int | None) -> EvidenceAnswer:
    """The sections kept of an operation, or a part of one. Without a bundle: what its journal tells.

    Raises `operation_not_found`, and `invalid_arguments` for a section that it does not have.
    """
    bundle = world.evidence.load(operation_id)
    texts: dict[str, str] = {}
    if bundle is None:
        op = world.journals.load(operation_id)
        secrets = _secrets_of(world, op)
        sections = fit(cleaned(draft(name, text), secrets) for name, text in told(op).items())
        texts = {one.name: one.text for one in sections}
        bundle = Bundle(
            operation_id=op.id,
            ring=op.request.ring,
            release=op.release.id if op.release else None,
            collected_at=op.updated_at,
            sections=tuple(one.facts for one in sections),
        )
    known = {facts.name: facts for facts in bundle.sections}
    if section is None:
        return _index(world, bundle, kept=not texts)
    if section not in known:
        raise InvalidArguments(
            f"{bundle.operation_id} has no section of that name",
            f"Its sections are {', '.join(known)}.",
            sections=list(known),
        )
    text = texts.get(section) or ("" if texts else world.evidence.text(bundle.operation_id, section))
    return _read(world, bundle, known[section], text, cursor or 0)


def _index(world: World, bundle: Bundle, *, kept: bool) -> EvidenceAnswer:
    names = [facts.name for facts in bundle.sections]
    about = f"{bundle.operation_id} ({bundle.ring})"
    first = [name for name in ("summary", "logs", "config_diff") if name in names] or names[:1]
    return EvidenceAnswer(
        ok=True,
        summary=f"The evidence of {about} has {len(names)} sections; read one by its name."
        if kept
        else f"No bundle is kept of {about}; its journal tells {' and '.join(names)}.",
        next_actions=tuple(_reading(bundle, name, f"read its {name}") for name in first),
        as_of=world.clock.now(),
        operation_id=bundle.operation_id,
        ring=bundle.ring,
        release=bundle.release,
        sections=bundle.sections,
    )


def _read(world: World, bundle: Bundle, facts: SectionFacts, text: str, cursor: int) -> EvidenceAnswer:
    part, following = page(text, cursor)
    until = following if following is not None else facts.bytes
    return EvidenceAnswer(
        ok=True,
        summary=f"Bytes {cursor} to {until} of the {facts.bytes} of {facts.name}, evidence of {bundle.operation_id}.",
        next_actions=(_reading(bundle, facts.name, "read on", following),) if following is not None else (),
        as_of=world.clock.now(),
        operation_id=bundle.operation_id,
        ring=bundle.ring,
        release=bundle.release,
        sections=bundle.sections,
        section=facts.name,
        text=part,
        cursor=cursor,
        next_cursor=following,
    )


def _reading(bundle: Bundle, section: str, why: str, cursor: int | None = None) -> NextAction:
    arguments: dict[str, object] = {"operation_id": bundle.operation_id, "section": section}
    if cursor is not None:
        arguments["cursor"] = cursor
    return NextAction(tool="ring_evidence", arguments=arguments, why=why)


def _secrets_of(world: World, op: Operation) -> frozenset[str]:
    try:
        return known_secrets(world.releases.config(op.release.id)) if op.release else frozenset()
    except RingError:  # a release that was never stored ran with no config of its own
        return frozenset()
