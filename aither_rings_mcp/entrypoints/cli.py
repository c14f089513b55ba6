"""`ring-ctl`: the rings from a terminal. Parses, and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from aither_rings_mcp import __version__
from aither_rings_mcp.domain.errors import InternalError, InvalidArguments, RingError
from aither_rings_mcp.domain.redact import redact
from aither_rings_mcp.entrypoints import cli_act, cli_look, cli_repair, cli_serve, cli_token
from aither_rings_mcp.entrypoints.cli_session import Build, BuildDrill, Builders, Session

if TYPE_CHECKING:
    from aither_rings_mcp.manager.drill import Drill
    from aither_rings_mcp.manager.ring_manager import RingManager


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


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Look": cli_look.COMMANDS,
    "Act": cli_act.COMMANDS,
    "Repair": cli_repair.COMMANDS,
    "Access": cli_serve.COMMANDS,
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
    app.add_typer(cli_token.app, rich_help_panel="Access")
    return app


def _real_manager(config: Path | None) -> RingManager:
    from aither_rings_mcp.wiring import build_manager

    return build_manager(config)


def main() -> None:
    """The console script."""
    create_app(_real_manager)(prog_name="ring-ctl")


if __name__ == "__main__":
    main()
