"""Commands of the user's own at moments of a rollout: which can stop it, and what they are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.checks import at_rest, images_running
from fakes.machine import Fault, image_id
from fakes.shop import Shop, settings

from aither_rings_mcp.domain.errors import EngineFailure

MOMENTS = ("pre_promote", "post_promote", "pre_rollback", "post_rollback")
#: Writes down what it was told, and ends with the exit code it is given.
TELLS = """
import json, os, sys
with open(sys.argv[1], "a") as told:
    told.write(json.dumps({k: v for k, v in os.environ.items() if k.startswith("RINGS_")}) + "\\n")
print("on my own account")
sys.exit(int(sys.argv[2]))
"""


def hooked(shop: Shop, **codes: int) -> None:
    """Every hook of prod tells what it is told; some end badly."""
    hooks = {
        moment: {"argv": [sys.executable, "-c", TELLS, str(told(shop)), str(codes.get(moment, 0))]}
        for moment in MOMENTS
    }
    plain = settings()
    rings: dict[str, Any] = {name: ring.model_dump() for name, ring in plain.rings.items()}
    rings["prod"] |= {"hooks": hooks}
    shop.settings = settings(rings=rings)
    shop.boot()


def told(shop: Shop) -> Path:
    return shop.folder / "told"


def heard(shop: Shop) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in told(shop).read_text().splitlines()] if told(shop).exists() else []
    return [(line["RINGS_HOOK"], line["RINGS_FROM"], line["RINGS_TO"]) for line in lines]


async def test_hooks_run_at_their_moments_and_know_from_where_to_where(busy_shop: Shop) -> None:
    hooked(busy_shop)
    v2 = str(busy_shop.record().release)
    await busy_shop.promote()
    v3 = str(busy_shop.record().release)
    await busy_shop.rollback()
    assert heard(busy_shop) == [
        ("pre_promote", v2, v3),
        ("post_promote", v2, v3),
        ("pre_rollback", v3, v2),
        ("post_rollback", v3, v2),
    ]
    at_rest(busy_shop)


async def test_a_promotion_whose_first_hook_fails_touches_nothing(busy_shop: Shop) -> None:
    hooked(busy_shop, pre_promote=3)
    before = images_running(busy_shop)
    with pytest.raises(EngineFailure, match=r"pre_promote ended with exit code 3$") as refused:
        await busy_shop.promote()
    assert refused.value.details["log_tail"] == ["on my own account"], "what it wrote is data, beside the message"
    assert images_running(busy_shop) == before
    assert [moment for moment, _, _ in heard(busy_shop)] == ["pre_promote"]
    at_rest(busy_shop)


@pytest.mark.promise(9)
async def test_no_other_hook_stands_in_the_way_of_going_back(shop: Shop) -> None:
    await shop.ship("v1")
    hooked(shop, pre_rollback=1, post_rollback=1, post_promote=1)
    answer = await shop.ship("v2", Fault("never-healthy"))
    assert answer.outcome == "rolled_back"
    assert images_running(shop) == {service: image_id(service, "v1") for service in ("api", "web")}
    v1, v2 = str(shop.record().release), answer.release
    assert heard(shop)[1:] == [("pre_rollback", v2, v1), ("post_rollback", v2, v1)]
    assert (await shop.ship("v3")).outcome == "promoted"
    at_rest(shop)
