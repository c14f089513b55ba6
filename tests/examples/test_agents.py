"""The agents in examples/ are programs that know the public MCP client and nothing else, and do right by the rings."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from doors.rest_site import Site, served
from fakes.machine import Fault
from fakes.memory import quick_folder
from fakes.shop import ANN, EVE, Shop, twins
from fakes.stories import settled, two_in_prod, with_approval

from aither_rings_mcp.domain.access import Role

REPO = Path(__file__).parents[2]
AGENTS = REPO / "examples/agents"
NEVER = Fault("never-healthy")


@dataclass(frozen=True)
class Said:
    code: int
    lines: list[dict[str, Any]]

    def of(self, **facts: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if facts.items() <= line.items()]


async def agent(site: Site, program: str, *options: str) -> Said:
    """Runs an agent with its token against the server, to its end."""
    token = await token_of(site, program.removesuffix(".py"))
    return await ran(program, *options, f"{site.url}/mcp", RINGS_TOKEN=token)


async def over_stdio(folder: Path, steps: str, program: str, *options: str) -> tuple[Said, Shop]:
    """Runs an agent against a server that it starts itself; what the server left behind."""
    paths = os.pathsep.join(str(path) for path in (REPO, REPO / "tests"))
    server = [sys.executable, str(REPO / "tests/doors/shop_server.py"), str(folder), *steps.split()]
    said = await ran(program, *options, *server, PYTHONPATH=paths)
    (own,) = folder.iterdir()
    return said, Shop(own)


async def ran(program: str, *arguments: str, **environment: str) -> Said:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(AGENTS / program), *arguments, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(90):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    assert not errors, errors.decode()
    return Said(process.returncode, [json.loads(line) for line in out.splitlines()])


async def token_of(site: Site, name: str) -> str:
    """A new one; whatever it had before is over."""
    for token in (await site.shop.manager.tokens()).tokens:
        if token.name == name and token.state == "valid":
            await site.shop.manager.revoke_token(token.id, ANN)
    return (await site.shop.manager.create_token(name, Role.OPERATOR, ANN)).token


DEMIURGE = ("demiurge.py", "--deploy", "true", "--reason", "a fix of the cart")
ON = ("demiurge.py", "--deploy", "false", "--reason", "a fix of the cart")
ATLAS = ("atlas.py", "--once", "--looks", "2", "--pause", "0.1")


def demiurge(site: Site) -> Any:
    return agent(site, *DEMIURGE)


def atlas(site: Site) -> Any:
    return agent(site, *ATLAS)


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
async def site(folder: Path) -> AsyncGenerator[Site]:
    """v1 and v2 went through prod."""
    shop = Shop(folder / "shop")
    await two_in_prod()(shop)
    await shop.manager.up("shared", ANN)
    async with served(shop) as site:
        yield site


async def test_demiurge_takes_a_good_change_to_users(site: Site) -> None:
    await site.shop.deploy("v4")
    said = await demiurge(site)
    assert said.code == 0, said.lines
    assert [line["outcome"] for line in said.of(step="promote")] == ["candidate_tagged", "promoted"]
    (event, *_) = (await site.shop.manager.history("prod", event="promote")).events
    assert (event.actor, event.reason) == ("demiurge (agent via mcp)", "a fix of the cart")


async def test_demiurge_says_which_gate_refused_a_change(site: Site) -> None:
    await site.shop.deploy("v4", Fault("refused"))
    said = await demiurge(site)
    assert said.code == 4
    (blocked,) = said.of(step="promote", outcome="blocked")
    assert [each["gate"] for each in blocked["to_fix"]] == ["audit"]
    assert site.shop.record().release == site.shop.record().deployments[0].release


async def test_demiurge_reports_what_was_taken_back_and_where_the_evidence_is(site: Site) -> None:
    before = site.shop.record().release
    await site.shop.deploy("v4", NEVER)
    said = await demiurge(site)
    assert said.code == 7
    assert said.of(step="promote", outcome="rolled_back")
    assert said.of(step="evidence")[0]["sections"]
    assert site.shop.record().release == before


async def test_demiurge_stops_where_a_person_is_asked_with_the_words_for_them(folder: Path) -> None:
    shop = Shop(folder / "shop", config=with_approval())
    await shop.deploy("v4")
    async with served(shop) as site:
        said = await demiurge(site)
        assert said.code == 3
        (ask,) = said.of(step="ask")
        assert f"ring-ctl approve {ask['plan']}" in ask["say"]
        assert shop.record().release is None
        too_early = await agent(site, *ON, *ask["once_approved"].split())
        assert (too_early.code, too_early.of(step="ask")[0]["plan"]) == (3, ask["plan"])


async def test_demiurge_goes_on_with_the_very_plan_that_a_person_approved(folder: Path) -> None:
    shop = Shop(folder / "shop", config=with_approval())
    await shop.deploy("v4")
    async with served(shop) as site:
        (ask,) = (await demiurge(site)).of(step="ask")
        assert ask["once_approved"] == f"--via staging,prod --plan {ask['plan']}"
        await shop.manager.answer_plan(ask["plan"], True, EVE)
        said = await agent(site, *ON, *ask["once_approved"].split())
        assert said.code == 0, said.lines
        assert said.of(step="promote", to="prod", outcome="promoted")
        assert shop.world.plans.load(ask["plan"]).release == shop.record().release
        again = await agent(site, *ON, *ask["once_approved"].split())
        assert (again.code, len(shop.operations())) == (0, 4), "the same plan is the same operation"


async def test_demiurge_makes_no_other_plan_of_one_that_a_person_approved(folder: Path) -> None:
    shop = Shop(folder / "shop", config=with_approval())
    await shop.deploy("v4")
    async with served(shop) as site:
        (ask,) = (await demiurge(site)).of(step="ask")
        await shop.manager.answer_plan(ask["plan"], True, EVE)
        await shop.deploy("v5")
        await shop.stage()
        said = await agent(site, *ON, "--plan", ask["plan"])
    assert said.code == 4
    assert said.of(step="promote", to="prod", refused="plan_stale")
    assert shop.record().release is None


async def test_atlas_leaves_what_is_well_alone(site: Site) -> None:
    operations = len(site.shop.operations())
    said = await atlas(site)
    assert (said.code, {line["verdict"] for line in said.lines}) == (0, {"well"})
    assert len(site.shop.operations()) == operations


async def test_atlas_takes_a_young_bad_release_back_once(site: Site) -> None:
    way_back = site.shop.record().rollback_release
    site.shop.turn("v2", NEVER)
    said = await atlas(site)
    assert said.code == 0, said.lines
    assert said.of(ring="prod", verdict="rolled_back")
    assert site.shop.record().release == way_back
    again = await atlas(site)
    assert again.of(ring="prod", verdict="well")


async def test_atlas_holds_what_no_release_is_to_blame_for(site: Site) -> None:
    site.shop.turn("v2", NEVER)
    site.shop.machine.clock.seconds += timedelta(hours=2).total_seconds()
    operations = len(site.shop.operations())
    said = await atlas(site)
    assert said.code == 1
    assert "has been there since" in said.of(ring="prod", verdict="alert")[0]["held"]
    assert len(site.shop.operations()) == operations


async def test_atlas_takes_back_at_last_what_could_not_be_taken_back_at_first(folder: Path) -> None:
    shop = Shop(folder / "shop", config=twins())
    await settled(shop)
    await shop.manager.up("shared", ANN)
    for source in ("v1", "v2"):
        shop.turn(source, NEVER)
    async with served(shop) as site:
        for tries in (1, 2):
            said = await atlas(site)
            assert (said.code, len(said.of(ring="prod", verdict="alert"))) == (1, 1), said.lines
            events = (await shop.manager.history("prod", event="rollback")).events
            assert [event.outcome for event in events] == ["failed"] * tries
        shop.turn("v1", Fault())
        said = await atlas(site)
        assert said.code == 0, said.lines
        assert said.of(ring="prod", verdict="rolled_back")


@pytest.mark.parametrize("while_it_looks", [True, False])
async def test_atlas_tells_that_the_engine_is_away_and_goes_on_once_it_is_back(
    site: Site, while_it_looks: bool
) -> None:
    """The engine is away from the beginning, or goes while a ring is looked at again."""
    machine = site.shop.machine
    if while_it_looks:
        site.shop.turn("v2", NEVER)
    machine.away = not while_it_looks
    token = await token_of(site, "atlas")
    options = ("--every", "0.1", "--looks", "1000", "--pause", "0.05", f"{site.url}/mcp")
    async with asyncio.timeout(90), started("atlas.py", *options, RINGS_TOKEN=token) as lines:
        if while_it_looks:
            await found(lines, ring="dev", verdict="well")
            machine.away = True
        await found(lines, verdict="alert", refused="docker_unavailable")
        site.shop.turn("v2", Fault())
        machine.away = False
        await found(lines, ring="prod", verdict="well")


@asynccontextmanager
async def started(program: str, *arguments: str, **environment: str) -> AsyncGenerator[asyncio.StreamReader]:
    """What an agent that does not end by itself says, line by line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(AGENTS / program), *arguments, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def found(lines: asyncio.StreamReader, **facts: str) -> None:
    """Returns at the next line with all these facts."""
    while line := await lines.readline():
        if facts.items() <= json.loads(line).items():
            return
    raise AssertionError(f"it ended before it said {facts}")


