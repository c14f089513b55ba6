"""What happens before anything that runs is touched: the release is built or found, checked, tagged and pinned."""

from __future__ import annotations

from collections.abc import Mapping

from aither_rings_mcp.domain import approval, policy
from aither_rings_mcp.domain.composition import declared_schema, image_references, services, weightier
from aither_rings_mcp.domain.errors import (
    ConfigInvalid,
    EngineFailure,
    ImageMissing,
    InvalidTransition,
    NoRollbackTarget,
    RingError,
)
from aither_rings_mcp.domain.model import Release
from aither_rings_mcp.domain.naming import ring_tag
from aither_rings_mcp.domain.rollout import Kind, Operation, Signal, SourceState
from aither_rings_mcp.domain.settings import Strategy
from aither_rings_mcp.domain.slots import Traffic
from aither_rings_mcp.domain.traffic import since
from aither_rings_mcp.manager import backbone, hooks
from aither_rings_mcp.manager.drain import Drain
from aither_rings_mcp.manager.evidence import Collector
from aither_rings_mcp.manager.marks import Marks
from aither_rings_mcp.manager.planning import check_fits, draft_promotion, make_release, run_file
from aither_rings_mcp.manager.routes import recorded_slots, unpublished
from aither_rings_mcp.manager.strategies import choose, foreign
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import ComposeConfig, OnLine

Moved = tuple[Signal, Operation]


#: Under this, nothing that writes state is begun; in bytes.
_DISK = 100 * 2**20


