"""What is put on images so that people find them and prune spares them: tags, and pins."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aither_rings_mcp.domain import policy
from aither_rings_mcp.domain.composition import LABEL_RELEASE
from aither_rings_mcp.domain.errors import DockerUnavailable, ImageMissing, InvalidArguments, RingError, StateUnreadable
from aither_rings_mcp.domain.naming import forensic_tag, latest_tag, repository, rollback_tag
from aither_rings_mcp.domain.rollout import Operation
from aither_rings_mcp.manager.way_back import lost_among
from aither_rings_mcp.manager.world import World
from aither_rings_mcp.ports import OnLine


class Marks:
    """Tags and pins of one world. Putting a mark where it is already changes nothing."""

    def __init__(self, world: World, on_line: OnLine) -> None:
        self._world = world
        self._say = on_line

    async def label(self, images: Mapping[str, str], tag: str) -> None:
        for service, image in sorted(images.items()):
            await self._world.engine.tag(image, self._reference(service, tag))

    async def forensics(self, op: Operation, going_to: str | None, project: str | None = None) -> Operation:
        """Tags what is about to go, so that it can be looked at afterwards. It never stands in the way of going back.
        `project`: where that runs, if not in the slot that serves.

        The tag's name is fixed by the operation. Repeated, this may find the ring torn down, or halfway back:
        what is of `going_to` already is no evidence.
        """
        world, ring = self._world, op.request.ring
        tag = forensic_tag(ring, op.created_at)
        try:
            for container in await world.engine.listed(project or world.project(ring)):
                if container.service and container.labels.get(LABEL_RELEASE) != going_to:
                    await self.label({container.service: container.image_id}, tag)
        except DockerUnavailable:
            raise
        except RingError as error:
            self._say(f"{tag} not set everywhere: {error.message}")
        for service in world.settings.services:
            if await world.engine.image(self._reference(service, tag)):
                return op.model_copy(update={"forensics": tag})
        return op

    async def point(self, ring: str) -> None:
        """Moves the tags for people to where the record points, and pins exactly the images that records need.

        What is gone is said and passed over: what was done is done all the same, and `status` shows the way back.
        """
        world = self._world
        state = world.state.load()
        record = state.ring(ring)
        tags = {rollback_tag(ring): record.rollback_release}
        if not world.is_gate(ring):
            tags[latest_tag(ring)] = record.release
        kept: set[str] = set()
        unreadable = False
        for name in world.settings.rings:
            for release_id in policy.kept_releases(state.ring(name)):
                try:
                    images = world.releases.load(release_id).images
                except (InvalidArguments, StateUnreadable) as error:
                    self._say(error.message)
                    unreadable = True
                    continue
                kept.update(images.values())
                if name == ring:
                    await self._mark(release_id, images, [tag for tag, wanted in tags.items() if wanted == release_id])
        # Nobody can say which images an unreadable release needs, so all stay.
        if not unreadable:
            await world.pins.let_go(frozenset(kept))

    async def stand(self, here: Collection[str] | None = None) -> None:
        """Makes the images of the next way back of every ring survive every prune, not only one of images.

        Costs a third of a second for each image that comes to it, and a look at a list or two when nothing does.
        `here`: the images of the engine, for who knows them already.
        """
        world = self._world
        state = world.state.load()
        records = {name: state.ring(name) for name in world.settings.rings}
        here = (await world.engine.images()).ids if here is None else here
        lost = lost_among(world, here, *records.values())
        standing: set[str] = set()
        for record in records.values():
            for release_id in policy.standing_releases(record, lost):
                standing.update(self._images(release_id).values())
        for image in sorted(await world.pins.stand(frozenset(standing))):
            self._say(f"the pin of {image} cannot run: its image survives a prune of images, but not one of containers")

    async def repair(self, here: frozenset[str]) -> tuple[str, ...]:
        """Puts back the pins that somebody removed; returns the kept releases that lost images, which nothing can.

        `here`: the images of the engine. One look at a list when all is well.
        """
        world = self._world
        state = world.state.load()
        held = await world.pins.held()
        lost: dict[str, None] = {}
        for name in world.settings.rings:
            for release_id in policy.kept_releases(state.ring(name)):
                images = self._images(release_id)
                if not here.issuperset(images.values()):
                    lost[release_id] = None
                unpinned = {service: image for service, image in images.items() if image in here - held}
                try:
                    if unpinned:
                        await world.pins.hold(unpinned, release_id)
                except ImageMissing:  # since this look
                    lost[release_id] = None
        return tuple(lost)

    def _images(self, release: str) -> Mapping[str, str]:
        """The images of a release; of one that cannot be read that is said, and there are none."""
        try:
            return self._world.releases.load(release).images
        except (InvalidArguments, StateUnreadable) as error:
            self._say(error.message)
            return {}

    async def _mark(self, release: str, images: Mapping[str, str], tags: list[str]) -> None:
        try:
            # Again: since they were first held, another ring's rollout may have let go of them.
            await self._world.pins.hold(images, release)
            for tag in tags:
                await self.label(images, tag)
        except ImageMissing as error:
            self._say(f"{release}: {error.message}")

    def _reference(self, service: str, tag: str) -> str:
        return f"{repository(self._world.settings.app, service)}:{tag}"
