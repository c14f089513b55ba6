"""Commands of the user's own, run at named moments of a rollout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import anyio

from aither_rings_mcp.domain.errors import EngineFailure
from aither_rings_mcp.domain.log_lines import quoted
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine

Moment = Literal["pre_promote", "post_promote", "pre_rollback", "post_rollback"]


async def run(world: World, op: Operation, moment: Moment, say: OnLine, *, to: str | None) -> None:
    """Runs the ring's hook for this moment, if it has one; `to` is the release that the ring goes to.

    The command is told by RINGS_HOOK, RINGS_RING, RINGS_OPERATION, RINGS_FROM and RINGS_TO. Raises `EngineFailure`
    when it fails. After a crash it may run again for the same operation.
    """
    hook = getattr(world.settings.rings[op.request.ring].hooks, moment)
    if hook is None:
        return
    leaving = op.release.id if op.release and op.release.id != to else op.previous
    told = {
        "RINGS_HOOK": moment,
        "RINGS_RING": op.request.ring,
        "RINGS_OPERATION": op.id,
        "RINGS_FROM": leaving or "",
        "RINGS_TO": to or "",
    }
    say(f"hook {moment}: {hook.argv[0]}")
    done = await world.commands.run(
        hook.argv,
        cwd=world.root / hook.cwd,
        env={**told, **hook.env},
        limit=hook.limit,
        log=world.journals.folder(op.id) / f"{moment}.log",
        on_line=lambda line: say(quoted(moment, line)),
    )
    if done.timed_out:
        raise EngineFailure(
            f"the hook {moment} did not end within {hook.limit:g} s", "Make it quicker, or raise its limit."
        )
    if done.code != 0:
        raise EngineFailure(
            f"the hook {moment} ended with exit code {done.code}",
            f"Look at the operation's log (`ring-ctl operation {op.id} --log`), mend the hook, then ask again.",
            log_tail=done.tail(),
        )


async def run_unless(
    world: World, op: Operation, moment: Moment, say: OnLine, *, to: str | None, stop: Callable[[], Awaitable[str]]
) -> None:
    """The same as `run_or_say`, ended as soon as `stop` says why."""
    if getattr(world.settings.rings[op.request.ring].hooks, moment) is None:
        return
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            say(f"the hook {moment} is stopped: {await stop()}")
            group.cancel_scope.cancel()

        group.start_soon(watch)
        await run_or_say(world, op, moment, say, to=to)
        group.cancel_scope.cancel()


async def run_or_say(world: World, op: Operation, moment: Moment, say: OnLine, *, to: str | None) -> None:
    """The same where a failure must not stand in the way: it is said in the operation's log."""
    try:
        await run(world, op, moment, say, to=to)
    except EngineFailure as error:
        say(error.message)
