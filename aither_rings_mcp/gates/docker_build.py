"""`docker_build`: the release's images exist, fit this engine, and are the ones that run in its ring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from aither_rings_mcp.domain.health import ContainerView
from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.plan import short_image
from aither_rings_mcp.domain.verdict import FailedItem, Verdict
from aither_rings_mcp.ports import EngineFacts, Finding, GateContext, ImageView

#: Kernels and image builders name the same machine differently.
_SAME_MACHINE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}


class DockerBuild:
    """Goes by content id alone: what a tag says plays no part."""

    version: ClassVar[str] = "1"

    class Options(Value):
        pass

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        release, ring = ctx.release, ctx.settings.rings[ctx.release.ring]
        facts = await ctx.engine.facts()
        running = await ctx.engine.containers(ring.project) if ring.project else ()
        faults: list[FailedItem] = []
        for service, image_id in sorted(release.images.items()):
            said = _image_fault(image_id, await ctx.engine.image(image_id), facts) or _running_fault(
                image_id, [c for c in running if c.service == service], release.ring, _ends(ctx, service)
            )
            if said:
                faults.append(FailedItem(id=service, where=image_id, message=said))
        if not faults:
            return Finding(
                Verdict.PASSED,
                f"all {len(release.images)} images exist, are built for {_machine(facts)} and run in {release.ring}",
            )
        return Finding(
            Verdict.FAILED,
            f"{len(faults)} of {len(release.images)} images are not what {release.ring} should be running",
            "images_differ",
            failed_items=tuple(faults),
            fix_hint=f"`ring-ctl deploy {release.ring} --build` builds the images and runs them; then promote again.",
        )


def _image_fault(image_id: str, image: ImageView | None, facts: EngineFacts) -> str | None:
    if image is None:
        return f"image {short_image(image_id)} is not in the engine any more"
    built_for = (image.os, _SAME_MACHINE.get(image.architecture, image.architecture))
    if built_for != (facts.os, _SAME_MACHINE.get(facts.architecture, facts.architecture)):
        return f"image {short_image(image_id)} is built for {'/'.join(built_for)}, this engine is {_machine(facts)}"
    return None


def _running_fault(image_id: str, containers: Sequence[ContainerView], ring: str, ends: bool) -> str | None:
    if not containers:
        return f"{ring} has no container of it"
    others = sorted({c.image_id for c in containers} - {image_id})
    if others:
        return f"{ring} runs {', '.join(str(short_image(i)) for i in others)}, the release has {short_image(image_id)}"
    if not ends and all(c.status != "running" for c in containers):
        return f"its container in {ring} is {containers[0].status}"
    return None


def _ends(ctx: GateContext, service: str) -> bool:
    """Whether the service runs to its end and stays stopped."""
    return service in ctx.settings.services and ctx.settings.services[service].one_shot


def _machine(facts: EngineFacts) -> str:
    return f"{facts.os}/{_SAME_MACHINE.get(facts.architecture, facts.architecture)}"
