"""The gates of a path, run against the release that would move along it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from aither_rings_mcp.domain.answers import Progress
from aither_rings_mcp.domain.approval import same_asker
from aither_rings_mcp.domain.model import Actor, Release
from aither_rings_mcp.domain.plan import Plan
from aither_rings_mcp.domain.rollout import Phase
from aither_rings_mcp.domain.settings import GateSpec
from aither_rings_mcp.domain.settings import Path as RingPath
from aither_rings_mcp.domain.verdict import GateResult
from aither_rings_mcp.manager.approval_events import said_to
from aither_rings_mcp.manager.operations import Watch
from aither_rings_mcp.manager.stage import Stage
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import GateContext, OnLine


@dataclass(frozen=True)
class PlanDesk:
    """A person's answer to one plan (`ports.ApprovalDesk`). That of `asker`, who wants the change, does not count."""

    world: World
    plan: Plan | None
    asker: Actor | None = None

    async def approved_by(self) -> str | None:
        return self._answer("approved")

    async def rejected_by(self) -> str | None:
        return self._answer("rejected")

    def _answer(self, decision: str) -> str | None:
        if self.plan is None:
            return None
        answer = said_to(self.world, self.plan)
        if answer is None or answer[0] != decision or (self.asker and same_asker(self.asker, answer[1])):
            return None
        return str(answer[1])


async def examine(
    world: World,
    path: RingPath,
    tested: Release,
    plan: Plan | None,
    asker: Actor,
    logs: Path,
    on_line: OnLine,
    on_result: Callable[[GateResult], None] | None = None,
) -> tuple[GateResult, ...]:
    """Every gate's answer about `tested`, which `asker` wants moved, in the order of the path.

    A preview, if needed, is gone afterwards.
    """
    preview = world.settings.rings[path.source].preview
    async with Stage(world, tested, preview, on_line) as stage:
        return await _asked(world, path, tested, stage, PlanDesk(world, plan, asker), logs, on_result)


async def watched(
    world: World, path: RingPath, tested: Release, plan: Plan, watch: Watch | None
) -> tuple[GateResult, ...]:
    """The same outside of any operation, each line told to whoever watches as it comes."""
    said, heard = anyio.create_memory_object_stream[str](math.inf)
    results: tuple[GateResult, ...] = ()
    began = world.clock.monotonic()

    async def tell() -> None:
        async for line in heard:
            if watch:
                elapsed = world.clock.monotonic() - began
                await watch(
                    Progress(operation_id=plan.id, phase=Phase.GATING, percent=50, message=line, elapsed_s=elapsed)
                )

    def told(result: GateResult) -> None:
        said.send_nowait(f"gate {result.name}: {result.status} - {result.summary}")

    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        with said:
            logs = world.journals.folder(f"op-{plan.id}") / "gates"
            results = await examine(world, path, tested, plan, plan.by, logs, said.send_nowait, told)
    return results


async def examine_in(
    world: World, path: RingPath, release: Release, project: str, logs: Path, on_line: OnLine
) -> tuple[GateResult, ...]:
    """The answers about a release that runs as `project`, and is looked at there."""
    async with Stage(world, release, None, on_line, project) as stage:
        return await _asked(world, path, release, stage, PlanDesk(world, None), logs, None)


async def _asked(
    world: World,
    path: RingPath,
    tested: Release,
    stage: Stage,
    desk: PlanDesk,
    logs: Path,
    on_result: Callable[[GateResult], None] | None,
) -> tuple[GateResult, ...]:
    def context_for(spec: GateSpec) -> GateContext:
        return GateContext(
            settings=world.settings,
            release=tested,
            target=path.target,
            root=world.root,
            cwd=world.root / spec.cwd,
            env=spec.env,
            limit=spec.limit or world.settings.limits.gate,
            log=logs / f"{spec.label}.log",
            commands=world.commands,
            engine=world.engine,
            health=stage,
            services=stage,
            approval=desk,
            source_digest=world.source.digest,
        )

    return await world.gatekeeper.examine(path.gates, context_for, on_result)
