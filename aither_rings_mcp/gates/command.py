"""`command`: a program of yours, judged by its exit code."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.verdict import Evidence, Verdict
from aither_rings_mcp.ports import Finding, GateContext


class Command:
    """Runs one argv, without a shell, in the gate's `cwd`.

    It is told what it judges by RINGS_RELEASE, RINGS_COMMIT, RINGS_RING (which runs it) and RINGS_TARGET.
    """

    version: ClassVar[str] = "1"

    class Options(Value):
        argv: Annotated[tuple[str, ...], Field(min_length=1, description="the program and its arguments")]
        exit_codes: Annotated[tuple[int, ...], Field(min_length=1, description="those that pass")] = (0,)

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        program = self._options.argv[0]
        told = {
            "RINGS_RELEASE": ctx.release.id,
            "RINGS_COMMIT": ctx.release.commit,
            "RINGS_RING": ctx.release.ring,
            "RINGS_TARGET": ctx.target,
        }
        done = await ctx.commands.run(
            self._options.argv, cwd=ctx.cwd, env={**told, **ctx.env}, limit=ctx.limit, log=ctx.log
        )
        last = "\n".join(done.output.splitlines()[-10:])
        evidence = (
            Evidence(kind="exit_code", ref=program, value=str(done.code)),
            *((Evidence(kind="output", ref=program, value=last),) if last.strip() else ()),
        )
        if done.timed_out:
            return Finding(Verdict.TIMEOUT, f"{program} took longer than {ctx.limit:g} s", "limit_reached", evidence)
        if done.code in self._options.exit_codes:
            return Finding(Verdict.PASSED, f"{program} ended with exit code {done.code}", evidence=evidence[:1])
        if done.code in {126, 127}:
            return Finding(
                Verdict.ERROR,
                f"{program} could not be run",
                "command_not_found",
                evidence,
                fix_hint="Give its full path, or put its folder on PATH with the gate's `env`.",
            )
        wanted = " or ".join(str(code) for code in self._options.exit_codes)
        return Finding(
            Verdict.FAILED,
            f"{program} ended with {_ending(done.code)}, wanted exit code {wanted}",
            "exit_code",
            evidence,
        )


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