class Preparation:
    """The effects of BUILDING and PREPARING."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line
        self._marks = Marks(world, on_line)
        self._evidence = Collector(world, on_line)

    async def build(self, op: Operation) -> Moved:
        built = self._source()
        await self._world.compose.build(op.request.ring, self._say)
        if self._source() != built:
            raise InvalidTransition(
                "the source was changed while it was being built, so nobody can say what the images are built from",
                f"Ask again: `ring-ctl deploy {op.request.ring} --build`.",
            )
        return Signal.OK, op.model_copy(update={"built": built})

    async def prepare(self, op: Operation) -> Moved:
        match op.request.kind:
            case Kind.DEPLOY:
                return await self._prepare_deploy(op)
            case Kind.ROLLBACK:
                return await self._prepare_rollback(op)
            case _:
                return await self._prepare_promotion(op)

    async def _prepare_deploy(self, op: Operation) -> Moved:
        world, ring = self._world, op.request.ring
        await self._check_backbone_is_up(ring)
        config = await world.compose.render(ring)
        if unknown := sorted({*world.settings.critical} - {*services(config)}):
            raise ConfigInvalid(
                f"rings.yaml calls {', '.join(unknown)} critical, but the Compose files of {ring} have no such service",
                f"The services there: {', '.join(sorted(services(config)))}. Correct `services:` in rings.yaml.",
            )
        images: dict[str, str] = {}
        labels: list[Mapping[str, str]] = []
        for name, reference in image_references(config, world.project(ring)).items():
            view = await world.engine.image(reference)
            if view is None:
                raise ImageMissing(
                    f"the image {reference} of {name} is not here",
                    f"Run `ring-ctl deploy {ring} --build`, or pull it.",
                    service=name,
                )
            images[name] = view.id
            labels.append(view.labels)
        # Images that were not built now may be of any tree: nobody can say that it is today's.
        source = op.built or SourceState(commit=world.source.commit(), digest="")
        built = Release(
            id="", ring=ring, commit=source.commit, tag="", source_digest=source.digest,
            images=images, config_hash="", created_at=world.clock.now(),
            schema_change=weightier(world.settings.source.schema_change, declared_schema({}, labels)),
        )  # fmt: skip
        release = make_release(world, ring, config, images, built)
        world.releases.save(release, config)
        op = await self._placed(op, release, config)
        await self._marks.label(release.images, release.tag)
        await world.pins.hold(release.images, release.id)
        return _on(op), op

    async def _prepare_promotion(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        draft = await draft_promotion(world, str(request.source), request.ring)
        if request.plan_id:
            check_fits(world.plans.load(request.plan_id), draft)
        op = op.model_copy(update={"release": draft.release})
        if world.is_gate(request.ring):
            await self._marks.label(draft.release.images, ring_tag(request.ring, draft.release.commit))
            await world.pins.hold(draft.release.images, draft.release.id)
            self._spend_approval(op)
            return Signal.TAGGED, op
        await self._check_backbone_is_up(request.ring)
        await self._check_way_back(op)
        world.releases.save(draft.release, draft.config)
        op = await self._placed(op, draft.release, draft.config)
        await self._marks.label(draft.release.images, draft.release.tag)
        await world.pins.hold(draft.release.images, draft.release.id)
        self._spend_approval(op)
        await hooks.run(world, op, "pre_promote", self._say, to=draft.release.id)
        return _on(op), op

    def _spend_approval(self, op: Operation) -> None:
        """An answer lets one promotion through."""
        world, request = self._world, op.request
        due = approval.gates_due(world.settings, str(request.source), request.ring, op.actor, request.override)
        if request.plan_id and approval.has_gate(due):
            world.plans.use(world.plans.load(request.plan_id), op.id)

    async def _prepare_rollback(self, op: Operation) -> Moved:
        world, request = self._world, op.request
        record = world.state.load().ring(request.ring)
        choice = policy.rollback_choice(record, request.ring, request.tag, request.release)
        policy.check_crosses_nothing(record, request.ring, choice.release, op.actor)
        release = world.releases.load(choice.release)
        for name, image in sorted(release.images.items()):
            if await world.engine.image(image) is None:
                raise ImageMissing(
                    f"the image of {name} in {release.id} is gone", "Roll back to another release (`ring-ctl status`)."
                )
        op = await self._placed(op, release, world.releases.config(release.id))
        await world.pins.hold(release.images, release.id)
        if not op.slotted:  # what goes from one slot to the other leaves its traces where they are, for later
            op = await self._marks.forensics(op, release.id)
            await self._evidence.collect(op, op.previous, release.id)
        await hooks.run_or_say(world, op, "pre_rollback", self._say, to=release.id)
        return _on(op), op

    async def _placed(self, op: Operation, release: Release, config: ComposeConfig) -> Operation:
        """The operation with the release, how it takes over, and where: beside what serves if anything does."""
        world, ring = self._world, op.request.ring
        await self._check_room(op)
        choice = await choose(world, release, config)
        for warning in (*choice.warnings, *await foreign(world, release)):
            self._say(warning)
        record = world.state.load().ring(ring)
        slot = record.slot.other if record.running else record.slot
        update: dict[str, object] = {"release": release, "strategy": choice.strategy}
        if choice.strategy is not Strategy.RECREATE:
            update |= {"slot": slot, "beside": record.running}
        elif world.settings.rings[ring].fronts:
            served = (await Drain(world, self._say).traffic(ring)).get(record.slot, Traffic())
            update |= {"baseline": since(record.before_users, served)}
        op = op.model_copy(update=update)
        run_file(world, release, op.slot)
        if world.settings.rings[ring].fronts:
            await self._check_edge(op)
        return op

    async def _check_room(self, op: Operation) -> None:
        """A full disk would stop a rollout half-way; nothing has begun yet."""
        capacity = self._world.capacity
        self._check_disk(capacity.disk(), f"where the state is kept ({self._world.settings.state_dir})")
        try:
            self._check_disk(await capacity.store(), "where Docker keeps images and containers")
        except InvalidTransition as error:
            self._only_said_going_back(op, error)

    def _check_disk(self, free: int | None, where: str) -> None:
        if free is not None and free < _DISK:
            raise InvalidTransition(
                f"only {free / 2**20:.0f} MB are free {where}",
                "Free some space (`docker system df` shows what Docker has), then ask again.",
            )

    async def _check_edge(self, op: Operation) -> None:
        """The edge has to be there before users can be sent anywhere by it."""
        world = self._world
        try:
            await world.edge.prepare(recorded_slots(world), self._say)
        except (ConfigInvalid, EngineFailure) as error:
            self._only_said_going_back(op, error)
        if op.slotted:
            try:
                await world.edge.routes()
            except EngineFailure as error:
                raise InvalidTransition(
                    f"{error.message}, so nobody could be sent to {op.slot}", error.next_step
                ) from error
            if missing := await unpublished(world, op.request.ring):
                ports = ", ".join(f"{port} ({name})" for name, port in missing.items())
                error = InvalidTransition(
                    f"the edge does not publish {ports}, so nobody could reach {op.request.ring}",
                    "Add them to `ports` of the edge in the backbone's Compose file, then `ring-ctl up shared`.",
                )
                self._only_said_going_back(op, error)

    def _only_said_going_back(self, op: Operation, error: RingError) -> None:
        """What keeps new releases out does not close the way back: users go there by an entry of the edge's map, which
        runs on with the configuration that it has.
        """
        if op.request.kind is not Kind.ROLLBACK:
            raise error
        self._say(f"{error.message}; going back all the same")

    def _source(self) -> SourceState:
        return SourceState(commit=self._world.source.commit(), digest=self._world.source.digest())

    async def _check_backbone_is_up(self, ring: str) -> None:
        """A release that would find no backbone could not prove itself: better said now than after the switch."""
        needs_it = self._world.settings.rings[ring].shared_network
        if needs_it and (why := await self._backbone_trouble()):
            raise InvalidTransition(
                f"{ring} needs the backbone, but {why}",
                "Start it with `ring-ctl up shared`, or mend it, then ask again.",
            )

    async def _backbone_trouble(self) -> str | None:
        """One that has just been started may have its time; one that is not there has had it."""
        down = await backbone.is_down(self._world)
        return await (backbone.trouble(self._world) if down else backbone.waited_for(self._world, self._say))

    async def _check_way_back(self, op: Operation) -> None:
        """A promotion that would leave no way back is refused before anything changes."""
        world = self._world
        record = world.state.load().ring(op.request.ring)
        if record.release is None:
            return
        current = world.releases.load(record.release)
        run_file(world, current)
        for name, image in sorted(current.images.items()):
            if await world.engine.image(image) is None:
                raise NoRollbackTarget(
                    f"{op.request.ring} could not go back: the image of {name} in {current.id} is gone",
                    f"Deploy or promote {current.tag} again first, or take the ring down.",
                )


def _on(op: Operation) -> Signal:
    if not op.slotted:
        return Signal.OK
    return Signal.ROLL if op.strategy is Strategy.ROLLING else Signal.STAGE
