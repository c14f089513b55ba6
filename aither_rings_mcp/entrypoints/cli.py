"""`ring-ctl`: the rings from a terminal. Parses, asks the manager, renders, exits by what was answered."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from aither_rings_mcp import __version__
from aither_rings_mcp.domain.errors import EngineFailure, Exit, InternalError, InvalidArguments, RingError
from aither_rings_mcp.domain.redact import redact

# Values, rich and the manager are imported where they are used: `--help` and Tab should not wait for them.
if TYPE_CHECKING:
    from aither_rings_mcp.domain.answers import Answer, EvidenceAnswer, OperationAnswer
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


class Door(TyperGroup):
    """The group of all commands, and the one place where errors become messages and exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        words = _globals_first(sys.argv[1:] if args is None else args)
        as_json = "--json" in words
        try:
            code = super().main(words or ["--help"], prog_name, complete_var, standalone_mode=False, **extra)
        except typer.TyperException as error:
            path = getattr(getattr(error, "ctx", None), "command_path", "ring-ctl")
            usage = InvalidArguments(error.format_message(), f"`{path} --help` shows what it takes.")
            code = _refuse(usage, as_json)
        except RingError as error:
            code = _refuse(error, as_json)
        except Exception as error:
            if os.environ.get("RINGS_DEBUG") == "1":
                traceback.print_exc()
            what = redact(f"{type(error).__name__}: {error}")
            code = _refuse(InternalError(what, "This is a bug; RINGS_DEBUG=1 shows where it is."), as_json)
        sys.exit(code or 0)


def _globals_first(args: Sequence[str]) -> list[str]:
    """The words with the global options moved before the command, wherever they were typed."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--config":
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word in {"--json", "--verbose", "-v"} or word.startswith("--config="):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


def _refuse(error: RingError, as_json: bool) -> int:
    from aither_rings_mcp.entrypoints.cli_render import show_error

    show_error(error, as_json)
    return error.exit_code


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


def complete_ring(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ring names from the config, for Tab."""
    root = ctx.find_root()
    try:
        rings = list(root.obj.manager(root.params.get("config")).settings.rings)
    except Exception:  # Tab offers nothing rather than a trace
        return []
    return [ring for ring in rings if ring.startswith(incomplete)]


