"""Runs the gates of a path: side by side where they allow it, each within its limit; tells every verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
from pydantic import BaseModel, ValidationError

from aither_rings_mcp.domain.errors import ConfigInvalid, RingError
from aither_rings_mcp.domain.gate_order import after_faults
from aither_rings_mcp.domain.naming import digest
from aither_rings_mcp.domain.redact import plain, redact
from aither_rings_mcp.domain.settings import GateSpec
from aither_rings_mcp.domain.verdict import NOT_REACHED, Evidence, FailedItem, GateResult, Verdict
from aither_rings_mcp.ports import Clock, Finding, Gate, GateCache, GateContext

#: A gate that watches its own limit gets this long (seconds) to say what was still running at it.
LAST_WORDS = 1.0
#: The longest wait before another attempt, in seconds; the first is `limits.poll`, each next one twice that.
LONGEST_PAUSE = 10.0
_ITEMS, _EVIDENCE, _TAIL_LINES = 10, 20, 20
_TAIL_BYTES = 64 * 1024
_LINE, _LINES = 500, 12
_AGAIN = frozenset({Verdict.FAILED, Verdict.ERROR, Verdict.TIMEOUT})


class Gatekeeper:
    """Asks the gates. It knows them by type name; what is a gate's own fault never gets past it."""

    def __init__(self, gate_types: Mapping[str, type[Gate]], clock: Clock, cache: GateCache) -> None:
        self._gate_types = gate_types
        self._clock = clock
        self._cache = cache

    async def examine(
        self,
        specs: Sequence[GateSpec],
        context_for: Callable[[GateSpec], GateContext],
        on_result: Callable[[GateResult], None] | None = None,
    ) -> tuple[GateResult, ...]:
        """Every gate's answer, in the order of `specs`; `on_result` hears them in the order they come.

        Gates run side by side except for `after`: a gate is skipped when one it waits for did not pass.
        """
        _check_order(specs)
        contexts = {spec.label: context_for(spec) for spec in specs}
        answered = {spec.label: anyio.Event() for spec in specs}
        results: dict[str, GateResult] = {}

        async def take_turn(spec: GateSpec) -> None:
            for name in spec.after:
                await answered[name].wait()
            missed = [name for name in spec.after if results[name].status is not Verdict.PASSED]
            result = _left_out(spec, missed) if missed else await self._answer(spec, contexts[spec.label])
            results[spec.label] = result
            answered[spec.label].set()
            if on_result:
                on_result(result)

        try:
            async with anyio.create_task_group() as side_by_side:
                for spec in specs:
                    side_by_side.start_soon(take_turn, spec)
        except ExceptionGroup as group:
            # Gates cannot raise past `_attempt`, so this is `on_result`'s, and its caller knows it by type.
            raise group.exceptions[0] from group
        return tuple(results[spec.label] for spec in specs)

    async def _answer(self, spec: GateSpec, ctx: GateContext) -> GateResult:
        started = self._clock.monotonic()
        try:
            gate_type = self._gate_types.get(spec.gate)
            if gate_type is None:
                return _result(spec, _unknown(spec, self._gate_types), 0)
            options = gate_type.Options.model_validate(dict(spec.options))
            key = _cache_key(spec, gate_type, options, ctx) if spec.cache else None
        except ValidationError as error:
            return _result(spec, _presentable(_bad_options(spec, error)), 0)
        except Exception as error:  # foreign code too: the import of the gate, its own validators
            return _result(spec, _crashed(spec.gate, error), 0)
        if key and (known := self._cache.passed(key)):
            update = {"name": spec.label, "blocking": spec.blocking, "cached": True, "duration_ms": 0}
            return known.model_copy(update=update)

        limit = spec.limit or ctx.settings.limits.gate
        finding = await self._persist(spec, gate_type, options, replace(ctx, limit=limit))
        duration = round((self._clock.monotonic() - started) * 1000)
        result = _result(spec, finding, duration, ctx.log)
        if key and result.status is Verdict.PASSED:
            self._cache.remember(key, result)
        return result

    async def _persist(self, spec: GateSpec, gate_type: type[Gate], options: BaseModel, ctx: GateContext) -> Finding:
        """The finding of the first attempt that passes, or of the last; the limit is each attempt's own."""
        attempts = spec.retries + 1
        pause = ctx.settings.limits.poll
        attempt = 1
        finding = await _attempt(gate_type, options, ctx)
        while finding.status in _AGAIN and attempt < attempts:
            await self._clock.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2
            attempt += 1
            finding = await _attempt(gate_type, options, ctx)
        if attempts == 1:
            return finding
        return replace(finding, summary=f"attempt {attempt} of {attempts}: {finding.summary}")


async def _attempt(gate_type: type[Gate], options: BaseModel, ctx: GateContext) -> Finding:
    with anyio.move_on_after(ctx.limit + LAST_WORDS):
        try:
            return _presentable(await gate_type(options).check(ctx))
        except RingError as error:
            return _presentable(Finding(Verdict.ERROR, error.message, error.code, fix_hint=error.next_step))
        except Exception as error:  # foreign code: whatever it raises, the other gates' answers still count
            return _crashed(gate_type.__module__, error)
    return Finding(
        Verdict.TIMEOUT,
        f"it took longer than its limit of {ctx.limit:g} s and was stopped",
        "limit_reached",
        fix_hint="Look for what hangs at the end of the log; if it is slow by nature, raise its `limit`.",
    )


