"""Plans: minted for a draft, checked again before they are applied, shown."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from aither_rings_mcp.domain import approval
from aither_rings_mcp.domain.answers import ApprovalView, BlastRadius, PlanAnswer
from aither_rings_mcp.domain.composition import host_ports
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, PlanExpired
from aither_rings_mcp.domain.freeze import freeze_of
from aither_rings_mcp.domain.freeze import warning as freeze_warning
from aither_rings_mcp.domain.model import Actor, Override
from aither_rings_mcp.domain.plan import Change, Plan, changes, plan_hash
from aither_rings_mcp.domain.settings import Strategy
from aither_rings_mcp.manager.approval_events import said_to
from aither_rings_mcp.manager.planning import Draft, check_fits
from aither_rings_mcp.manager.strategies import choose, foreign
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import ComposeConfig

_DOWNTIME = {
    Strategy.BLUE_GREEN: "none: users go over in one step, once it has proved itself",
    Strategy.ROLLING: "none: users go over service by service",
    Strategy.RECREATE: "each service restarts once; seconds without an answer",
}


class PlanBook:
    """The plans of one installation."""

    def __init__(self, world: World) -> None:
        self._world = world

    def mint(self, draft: Draft, source: str, target: str, actor: Actor, override: Override | None = None) -> Plan:
        """A plan for `draft` that can be applied until it expires."""
        now = self._world.clock.now()
        plan = Plan(
            id=new_plan_id(),
            hash=_hash(draft, source, target, override),
            source=source,
            target=target,
            release=draft.release.id,
            images=draft.release.images,
            replaces=draft.replaces.release,
            created_at=now,
            expires_at=now + timedelta(seconds=self._life(source, target, actor, override)),
            by=actor,
            forced=override.reason if override else None,
        )
        self._world.plans.save(plan)
        return plan

    def looked_at(self, draft: Draft, source: str, target: str, actor: Actor, override: Override | None = None) -> Plan:
        """A plan to show: that which this asker was shown before, while most of its life is left; else a new one.

        Who looks every few seconds leaves no heap of plans behind. One that was answered is for what was asked then.
        """
        now, life = self._world.clock.now(), self._life(source, target, actor, override)
        content = _hash(draft, source, target, override)
        for plan in self._world.plans.unanswered(now):
            left = (plan.expires_at - now).total_seconds()
            if plan.hash == content and approval.same_asker(plan.by, actor) and left > life / 2:
                return plan
        return self.mint(draft, source, target, actor, override)

    def _life(self, source: str, target: str, actor: Actor, override: Override | None) -> float:
        """A plan that waits for a person has to live as long as the answer may take."""
        settings = self._world.settings
        waits = approval.has_gate(approval.gates_due(settings, source, target, actor, override))
        return max(settings.limits.plan, settings.limits.approval) if waits else settings.limits.plan

    def fitting(
        self, plan_id: str, draft: Draft, source: str, target: str, actor: Actor, override: Override | None = None
    ) -> Plan:
        """The named plan, if it is for this path, in time, and still says what would happen."""
        plan = self._world.plans.load(plan_id)
        if (plan.source, plan.target) != (source, target):
            raise InvalidArguments(
                f"plan {plan.id} is for {plan.source} -> {plan.target}",
                f"Make one: `ring-ctl plan {source} {target}` (tool: ring_plan).",
            )
        if self._world.clock.now() >= plan.expires_at:
            raise PlanExpired(
                f"plan {plan.id} expired at {plan.expires_at:%Y-%m-%d %H:%M:%SZ}",
                f"Make a new one: `ring-ctl plan {source} {target}` (tool: ring_plan).",
            )
        check_fits(plan, draft)
        due = approval.gates_due(self._world.settings, source, target, actor, override)
        if approval.has_gate(due) and not approval.covers(plan, override):
            raise InvalidArguments(
                f"plan {plan.id} is for a promotion through its gates, not for this way past them",
                "Promote with force and without a plan: that makes one which a person can approve.",
            )
        answer = said_to(self._world, plan) if approval.has_gate(due) else None
        if answer and approval.same_asker(actor, answer[1]):
            raise Forbidden(
                f"{actor} answered plan {plan.id} and cannot apply it: nobody approves their own request",
                "Promote without the plan: that makes a new one, which somebody else can approve.",
                refused="own_request",
            )
        return plan

    async def shown(self, draft: Draft, plan: Plan) -> PlanAnswer:
        """The plan as every door shows it."""
        world, target = self._world, plan.target
        override = Override(by=str(plan.by), reason=plan.forced) if plan.forced else None
        path = approval.gates_due(world.settings, plan.source, target, plan.by, override)
        gate = world.is_gate(target)
        now_running = draft.replaces.release
        before = world.releases.load(now_running).images if now_running else dict[str, str]()
        rows = changes(before, draft.release.images, gate)
        warnings = list(draft.warnings)
        if override:
            warnings.insert(0, f"FORCED past its gates; {override.by} says why: {override.reason}")
        choice = None if gate else await choose(world, draft.release, draft.config)
        warnings += (*choice.warnings, *await foreign(world, draft.release)) if choice else ()
        if not gate and now_running is None:
            warnings.append(f"{target} runs nothing yet: there is no release to go back to")
        freeze = freeze_of(draft.replaces, world.settings.rings[target].freeze, world.clock.now())
        if freeze:
            warnings.append(freeze_warning(freeze, target))
        asks = approval.has_gate(path)
        return PlanAnswer(
            ok=True,
            summary=f"{plan.source} -> {target}: {len(rows)} services "
            + ("tagged as candidate, nothing restarts." if gate else f"come to run {draft.release.tag}."),
            # what would only be refused makes no sense now
            next_actions=()
            if freeze
            else (approval.promotion_by(plan.id, plan.source, target, plan.forced, "apply exactly this plan"),),
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
            blast_radius=blast_radius(world, rows, draft.config, choice.strategy)
            if choice
            else BlastRadius(services=0, downtime="none: nothing restarts"),
            approval=approval.asked_of_a_person(plan.id, plan.hash) if asks else ApprovalView(required=False),
            rollback_to=None if gate else now_running,
            warnings=tuple(warnings),
        )


def _hash(draft: Draft, source: str, target: str, override: Override | None) -> str:
    forced = override.reason if override else None
    return plan_hash(source, target, draft.release.id, draft.release.images, draft.replaces.release, forced)


def blast_radius(world: World, rows: Sequence[Change], config: ComposeConfig, strategy: Strategy) -> BlastRadius:
    """Who feels it when these services come to run as `config` says."""
    return BlastRadius(
        services=len(rows),
        critical=tuple(row.service for row in rows if row.service in world.settings.critical),
        ports=host_ports(config),
        downtime=_DOWNTIME[strategy],
    )


def new_plan_id() -> str:
    return f"plan-{secrets.token_hex(4)}"