def complete_up(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ring names and the backbone, for Tab."""
    return [*complete_ring(ctx, incomplete), *(["shared"] if "shared".startswith(incomplete) else [])]


_RING = typer.Argument(metavar="RING", help="A ring of rings.yaml.", autocompletion=complete_ring)
Ring = Annotated[str, _RING]
MaybeRing = Annotated[str | None, _RING]
Project = Annotated[
    str, typer.Argument(metavar="RING", help="A ring, or `shared`: the backbone.", autocompletion=complete_up)
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="The ring it leaves.", autocompletion=complete_ring)]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="The ring it enters.", autocompletion=complete_ring)]
OperationId = Annotated[str, typer.Argument(metavar="ID", help="An operation's id.")]
PlanId = Annotated[str, typer.Argument(metavar="PLAN_ID", help="The plan that waits for an answer.")]
Wait = Annotated[
    float | None,
    typer.Option(metavar="S", min=0, help="Seconds to wait, then leave it running; without: until it ends."),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the history.")]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="A word to whoever asked.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


def status(
    ctx: typer.Context,
    ring: MaybeRing = None,
    detailed: Annotated[bool, typer.Option("--detailed", help="With the image of every service.")] = False,
) -> None:
    """Show what every ring runs, since when, and what it could go back to."""
    ask(ctx, lambda manager, _: manager.status(ring, detailed=detailed))


def health(ctx: typer.Context, ring: Ring) -> None:
    """Probe every service of a ring, now."""
    ask(ctx, lambda manager, _: manager.health(ring))


def history(
    ctx: typer.Context,
    ring: Annotated[
        str | None,
        typer.Argument(
            metavar="RING|verify", help="One ring; `verify` proves the chain.", autocompletion=complete_ring
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="How many events.")] = 10,
    cursor: Annotated[str | None, typer.Option(metavar="C", help="Where the last page ended.")] = None,
) -> None:
    """Show what happened, newest first; `history verify` proves that nothing was changed or lost."""
    if ring == "verify":
        ask(ctx, lambda manager, _: manager.verify_history())
    ask(ctx, lambda manager, _: manager.history(ring, limit=limit, cursor=cursor))


def plan(ctx: typer.Context, source: Source, target: Target) -> None:
    """Show what a promotion would change, service by service, and do nothing."""
    ask(ctx, lambda manager, _: manager.plan(source, target, actor()))


def gates(ctx: typer.Context, source: Source, target: Target) -> None:
    """Run the gates of a path and promote nothing."""
    ask(ctx, lambda manager, watch: manager.gates(source, target, actor(), watch=watch))


def operation(
    ctx: typer.Context,
    operation_id: OperationId,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it to its end, exit by its result.")] = False,
    log: Annotated[bool, typer.Option("--log", help="With what its builds and gates wrote.")] = False,
    evidence: Annotated[bool, typer.Option("--evidence", help="What was seen of a release that failed.")] = False,
    section: Annotated[str | None, typer.Option(metavar="NAME", help="One section of the evidence, whole.")] = None,
) -> None:
    """Show how far an operation has come."""
    if section is not None and not evidence:
        raise InvalidArguments("--section is a part of the evidence", "Add --evidence.")
    if evidence and (follow or log):
        raise InvalidArguments("--evidence is looked at by itself", "Leave out --follow and --log.")
    if evidence:
        ask(ctx, lambda manager, _: _evidence(manager, operation_id, section))

    async def look(manager: RingManager, watch: Watcher) -> Answer:
        if follow:
            seen = await manager.operation(operation_id, wait_s=None, watch=watch)
        else:
            seen = await manager.operation(operation_id)
        return await _with_log(manager, seen) if log else seen

    ask(ctx, look, operation_exit if follow else exit_code)


async def _evidence(manager: RingManager, operation_id: str, section: str | None) -> EvidenceAnswer:
    first = await manager.evidence(operation_id, section)
    pages, cursor = [first.text or ""], first.next_cursor
    while cursor is not None:
        following = await manager.evidence(operation_id, section, cursor)
        pages.append(following.text or "")
        cursor = following.next_cursor
    if len(pages) == 1:
        return first
    summary = f"All of {section}, evidence of {first.operation_id}."
    whole = {"summary": summary, "text": "".join(pages), "next_cursor": None, "next_actions": ()}
    return first.model_copy(update=whole)


async def _with_log(manager: RingManager, seen: OperationAnswer) -> OperationAnswer:
    from aither_rings_mcp.domain.answers import LogSlice

    lines: list[str] = []
    cursor: int | None = 0
    while cursor is not None:
        page = (await manager.operation(seen.operation_id, include_log=True, log_cursor=cursor)).log
        lines += page.lines if page else ()
        cursor = page.next_cursor if page else None
    return seen.model_copy(update={"log": LogSlice(lines=tuple(lines))})


def up(ctx: typer.Context, ring: Project, wait: Wait = None) -> None:
    """Start what is recorded of a ring."""
    ask(ctx, lambda manager, watch: manager.up(ring, actor(), wait_s=wait, watch=watch))


def down(ctx: typer.Context, ring: Project, wait: Wait = None) -> None:
    """Stop a ring; what is recorded of it stays."""
    ask(ctx, lambda manager, watch: manager.down(ring, actor(), wait_s=wait, watch=watch))


def deploy(
    ctx: typer.Context,
    ring: Ring,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="Build the images, or take those there are.")
    ] = True,
    wait: Wait = None,
) -> None:
    """Build the working tree and run it in dev, as a new release."""
    ask(ctx, lambda manager, watch: manager.deploy(ring, actor(), build=build, wait_s=wait, watch=watch))


def promote(
    ctx: typer.Context,
    source: Source,
    target: Target,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Only if this plan still holds.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Bypass the gates; needs --reason.")] = False,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = None,
) -> None:
    """Take a release one ring further, through its gates; a bad one is taken back."""
    override = overriding(force, reason)
    ask(
        ctx,
        lambda manager, watch: manager.promote(
            source, target, actor(),
            plan_id=plan, dry_run=dry_run, override=override, reason=reason, wait_s=wait, watch=watch,
        ),
    )  # fmt: skip


def rollback(
    ctx: typer.Context,
    ring: Ring,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Back to the release with this tag.")] = None,
    release: Annotated[str | None, typer.Option(metavar="ID", help="Back to exactly this release.")] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    wait: Wait = None,
) -> None:
    """Go back to the last release that proved itself, or to a named one."""
    ask(
        ctx,
        lambda manager, watch: manager.rollback(
            ring, actor(), tag=tag, release=release, reason=reason, dry_run=dry_run, wait_s=wait, watch=watch
        ),
    )


def approve(ctx: typer.Context, plan_id: PlanId, note: Note = None) -> None:
    """Say yes to a plan that waits for a person."""
    ask(ctx, lambda manager, _: manager.answer_plan(plan_id, True, actor(), note=note))


def reject(ctx: typer.Context, plan_id: PlanId, note: Note = None) -> None:
    """Say no to a plan that waits for a person."""
    ask(ctx, lambda manager, _: manager.answer_plan(plan_id, False, actor(), note=note))


def cancel(
    ctx: typer.Context,
    operation_id: OperationId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the history.")],
) -> None:
    """Give up an operation that has not touched anything yet."""
    ask(ctx, lambda manager, _: manager.cancel(operation_id, actor(), reason))


def recover(ctx: typer.Context, wait: Wait = None) -> None:
    """Finish or take back what an interrupted worker left half-done."""
    ask(ctx, lambda manager, watch: manager.recover(actor(), wait_s=wait, watch=watch))


def unlock(
    ctx: typer.Context,
    ring: Ring,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What was looked at and mended, for the history.")],
) -> None:
    """Take a stuck ring back into service, once a person has looked at it."""
    ask(ctx, lambda manager, _: manager.unlock(ring, actor(), reason))


def monitor(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One look at everything, then leave.")] = False,
) -> None:
    """Watch the rings, take back what goes bad after its promotion, and call a person when that is needed."""
    from aither_rings_mcp.entrypoints.cli_monitor import said, watch_rings

    if once:
        ask(ctx, lambda manager, _: manager.monitor(said).once())
    session: Session = ctx.obj
    with redirect_stdout(sys.stderr):
        asyncio.run(watch_rings(session.build(session.config).monitor(said)))


def doctor(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Without the looks from inside the containers.")] = False,
) -> None:
    """Check the engine, the files and, from inside the containers, that the rings are apart."""
    ask(ctx, lambda manager, _: manager.doctor("quick" if quick else "full"))


def drill(ctx: typer.Context) -> None:
    """Prove it on scratch rings: ship bad releases, kill what controls them, and see every promise hold."""
    from aither_rings_mcp.entrypoints.cli_drill import ended_like_ctrl_c
    from aither_rings_mcp.entrypoints.cli_monitor import said

    session: Session = ctx.obj
    with ended_like_ctrl_c():
        answered(session, lambda _: session.build_drill().run(said))


def url(
    ctx: typer.Context,
    ring: Ring,
    slot: Annotated[
        Literal["blue", "green"] | None, typer.Option(help="How to ask this slot, whichever one serves.")
    ] = None,
) -> None:
    """Show where people find the services of a ring."""
    from aither_rings_mcp.domain.slots import Slot

    ask(ctx, lambda manager, _: manager.url(ring, Slot(slot) if slot else None))


def tunnel(
    ctx: typer.Context,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Say whether this cloudflared config routes the same.")
    ] = None,
) -> None:
    """Print the routes of a Cloudflare tunnel to the rings, ready for its config; starts nothing."""
    from aither_rings_mcp.entrypoints.cli_tunnel import read_ingress

    found = None if check is None else read_ingress(check)
    ask(ctx, lambda manager, _: manager.tunnel(found))


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Look": (status, health, history, plan, gates, operation, url, tunnel),
    "Act": (up, down, deploy, promote, rollback, approve, reject, cancel),
    "Repair": (monitor, doctor, drill, recover, unlock),
}


def _print_version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        # --json is eager too, and `_globals_first` put it before.
        as_json = ctx.params.get("as_json")
        typer.echo(f'{{"ok": true, "version": "{__version__}"}}' if as_json else __version__)
        raise typer.Exit


def _globals(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The rings.yaml to use; without: RINGS_CONFIG, else ./rings.yaml."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", is_eager=True, help="One JSON document on stdout, also for errors.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also keep what builds and containers say on the way.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Move tested images from ring to ring on one Docker machine, and always be able to go back."""
    builders: Builders = ctx.obj
    ctx.obj = Session(builders.manager, builders.drill, config=config, as_json=as_json, verbose=verbose)


def _real_drill() -> Drill:
    from aither_rings_mcp.wiring import build_drill

    return build_drill()


def create_app(build: Build, build_drill: BuildDrill = _real_drill) -> typer.Typer:
    """The command line over the managers that `build` makes; commands build one only when they run."""
    app = typer.Typer(
        name="ring-ctl",
        cls=Door,
        pretty_exceptions_enable=False,
        # Reaches Tab completion too, which runs no callback.
        context_settings={"obj": Builders(build, build_drill), "help_option_names": ["-h", "--help"]},
    )
    app.callback()(_globals)
    for panel, commands in PANELS.items():
        for command in commands:
            app.command(rich_help_panel=panel)(command)
    return app


def _real_manager(config: Path | None) -> RingManager:
    from aither_rings_mcp.wiring import build_manager

    return build_manager(config)


def main() -> None:
    """The console script."""
    create_app(_real_manager)(prog_name="ring-ctl")


if __name__ == "__main__":
    main()