def _check_order(specs: Sequence[GateSpec]) -> None:
    if faults := after_faults(specs):
        raise ConfigInvalid(
            "the gates of this path cannot be run: " + "; ".join(fault.message for fault in faults),
            "Correct `name` and `after` of these gates in rings.yaml.",
        )


def _cache_key(spec: GateSpec, gate_type: type[Gate], options: BaseModel, ctx: GateContext) -> str:
    asked = json.dumps(options.model_dump(mode="json"), sort_keys=True)
    env = json.dumps(dict(ctx.env), sort_keys=True)
    return digest(ctx.release.id, spec.gate, gate_type.version, asked, env, str(ctx.cwd))


def _left_out(spec: GateSpec, missed: Sequence[str]) -> GateResult:
    summary = f"not run: {', '.join(missed)} did not pass"
    return _result(spec, Finding(Verdict.SKIPPED, summary, NOT_REACHED), 0)


def _unknown(spec: GateSpec, gate_types: Mapping[str, type[Gate]]) -> Finding:
    return Finding(
        Verdict.ERROR,
        f"there is no gate type {spec.gate!r} here",
        "gate_unknown",
        fix_hint=f"Install the package that brings it, or use one of {', '.join(sorted(gate_types))}.",
    )


def _bad_options(spec: GateSpec, error: ValidationError) -> Finding:
    """Without pydantic's own text, which repeats the input: an option may hold a secret."""
    items = tuple(
        FailedItem(id="with." + ".".join(str(part) for part in fault["loc"]), message=fault["msg"])
        for fault in error.errors(include_url=False, include_input=False)
    )
    return Finding(
        Verdict.ERROR,
        f"its options do not fit: {len(items)} fault{'s'[: len(items) != 1]}",
        "options_invalid",
        failed_items=items,
        fix_hint=f"Correct `with` of the gate {spec.label!r} in rings.yaml; docs/gates.md lists the options.",
    )


def _crashed(culprit: str, error: Exception) -> Finding:
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else culprit
    return Finding(
        Verdict.ERROR,
        "the gate itself crashed",
        "gate_crashed",
        # what it says may repeat what a test or a container wrote: never a part of the summary
        evidence=(Evidence(kind="exception", ref=where, value=_text(f"{type(error).__name__}: {error}")),),
        fix_hint=f"This is a fault in {culprit}, not in the release: fix or replace the gate.",
    )


def _presentable(found: object) -> Finding:
    """A gate's finding, redacted and bounded. Raises TypeError for anything else that a gate may return."""
    if not isinstance(found, Finding):
        raise TypeError(f"check() returned {type(found).__name__}, not a Finding")
    more = len(found.failed_items) - _ITEMS
    return Finding(
        status=Verdict(found.status),
        summary=_one_line(found.summary) + (f" (and {more} more that are not listed)" if more > 0 else ""),
        reason_code=found.reason_code,
        evidence=tuple(
            Evidence(kind=fact.kind, ref=_one_line(fact.ref), value=_text(fact.value))
            for fact in found.evidence[:_EVIDENCE]
        ),
        failed_items=tuple(
            FailedItem(
                id=_one_line(item.id),
                where=item.where and _one_line(item.where),
                message=_text(item.message),
            )
            for item in found.failed_items[:_ITEMS]
        ),
        fix_hint=_text(found.fix_hint) if found.fix_hint else None,
    )


def _result(spec: GateSpec, finding: Finding, duration_ms: int, log: Path | None = None) -> GateResult:
    """The finding as doors show it. A pass comes without the log's tail: nobody has to act on it."""
    tail = _tail(log) if log and finding.status is not Verdict.PASSED else ()
    kept = (Evidence(kind="log", ref=str(log), value="the full output"),) if tail else ()
    return GateResult(
        name=spec.label,
        status=finding.status,
        blocking=spec.blocking,
        duration_ms=duration_ms,
        summary=finding.summary,
        reason_code=finding.reason_code,
        evidence=(*finding.evidence, *kept),
        failed_items=finding.failed_items,
        log_tail=tail,
        fix_hint=finding.fix_hint,
    )


def _tail(log: Path) -> tuple[str, ...]:
    """The last lines of the log that are not blank."""
    if not log.is_file():
        return ()
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return tuple(_one_line(line) for line in lines if line.strip())[-_TAIL_LINES:]


def _text(text: str) -> str:
    """At most 12 lines of 500 characters, without secrets and without what steers a terminal."""
    clean = redact(plain(text))
    lines = [line if len(line) <= _LINE else line[: _LINE - 1] + "…" for line in clean.splitlines()]
    return "\n".join(lines if len(lines) <= _LINES else (*lines[: _LINES - 1], "…"))


def _one_line(text: str) -> str:
    line = " ".join(_text(text).split("\n"))
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"
