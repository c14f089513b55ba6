"""Plans: minted for a draft, checked again before they are applied, answered by a person."""

from __future__ import annotations

import secrets
from datetime import timedelta

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.answers import ApprovalAnswer, ApprovalView, BlastRadius, NextAction, PlanAnswer
from aither_rings_mcp.domain.errors import InvalidArguments, PlanExpired
from aither_rings_mcp.domain.freeze import freeze_of
from aither_rings_mcp.domain.freeze import warning as freeze_warning
from aither_rings_mcp.domain.model import Actor, Event
from aither_rings_mcp.domain.plan import Plan, changes, plan_hash
from aither_rings_mcp.domain.settings import Strategy
from aither_rings_mcp.manager import outcomes
from aither_rings_mcp.manager.gating import needs_approval
from aither_rings_mcp.manager.planning import Draft, check_fits, ports_of
from aither_rings_mcp.manager.strategies import choose, foreign
from aither_rings_mcp.manager.world import World

_DOWNTIME = {
    Strategy.BLUE_GREEN: "none: users go over in one step, once it has proved itself",
    Strategy.ROLLING: "none: users go over service by service",
    Strategy.RECREATE: "each service restarts once; seconds without an answer",
}


class PlanBook:
    """The plans of one installation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def mint(self, draft: Draft, source: str, target: str, actor: Actor) -> Plan:
        """A plan for `draft` that can be applied until it expires."""
        now = self._world.clock.now()
        replaces = draft.replaces.release
        plan = Plan(
            id=f"plan-{secrets.token_hex(4)}",
            hash=plan_hash(source, target, draft.release.id, draft.release.images, replaces),
            source=source,
            target=target,
            release=draft.release.id,
            images=draft.release.images,
            replaces=replaces,
            created_at=now,
            expires_at=now + timedelta(seconds=self._life(source, target)),
            by=actor,
        )
        self._world.plans.save(plan)
        return plan

    def _life(self, source: str, target: str) -> float:
        """A plan that waits for a person has to live as long as the answer may take."""
        limits = self._world.settings.limits
        waits = needs_approval(policy.known_path(self._world.settings, source, target))
        return max(limits.plan, limits.approval) if waits else limits.plan

    def fitting(self, plan_id: str, draft: Draft, source: str, target: str) -> Plan:
        """The named plan, if it is for this path, in time, and still says what would happen."""
        plan = self._world.plans.load(plan_id)
        if (plan.source, plan.target) != (source, target):
            raise InvalidArguments(
                f"plan {plan.id} is for {plan.source} -> {plan.target}", f"Make one: `ring-ctl plan {source} {target}`."
            )
        if self._world.clock.now() >= plan.expires_at:
            raise PlanExpired(
                f"plan {plan.id} expired at {plan.expires_at:%Y-%m-%d %H:%M:%SZ}",
                f"Make a new one: `ring-ctl plan {source} {target}`.",
            )
        check_fits(plan, draft)
        return plan

    async def shown(self, draft: Draft, plan: Plan) -> PlanAnswer:
        """The plan as every door shows it."""
        world, target = self._world, plan.target
        path = policy.known_path(self._world.settings, plan.source, target)
        gate = world.is_gate(target)
        now_running = draft.replaces.release
        before = world.releases.load(now_running).images if now_running else dict[str, str]()
        rows = changes(before, draft.release.images, gate)
        warnings = list(draft.warnings)
        choice = None if gate else await choose(world, draft.release, draft.config)
        warnings += (*choice.warnings, *await foreign(world, draft.release)) if choice else ()
        if not gate and now_running is None:
            warnings.append(f"{target} runs nothing yet: there is no release to go back to")
        freeze = freeze_of(draft.replaces, world.settings.rings[target].freeze, world.clock.now())
        if freeze:
            warnings.append(freeze_warning(freeze, target))
        asks, critical = needs_approval(path), world.settings.critical
        return PlanAnswer(
            ok=True,
            summary=f"{plan.source} -> {target}: {len(rows)} services "
            + ("tagged as candidate, nothing restarts." if gate else f"come to run {draft.release.tag}."),
            # what would only be refused makes no sense now
            next_actions=()
            if freeze
            else (
                NextAction(
                    tool="ring_promote",
                    arguments={"source": plan.source, "target": target, "plan_id": plan.id},
                    why="apply exactly this plan",
                ),
            ),
            as_of=world.clock.now(),
            plan_id=plan.id,
            plan_hash=plan.hash,
            expires_at=plan.expires_at,
            source=plan.source,
            target=target,
            release=draft.release.id,
            changes=rows,
            gates=tuple(spec.label + ("" if spec.blocking else " (optional)") for spec in path.gates),
            strategy=choice.strategy if choice else "tag",
            blast_radius=BlastRadius(
                services=0 if gate else len(rows),
                critical=() if gate else tuple(row.service for row in rows if row.service in critical),
                ports=() if gate else ports_of(draft),
                downtime=_DOWNTIME[choice.strategy] if choice else "none: nothing restarts",
            ),
            approval=ApprovalView(required=asks, ways=outcomes.approval_ways(plan.id) if asks else ()),
            rollback_to=None if gate else now_running,
            warnings=tuple(warnings),
        )

    def answered(self, plan_id: str, approved: bool, actor: Actor, note: str | None) -> ApprovalAnswer:
        """A person's yes or no to exactly one plan; told to the history."""
        world = self._world
        plan, now = world.plans.load(plan_id), world.clock.now()
        world.plans.answer(plan, approved, actor, note, now)
        decision = "approved" if approved else "rejected"
        world.history.append(
            Event(
                at=now,
                ring=plan.target,
                event="approval",
                outcome=decision,
                operation=plan.id,
                to=plan.release,
                actor=str(actor),
                reason=note,
            )
        )
        return ApprovalAnswer(
            ok=True,
            summary=f"Plan {plan.id} ({plan.source} -> {plan.target}, {plan.release}) is {decision}.",
            next_actions=(
                NextAction(
                    tool="ring_promote",
                    arguments={"source": plan.source, "target": plan.target, "plan_id": plan.id},
                    why="apply the approved plan",
                ),
            )
            if approved
            else (),
            as_of=now,
            plan_id=plan.id,
            decision=decision,
            by=str(actor),
        )
