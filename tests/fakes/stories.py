"""The rollouts that tests interrupt: how the shop stands before, what is asked of it, how it ends undisturbed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aither_rings_mcp.domain.model import Override
from aither_rings_mcp.domain.settings import Settings
from fakes.checks import images_running
from fakes.machine import Fault
from fakes.shop import ANN, EVE, Shop, Snapshot, settings, twins

DEV = frozenset({"shop-dev"})


@dataclass(frozen=True)
class Story:
    name: str
    before: Callable[[Shop], Awaitable[Any]]
    ask: Callable[[Shop], Awaitable[Any]]
    #: The phase it ends in when nothing disturbs it.
    ends: str
    config: Settings | None = None
    #: Takes the very same steps as another one, apart from what it finds out on the way.
    like: str | None = None

    def __str__(self) -> str:
        return self.name

    async def set(self, folder: Path) -> Snapshot:
        shop = Shop(folder, config=self.config)
        await self.before(shop)
        return shop.snapshot()


def candidate(fault: Fault | None = None) -> Callable[[Shop], Awaitable[Any]]:
    """v1 and v2 went through prod; v3 waits in staging."""

    async def before(shop: Shop) -> None:
        await shop.ship("v1")
        await shop.ship("v2")
        await shop.deploy("v3", fault)
        await shop.stage()

    return before


async def dev_moved_on(shop: Shop) -> None:
    """The candidate runs nowhere any more, so that its gates need a preview."""
    await candidate()(shop)
    await shop.deploy("v4")


async def approved(shop: Shop) -> None:
    await candidate()(shop)
    plan = await shop.manager.plan("staging", "prod", ANN)
    await shop.manager.answer_plan(plan.plan_id, True, EVE)
    (shop.folder / "plan").write_text(plan.plan_id)


def two_in_prod(turned: Fault | None = None) -> Callable[[Shop], Awaitable[Any]]:
    """v2 runs in prod; v1, to which it can go back, may have turned bad meanwhile."""

    async def before(shop: Shop) -> None:
        await shop.ship("v1")
        await shop.ship("v2")
        if turned:
            shop.turn("v1", turned)

    return before


def gone_bad(*also: str) -> Callable[[Shop], Awaitable[Any]]:
    """v2 went bad in prod while it settled; the monitor has counted for nearly as long as it has to."""

    async def before(shop: Shop) -> None:
        await two_in_prod()(shop)
        await shop.manager.up("shared", ANN)
        for source in ("v2", *also):
            shop.turn(source, Fault("never-healthy"))
        await shop.patrol(90)

    return before


async def settled(shop: Shop) -> None:
    """v2 runs in prod and has settled: v1 is stopped in the other slot."""
    await two_in_prod()(shop)
    await shop.patrol(330, 330)


def settled_on(source: str, fault: Fault) -> Callable[[Shop], Awaitable[Any]]:
    """The same, and then one of them turned bad."""

    async def before(shop: Shop) -> None:
        await settled(shop)
        shop.turn(source, fault)

    return before


def promoted(shop: Shop) -> Awaitable[Any]:
    return shop.promote()


def promoted_as_approved(shop: Shop) -> Awaitable[Any]:
    return shop.promote(plan_id=(shop.folder / "plan").read_text())


def deployed(fault: Fault | None = None) -> Callable[[Shop], Awaitable[Any]]:
    return lambda shop: shop.deploy("v3", fault)


async def refused_candidate(shop: Shop) -> None:
    await candidate(Fault("refused"))(shop)


async def unwell_dev(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.deploy("v3", Fault("never-healthy", DEV))


async def prod_down(shop: Shop) -> None:
    await two_in_prod()(shop)
    await shop.down()


async def first_release(shop: Shop) -> None:
    await shop.deploy("v1", Fault("never-healthy"))
    await shop.stage()


def with_approval() -> Settings:
    gates = [{"gate": "health_check"}, {"gate": "manual_approval", "name": "a-person"}]
    return settings(
        paths=[
            {"source": "dev", "target": "staging", "gates": [{"gate": "health_check"}]},
            {"source": "staging", "target": "prod", "gates": gates},
        ]
    )


PROMOTIONS = (
    Story("promote a good release", candidate(), promoted, "done"),
    Story("promote one that is never healthy in prod", candidate(Fault("never-healthy")), promoted, "rolled_back"),
    Story(
        "promote one that fails after a while",
        candidate(Fault("late", after=2)),
        promoted,
        "rolled_back",
        like="promote one that is never healthy in prod",
    ),
    Story("promote a crash-looper", candidate(Fault("crash-loop")), promoted, "rolled_back"),
    Story("promote one that does not start", candidate(Fault("refuses-to-start")), promoted, "rolled_back"),
    Story("promote one that a gate refuses", refused_candidate, promoted, "blocked"),
    Story("promote with an approval", approved, promoted_as_approved, "done", with_approval()),
    Story("promote by way of a preview", dev_moved_on, promoted, "done"),
    Story("promote a bad first release", first_release, promoted, "rolled_back"),
    Story(
        "promote past the gates",
        refused_candidate,
        lambda shop: shop.promote(override=Override(by="ann", reason="hotfix")),
        "done",
        like="promote a good release",
    ),
    Story("promote into staging", deployed(), lambda shop: shop.stage(), "done"),
    Story(
        "promote an unwell release into staging",
        unwell_dev,
        lambda shop: shop.stage(),
        "blocked",
        like="promote one that a gate refuses",
    ),
)
ROLLBACKS = (
    Story("roll back", two_in_prod(), lambda shop: shop.rollback(), "done"),
    Story(
        "roll back to one that turned bad", two_in_prod(Fault("never-healthy")), lambda shop: shop.rollback(), "stuck"
    ),
    Story(
        "roll back to one that fails to start",
        two_in_prod(Fault("refuses-to-start")),
        lambda shop: shop.rollback(),
        "stuck",
        like="roll back to one that turned bad",
    ),
)
DEPLOYS = (
    Story("deploy a good release", two_in_prod(), deployed(), "done"),
    Story(
        "deploy one that is never healthy",
        two_in_prod(),
        deployed(Fault("never-healthy", DEV)),
        "done",
        like="deploy a good release",
    ),
    Story("deploy one that does not start", two_in_prod(), deployed(Fault("refuses-to-start", DEV)), "rolled_back"),
)
LIFECYCLE = (
    Story("down", two_in_prod(), lambda shop: shop.down(), "done"),
    Story("up", prod_down, lambda shop: shop.up(), "done"),
)
WATCHED = (
    Story("the monitor takes a release back", gone_bad(), lambda shop: shop.patrol(45), "done"),
    Story(
        "the monitor takes back to one that turned bad",
        gone_bad("v1"),
        lambda shop: shop.patrol(45),
        "stuck",
        like="roll back to one that turned bad",
    ),
)
#: The same with an edge and a second slot.
TWINS = (
    Story("two slots: promote", candidate(), promoted, "done", twins()),
    Story("two slots: promote one that is never healthy", candidate(Fault("never-healthy")), promoted, "rolled_back",
          twins()),
    Story("two slots: promote one that does not start", candidate(Fault("refuses-to-start")), promoted, "rolled_back",
          twins(), like="two slots: promote one that is never healthy"),
    Story("two slots: promote a bad first release", first_release, promoted, "rolled_back", twins(),
          like="two slots: promote one that is never healthy"),
    Story("two slots: promote by and by", candidate(), promoted, "done", twins(canary={"steps": [10, 100], "hold": 1})),
    Story("two slots: roll back at once", two_in_prod(), lambda shop: shop.rollback(), "done", twins()),
    Story("two slots: roll back to what was stopped", settled, lambda shop: shop.rollback(), "done", twins()),
    Story("two slots: roll back to one that turned bad", settled_on("v1", Fault("never-healthy")),
          lambda shop: shop.rollback(), "failed", twins()),
    Story("two slots: settle", two_in_prod(), lambda shop: shop.patrol(330, 330), "done", twins()),
    Story("rolling: promote", candidate(), promoted, "done", twins(strategy="rolling")),
    Story("rolling: promote one that is never healthy", candidate(Fault("never-healthy")), promoted, "rolled_back",
          twins(strategy="rolling")),
    Story("rolling: roll back", two_in_prod(), lambda shop: shop.rollback(), "done", twins(strategy="rolling"),
          like="rolling: promote"),
    Story("two slots: down", two_in_prod(), lambda shop: shop.down(), "done", twins()),
)  # fmt: skip
STORIES = (*PROMOTIONS, *ROLLBACKS, *DEPLOYS, *LIFECYCLE, *WATCHED, *TWINS)


def end_of(shop: Shop) -> dict[str, Any]:
    """Everything that lasts, without times and random names."""
    state = shop.world.state.load()
    ends: dict[str, Any] = {"outcomes": [(op.request.kind, op.phase) for op in reversed(shop.operations())]}
    for ring in shop.settings.rings:
        record = state.ring(ring)
        ends[ring] = {
            **record.model_dump(include={"tag", "commit", "release", "rollback_release", "running", "override"}),
            "deployments": [(d.release, d.proven_at is not None) for d in record.deployments],
            "quarantine": [q.release for q in record.quarantine],
            "candidate": record.candidate.release if record.candidate else None,
            "stuck": record.stuck is not None,
        }
    for ring in shop.settings.runtime_rings:
        ends[f"{ring} runs"] = images_running(shop, ring)
    return ends
