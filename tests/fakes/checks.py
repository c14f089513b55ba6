"""What has to hold of a shop at rest, whatever happened to it before."""

from __future__ import annotations

from collections.abc import Sequence

from aither_rings_mcp.domain.naming import forensic_tag, latest_tag, repository, rollback_tag
from aither_rings_mcp.domain.policy import kept_releases
from aither_rings_mcp.domain.rollout import Kind, Operation, Phase
from aither_rings_mcp.manager.outcomes import outcome_of
from fakes.shop import Shop

#: Faults that show before anybody is sent there.
NEVER_WELL = {"never-healthy", "crash-loop", "refuses-to-start"}


def at_rest(shop: Shop, *, without_preview: bool = True) -> None:
    """Every promise about a shop in which nothing is under way."""
    operations = shop.operations()
    nothing_is_left_unfinished(shop, operations)
    the_history_tells_each_operation_once(shop, operations)
    for ring in shop.settings.runtime_rings:
        users_are_where_the_record_says(shop, ring)
        the_record_agrees_with_what_runs(shop, ring)
        tags_point_where_the_record_does(shop, ring)
    pins_hold_every_way_back(shop)
    evidence_is_of_what_went(shop, operations)
    assert not shop.machine.healer_suspended
    assert not without_preview or not shop.machine.of("shop-preview"), "a preview was left behind"


def nothing_is_left_unfinished(shop: Shop, operations: Sequence[Operation]) -> None:
    assert not [f"{op.id}: {op.phase}" for op in operations if not op.final]
    assert not [ring for ring in shop.settings.rings if shop.world.claims.holder(ring)]


def the_history_tells_each_operation_once(shop: Shop, operations: Sequence[Operation]) -> None:
    _, _, broken_at, torn = shop.world.history.verify()
    assert broken_at is None
    assert not torn
    told, following = shop.world.history.read(1000)
    assert following is None
    of_operations = [event for event in told if event.event not in {"approval", "alert", "unlock", "freeze", "thaw"}]
    rollouts = {event.operation: event for event in of_operations}
    assert len(rollouts) == len(of_operations), "an operation is told twice"
    assert rollouts.keys() == {op.id for op in operations}
    for op in operations:
        assert rollouts[op.id].outcome == outcome_of(op, gate=shop.world.is_gate(op.request.ring))


def users_are_where_the_record_says(shop: Shop, ring: str) -> None:
    """On one slot, by the edge as it runs and by what it would start from; and none met a release that is bad."""
    record = shop.record(ring)
    if not shop.settings.rings[ring].fronts or record.stuck or not record.running:
        return
    there = (shop.world.project(ring, record.slot),)
    assert shop.machine.routed[ring] == shop.machine.on_file[ring] == there
    if shop.settings.rings[ring].green:
        bad = {image for image in shop.machine.met if shop.machine.images[image].kind in NEVER_WELL}
        assert not bad, "users met a release that never was well"


def the_record_agrees_with_what_runs(shop: Shop, ring: str) -> None:
    """By image id; a ring that is stuck agrees with nothing and says so."""
    record = shop.record(ring)
    running = {c.service: c for c in shop.machine.of(shop.world.project(ring))}
    if record.stuck:
        return
    if not record.running:
        assert not running, f"{ring} should be down"
        return
    release = shop.world.releases.load(str(record.release))
    assert {name: c.spec.image for name, c in running.items()} == dict(release.images)
    assert {c.labels["aither.rings.release"] for c in running.values()} == {release.id}


def tags_point_where_the_record_does(shop: Shop, ring: str) -> None:
    record, app = shop.record(ring), shop.settings.app
    if record.stuck:
        return
    # in a ring that builds, `latest` is where Compose puts what it built last
    builds = shop.settings.rings[ring].build
    for release, tag in (
        (None if builds else record.release, latest_tag(ring)),
        (record.rollback_release, rollback_tag(ring)),
    ):
        if release:
            for service, image in shop.world.releases.load(release).images.items():
                assert shop.machine.tags[f"{repository(app, service)}:{tag}"] == image, f"{tag} of {service}"


def pins_hold_every_way_back(shop: Shop) -> None:
    state = shop.world.state.load()
    for ring in shop.settings.rings:
        for release in kept_releases(state.ring(ring)):
            missing = set(shop.world.releases.load(release).images.values()) - shop.machine.pins()
            assert not missing, f"{ring} could not go back to {release}"


def evidence_is_of_what_went(shop: Shop, operations: Sequence[Operation]) -> None:
    """A forensic tag is on what was taken away, and never on what took its place."""
    for op in operations:
        if op.phase in {Phase.FAILED, Phase.CANCELLED} or op.request.kind is Kind.SETTLE:
            continue  # nothing went
        restored = op.phase in {Phase.ROLLED_BACK, Phase.STUCK} and op.request.kind is not Kind.ROLLBACK
        went, came = (
            (op.release.id if op.release else None, op.previous)
            if restored
            else (op.previous, op.release and op.release.id)
        )
        tag = forensic_tag(op.request.ring, op.created_at)
        tagged = {ref: image for ref, image in shop.machine.tags.items() if ref.endswith(f":{tag}")}
        assert op.forensics == tag if tagged else op.forensics is None or retired(shop, op)
        if came and tagged:
            assert not set(tagged.values()) & set(shop.world.releases.load(came).images.values())
        if went and came and (restored or op.request.kind is Kind.ROLLBACK):
            assert op.forensics, f"{op.id} left no evidence"
            a_bundle_is_whole_and_of_what_went(shop, op, went, came)


def retired(shop: Shop, op: Operation) -> bool:
    """Whether as much evidence as is kept came after that of this operation."""
    tags = {reference.partition(":")[2] for reference in shop.machine.tags}
    newer = [tag for tag in tags if tag.startswith(f"forensic-{op.request.ring}-") and tag > str(op.forensics)]
    return len(newer) >= shop.settings.keep_releases


def a_bundle_is_whole_and_of_what_went(shop: Shop, op: Operation, went: str, came: str) -> None:
    """A full disk may leave none; one that is there is complete, and tells nothing of what took its place."""
    bundle = shop.world.evidence.load(op.id)
    if bundle is None:
        return
    assert bundle.release == went
    texts = {facts.name: shop.world.evidence.text(op.id, facts.name) for facts in bundle.sections}
    assert {name: len(text.encode()) for name, text in texts.items()} == {f.name: f.bytes for f in bundle.sections}
    for image in shop.world.releases.load(came).images.values():
        assert image not in texts.get("inspect", "") + texts.get("logs", "")


def images_running(shop: Shop, ring: str = "prod") -> dict[str, str]:
    return {c.service: c.spec.image for c in shop.machine.of(shop.world.project(ring))}


def everything(shop: Shop) -> dict[str, object]:
    """All that a refusal must leave as it was."""
    state_dir = shop.folder / "state"
    return {
        "state": shop.world.state.load(),
        "history": shop.world.history.read(1000),
        "operations": shop.operations(),
        "releases": sorted(path.name for path in (state_dir / "releases").glob("*")),
        "images": dict(shop.machine.images),
        "tags": dict(shop.machine.tags),
        "containers": {c.id: (c.project, c.service, c.spec, c.status) for c in shop.machine.containers.values()},
    }
