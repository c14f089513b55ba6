"""Names by the article's convention, ids that are what they name, plans bound to what they were made from."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aither_rings_mcp.domain.errors import InvalidArguments
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.naming import (
    checked_release,
    checked_tag,
    digest,
    forensic_tag,
    latest_tag,
    release_id,
    repository,
    ring_tag,
    rollback_tag,
)
from aither_rings_mcp.domain.plan import Plan, changes, plan_hash, short_image, what_changed

NOW = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,5}", fullmatch=True)
IMAGES = st.dictionaries(NAMES, st.from_regex(r"sha256:[0-9a-f]{4}", fullmatch=True), min_size=1, max_size=4)
INPUTS = st.tuples(NAMES, NAMES, NAMES, IMAGES, st.none() | NAMES)


def test_tags_follow_the_articles_convention() -> None:
    assert repository("aitheros", "genesis") == "aitheros-genesis"
    assert latest_tag("dev") == "dev-latest"
    assert ring_tag("prod", "0123456789abcdef") == "prod-0123456"
    assert rollback_tag("prod") == "rollback-prod"
    assert forensic_tag("prod", NOW) == "forensic-prod-20250304T050607Z"


@given(NAMES, st.from_regex(r"[0-9a-f]{7,40}", fullmatch=True))
def test_docker_takes_every_tag_that_we_make(ring: str, commit: str) -> None:
    for tag in (latest_tag(ring), ring_tag(ring, commit), rollback_tag(ring), forensic_tag(ring, NOW)):
        assert checked_tag(tag) == tag


@given(st.text(max_size=200))
def test_a_checked_tag_has_nothing_in_it_that_could_mean_something_else(tag: str) -> None:
    try:
        checked_tag(tag)
    except InvalidArguments:
        return
    assert tag.isascii()
    assert not set(tag) & set("/:@ \n\t'\"$`;&|<>")
    assert 0 < len(tag) <= 128
    assert tag[0] not in ".-"


@pytest.mark.promise(2)
@given(IMAGES, IMAGES, st.text(), st.text())
def test_a_release_id_is_its_content(one: dict[str, str], other: dict[str, str], config: str, another: str) -> None:
    assert checked_release(release_id(one, config)) == release_id(dict(reversed(one.items())), config)
    assert (release_id(one, config) == release_id(other, another)) == ((one, config) == (other, another))


@given(st.lists(st.text()), st.lists(st.text()))
def test_no_two_lists_have_one_digest(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


@given(INPUTS, INPUTS, st.integers(0, 4))
def test_a_change_of_any_input_changes_the_hash_of_a_plan(
    one: tuple[str, str, str, dict[str, str], str | None],
    other: tuple[str, str, str, dict[str, str], str | None],
    position: int,
) -> None:
    changed = (*one[:position], other[position], *one[position + 1 :])
    assume(changed != one)
    assert plan_hash(*changed) != plan_hash(*one)  # type: ignore[arg-type]


@given(INPUTS, INPUTS)
def test_plans_of_other_inputs_have_other_hashes(
    one: tuple[str, str, str, dict[str, str], str | None], other: tuple[str, str, str, dict[str, str], str | None]
) -> None:
    assert (plan_hash(*one) == plan_hash(*other)) == (one == other)


@given(INPUTS)
def test_the_order_of_services_makes_no_other_plan(one: tuple[str, str, str, dict[str, str], str | None]) -> None:
    source, target, release, images, replaces = one
    assert plan_hash(*one) == plan_hash(source, target, release, dict(reversed(images.items())), replaces)


def test_changes_tell_what_happens_to_every_service_of_either_side() -> None:
    now = {"a": "sha256:" + "1" * 64, "b": "sha256:" + "2" * 64}
    then = {"b": "sha256:" + "2" * 64, "c": "sha256:" + "3" * 64}
    rows = [(row.service, row.from_, row.to, row.action) for row in changes(now, then, gate=False)]
    assert rows == [
        ("a", "1" * 12, None, "remove"),
        ("b", "2" * 12, "2" * 12, "recreate"),
        ("c", None, "3" * 12, "create"),
    ]
    assert {row.action for row in changes(now, then, gate=True)} == {"tag"}
    assert changes({}, {}, gate=False) == ()
    assert short_image(None) is None


@given(INPUTS, INPUTS)
def test_a_stale_plan_says_why_and_a_fresh_one_says_nothing(
    one: tuple[str, str, str, dict[str, str], str | None], other: tuple[str, str, str, dict[str, str], str | None]
) -> None:
    source, target, release, images, replaces = one
    plan = Plan(
        id="p", hash=plan_hash(*one), source=source, target=target, release=release, images=images,
        replaces=replaces, created_at=NOW, expires_at=NOW, by=Actor(name="ann"),
    )  # fmt: skip
    _, _, new_release, new_images, new_replaces = other
    new_hash = plan_hash(source, target, new_release, new_images, new_replaces)
    why = what_changed(plan, new_hash, new_release, new_replaces, new_images)
    assert bool(why) == (new_hash != plan.hash)
    assert any("release is now" in reason for reason in why) == (new_release != release)
    assert any("now runs" in reason for reason in why) == (new_replaces != replaces)
    assert any("other images" in reason for reason in why) == (new_images != images)
