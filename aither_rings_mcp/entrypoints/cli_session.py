"""One call of `ring-ctl`: asks the manager, shows its answer, and leaves with the exit code it stands for."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from aither_rings_mcp.domain.errors import EngineFailure, Exit, InvalidArguments, RingError

# Values, rich and the manager are imported where they are used: `--help` and Tab should not wait for them.
if TYPE_CHECKING:
    from aither_rings_mcp.domain.answers import Answer
    from aither_rings_mcp.domain.model import Actor, Override
    from aither_rings_mcp.entrypoints.cli_watch import Watcher
    from aither_rings_mcp.manager.drill import Drill
    from aither_rings_mcp.manager.ring_manager import RingManager

Build = Callable[[Path | None], "RingManager"]
BuildDrill = Callable[[], "Drill"]

OUTCOME_EXITS = {
    "blocked": Exit.BLOCKED, "approval_required": Exit.BLOCKED, "declined_or_unavailable": Exit.BLOCKED,
    "refused": Exit.BLOCKED, "cancelled": Exit.BLOCKED, "rolled_back": Exit.BAD_RELEASE,
    "unhealthy": Exit.BAD_RELEASE, "stuck": Exit.STUCK, "interrupted": Exit.INTERNAL,
}  # fmt: skip
#: `internal` is the engine saying no here: an operation that met a bug is left interrupted, not failed.
_EXIT_OF_CODE = {kind.code: kind.exit_code for kind in (*RingError.__subclasses__(), EngineFailure)}
#: What a shell reports for a program ended by Ctrl-C.
INTERRUPTED = 130


class Interrupted(RingError):
    """Ctrl-C: the person stopped watching, which stops nothing else."""

    code = "interrupted"


@dataclass(frozen=True)
class Session:
    """The global options of one call."""

    build: Build
    build_drill: BuildDrill
    config: Path | None
    as_json: bool
    verbose: bool


@dataclass(frozen=True)
class Builders:
    """What commands work with, built only when they run."""

    manager: Build
    drill: BuildDrill


def exit_code(answer: Answer) -> Exit:
    """The exit code that an answer's own outcome stands for."""
    from aither_rings_mcp.domain import answers as a
    from aither_rings_mcp.domain.verdict import blocking

    match answer:
        case a.RollbackAnswer(outcome="rolled_back"):
            return Exit.DONE
        case a.PromoteAnswer() | a.RollbackAnswer() | a.DeployAnswer() | a.LifecycleAnswer():
            # Running, but not ok: its worker is gone, and nobody is at it until `recover`.
            outcome = "interrupted" if answer.outcome == "running" and not answer.ok else answer.outcome
            return OUTCOME_EXITS.get(outcome, Exit.DONE)
        case a.GatesAnswer():
            return Exit.BLOCKED if blocking(answer.gates) else Exit.DONE
        case a.VerifyAnswer(ok=False):
            return Exit.STATE
        case a.RecoverAnswer():
            return max((OUTCOME_EXITS.get(phase, Exit.DONE) for phase in answer.ends.values()), default=Exit.DONE)
        case a.DrillAnswer(ok=False):
            return Exit.INTERNAL
        case a.TunnelAnswer(ok=False):
            return Exit.BAD_REQUEST
        case a.DoctorAnswer(ok=False):
            engine = any(finding.check == "engine" and not finding.ok for finding in answer.findings)
            return Exit.ENGINE if engine else Exit.BLOCKED
        case _:
            return Exit.DONE


def operation_exit(answer: Answer) -> Exit:
    """The exit code of the operation itself: what its own command would have exited with."""
    from aither_rings_mcp.domain.answers import OperationAnswer
    from aither_rings_mcp.domain.rollout import Kind

    assert isinstance(answer, OperationAnswer)  # noqa: S101 - the manager's `operation` answers nothing else
    match answer.status:
        case "failed":
            return _EXIT_OF_CODE.get(str((answer.error or {}).get("code")), Exit.INTERNAL)
        case "done" if answer.kind is not Kind.ROLLBACK:
            # Done, and yet `unhealthy`: a ring that keeps its bad releases.
            return OUTCOME_EXITS.get(str((answer.result or {}).get("outcome")), Exit.DONE)
        case "done" | "running":
            return Exit.DONE
        case _:
            return OUTCOME_EXITS[answer.status]


def ask(
    ctx: typer.Context,
    question: Callable[[RingManager, Watcher], Awaitable[Answer]],
    judge: Callable[[Answer], Exit] = exit_code,
) -> NoReturn:
    """One command: ask the manager, show its answer, leave with its exit code."""
    session: Session = ctx.obj
    answered(session, lambda watcher: question(session.build(session.config), watcher), judge)


def answered(
    session: Session, work: Callable[[Watcher], Awaitable[Answer]], judge: Callable[[Answer], Exit] = exit_code
) -> NoReturn:
    """Shows what `work` answers and leaves with its exit code."""
    from aither_rings_mcp.entrypoints.cli_render import show, show_error
    from aither_rings_mcp.entrypoints.cli_watch import Watcher

    async def done(watcher: Watcher) -> Answer:
        return await work(watcher)

    # Whatever a library prints belongs to the log: stdout is for the answer alone.
    with redirect_stdout(sys.stderr), Watcher(session.verbose) as watcher:
        try:
            answer = asyncio.run(done(watcher))
        except KeyboardInterrupt:
            answer = None
    if answer is None:
        show_error(_interrupted(watcher.operation_id), session.as_json)
        raise typer.Exit(INTERRUPTED)
    show(answer, session.as_json)
    raise typer.Exit(judge(answer))


def _interrupted(operation_id: str | None) -> Interrupted:
    if operation_id is None:
        return Interrupted("stopped before an answer came", "`ring-ctl status` shows whether anything runs.")
    return Interrupted(
        f"stopped watching; operation {operation_id} goes on by itself",
        f"`ring-ctl operation {operation_id} --follow` watches it again, "
        f"`ring-ctl cancel {operation_id} --reason TEXT` asks to give it up.",
        operation_id=operation_id,
    )


def actor() -> Actor:
    """The person at this terminal: the account the kernel knows, not what the environment says."""
    import pwd

    from aither_rings_mcp.domain.model import Actor

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's arbitrary uid has no account
        name = f"uid {os.getuid()}"
    return Actor(name=name, kind="person", door="cli")


def overriding(force: bool, reason: str | None) -> Override | None:
    """The bypass that `--force --reason TEXT` asks for; force without a reason is refused."""
    if not force:
        return None
    from pydantic import ValidationError

    from aither_rings_mcp.domain.model import Override

    try:
        return Override(by=actor().name, reason=(reason or "").strip())
    except ValidationError:
        raise InvalidArguments(
            "--force needs --reason TEXT, in three letters or more",
            "Say why the gates may be bypassed: the reason stays in the history and with this release.",
        ) from None


def seconds(duration: str) -> float:
    """A duration as people write it, in seconds; `invalid_arguments` for anything else."""
    from pydantic import TypeAdapter, ValidationError

    from aither_rings_mcp.domain.settings import Duration

    try:
        return TypeAdapter[float](Duration).validate_python(duration)
    except ValidationError:
        raise InvalidArguments(f"{duration[:40]!r} is no duration", "Write 90s, 2m, 24h or 7d.") from None