# -- the same, with a server that the agent starts


async def test_demiurge_takes_a_good_change_to_users_over_stdio(folder: Path) -> None:
    said, shop = await over_stdio(folder, "ship:v1 deploy:v2", *DEMIURGE)
    assert said.code == 0, said.lines
    assert [line["outcome"] for line in said.of(step="promote")] == ["candidate_tagged", "promoted"]
    (event, *_) = (await shop.manager.history("prod", event="promote")).events
    assert (event.actor, event.reason) == ("demiurge (agent via mcp)", "a fix of the cart")


async def test_demiurge_reports_what_was_taken_back_over_stdio(folder: Path) -> None:
    said, shop = await over_stdio(folder, "ship:v1 deploy:v2:never-healthy", *DEMIURGE)
    assert said.code == 7, said.lines
    assert said.of(step="evidence")[0]["sections"]
    (event, *_) = (await shop.manager.history("prod", event="promote")).events
    assert (event.outcome, event.actor) == ("rolled_back", "demiurge (agent via mcp)")
    assert shop.record().release == shop.record().deployments[0].release


async def test_atlas_takes_a_young_bad_release_back_over_stdio_and_leaves_a_good_one(folder: Path) -> None:
    (folder / "well").mkdir()
    (folder / "ill").mkdir()
    well, _ = await over_stdio(folder / "well", "ship:v1 ship:v2 up:shared", *ATLAS)
    assert (well.code, {line["verdict"] for line in well.lines}) == (0, {"well"})
    ill, shop = await over_stdio(folder / "ill", "ship:v1 ship:v2 up:shared turn:v2:never-healthy", *ATLAS)
    assert ill.code == 0, ill.lines
    assert ill.of(ring="prod", verdict="rolled_back")
    (event, *_) = (await shop.manager.history("prod", event="rollback")).events
    assert event.actor == "atlas (agent via mcp)"
