"""Whatever a client sends: answers fit their schema, refusals teach, and a refused call changes nothing.

`RINGS_EXAMPLES=500` looks further, and elsewhere each time; without it every run sends the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.memory import quick_folder
from fakes.shop import ANN, Shop, reopened
from fakes.stories import candidate
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_asked import read
from mcp_types import INTERNAL_ERROR, CallToolResult, PromptReference, ResourceTemplateReference, Tool

from aither_rings_mcp.domain.settings import AskedOf, Settings
from aither_rings_mcp.entrypoints.mcp_server import build_server

EXAMPLES = int(os.environ.get("RINGS_EXAMPLES", "10"))
#: The hard cap of an answer is 8,000 tokens; characters of compact JSON in one, at the cautious end.
MOST = 8000 * 3
SERVERS: Mapping[str, dict[str, Any]] = {
    "viewer": {"role": "viewer"},
    "operator": {"role": "operator"},
    "operator, read-only": {"role": "operator", "read_only": True},
    "operator, force allowed": {"role": "operator", "allow_force": True},
    "approver": {"role": "approver"},
}

TEXTS = st.text(max_size=30) | st.sampled_from(
    ["", " ", "x" * 100_000, "\x00", "../../etc/passwd", "r-0123456789ab", "op-1", "plan-0a1b2c3d", "prod"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CODES_OF_A_BUG = {"internal", "config_invalid", "state_unreadable"}


def looked(examples: int) -> settings:
    """Without shrinking: an example is a few calls, and each takes a shop."""
    return settings(
        max_examples=examples,
        derandomize="RINGS_EXAMPLES" not in os.environ,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class Known:
    """A shop with something to promote, to go back to and to approve, and the names that a client could know of it."""

    def __init__(self, folder: Path) -> None:
        shop = Shop(folder / "known")
        self.names = asyncio.run(self._told(shop))
        self.snapshot = replace(shop.snapshot(), settings=asking(shop.settings))
        self.listed = {tool.name: tool for tool in asyncio.run(self._tools(shop))}
        shop.close()

    async def _told(self, shop: Shop) -> list[str]:
        await candidate()(shop)
        plan = await shop.manager.plan("staging", "prod", ANN)
        operations = [op.id for op in shop.operations()[:2]]
        record = shop.record()
        return [plan.plan_id, plan.plan_hash, *operations, str(record.release), str(record.tag), "shop-prod", "api"]

    async def _tools(self, shop: Shop) -> list[Tool]:
        async with Client(build_server(shop.manager, role="approver")) as client:
            return (await client.list_tools()).tools


def asking(given: Settings) -> Settings:
    """The same rings, whose last path asks a person where an agent goes along it."""
    *first, last = given.paths
    return given.model_copy(update={"paths": (*first, last.model_copy(update={"approval": AskedOf.AGENTS}))})


@pytest.fixture(scope="module")
def known() -> Iterator[Known]:
    with quick_folder() as folder:
        yield Known(folder)


def arguments(known: Known, name: str) -> st.SearchStrategy[dict[str, Any]]:
    """What the schema says, for the most part; and then something that it does not say."""
    schema = known.listed[name].input_schema
    needed: set[str] = set(schema.get("required", ()))
    fitting = {key: fits(known, prop) for key, prop in schema["properties"].items()}
    right = st.fixed_dictionaries(
        {key: value for key, value in fitting.items() if key in needed},
        optional={key: value for key, value in fitting.items() if key not in needed},
    )
    keys = st.sampled_from(sorted(fitting)).flatmap(lambda key: st.sampled_from([key, key.replace("_", ""), key[1:]]))
    wrong = st.dictionaries(keys | TEXTS, ANYTHING, max_size=3)
    short = st.sampled_from(sorted(fitting)).flatmap(
        lambda key: right.map(lambda said: {k: v for k, v in said.items() if k != key})
    )
    return right | right | short | st.builds(lambda said, more: {**said, **more}, right, wrong) | wrong


def fits(known: Known, prop: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    match prop:
        case {"enum": [*values]}:
            return st.sampled_from(values)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer" | "number"}:
            # a call that waits long only moves the shop's clock
            return st.integers(int(prop.get("minimum", 0)), int(prop.get("maximum", 1 << 40)))
        case {"type": "array", "items": {**items}}:
            return st.lists(fits(known, items), min_size=1, max_size=3)
        case {"format": "date-time"}:
            return st.datetimes().map(lambda at: at.isoformat())
        case _:
            return st.sampled_from(known.names) | TEXTS.filter(bool).map(lambda text: text[: prop.get("maxLength")])


def calls(known: Known) -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    one = st.sampled_from(sorted(known.listed)).flatmap(lambda name: st.tuples(st.just(name), arguments(known, name)))
    return st.lists(one, min_size=4, max_size=10)


def kept(shop: Shop) -> dict[str, bytes]:
    """Every file of the installation."""
    return {str(path): path.read_bytes() for path in (shop.folder / "state").rglob("*") if path.is_file()}


def everything(shop: Shop) -> dict[str, bytes]:
    """What a refused call has to leave alone, byte for byte; an attempt to answer a plan is told to the history."""
    return {**kept(shop), "the machine": pickle.dumps(shop.machine)}


async def meets(known: Known, shop: Shop, client: Client, name: str, said: dict[str, Any]) -> None:
    before = everything(shop)
    result = await client.call_tool(name, said)
    assert isinstance(result, CallToolResult)
    sent = f"{name} {said!r:.300}"
    if result.is_error:
        _, facts = read(result)
        assert facts["code"] not in CODES_OF_A_BUG, (sent, facts)
        # an operation that ended so was begun, not refused
        if "operation_id" not in facts or facts["code"] == "ring_busy":
            now = everything(shop)
            spared = {path for path in {*before, *now} if name == "ring_approve" and "history" in path}
            assert {p: c for p, c in before.items() if p not in spared} == {
                p: c for p, c in now.items() if p not in spared
            }, sent
        return
    answer = result.structured_content
    assert answer is not None
    jsonschema.validate(answer, known.listed[name].output_schema or {}, format_checker=jsonschema.FormatChecker())
    assert len(json.dumps(answer, separators=(",", ":"))) < MOST, sent
    for action in answer["next_actions"]:
        jsonschema.validate(action["arguments"], known.listed[action["tool"]].input_schema)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.promise(16)
def test_no_arguments_meet_a_bug_or_change_something_by_being_refused(known: Known, server: str) -> None:
    @looked(EXAMPLES)
    @given(calls(known))
    def tried(sent: list[tuple[str, dict[str, Any]]]) -> None:
        async def all_of_them() -> None:
            with quick_folder() as folder:
                shop = reopened(known.snapshot, folder / "shop")
                try:
                    async with Client(build_server(shop.manager, **SERVERS[server])) as client:
                        offered = {tool.name for tool in (await client.list_tools()).tools}
                        for name, said in sent:
                            if name in offered:
                                await meets(known, shop, client, name, said)
                finally:
                    shop.close()

        asyncio.run(all_of_them())

    tried()


@looked(5 * EXAMPLES)
@given(st.data())
def test_neither_do_resources_prompts_or_completion(known: Known, data: st.DataObject) -> None:
    texts = st.sampled_from(known.names) | TEXTS
    uri = data.draw(
        st.builds("ring://{}".format, texts)
        | st.builds("ring://operations/{}".format, texts)
        | st.builds("ring://plans/{}".format, texts)
        | st.builds("ring://{}/state".format, texts)
        | texts
    )
    prompt = data.draw(st.sampled_from(["patrol", "diagnose_ring", "rollback_or_wait"]) | texts)
    given_words = data.draw(st.dictionaries(st.sampled_from(["ring", "service", "target"]) | texts, texts, max_size=3))
    words = {"name": data.draw(st.sampled_from(["ring", "id"]) | texts), "value": data.draw(texts)}

    async def ask() -> None:
        with quick_folder() as folder:
            shop = reopened(known.snapshot, folder / "shop")
            before = kept(shop)
            try:
                async with Client(build_server(shop.manager)) as client:
                    for asked in (
                        lambda: client.read_resource(uri),
                        lambda: client.get_prompt(prompt, given_words),
                        lambda: client.complete(PromptReference(type="ref/prompt", name=prompt), words),
                        lambda: client.complete(ResourceTemplateReference(type="ref/resource", uri=uri), words),
                    ):
                        try:
                            await asked()
                        except MCPError as error:
                            assert error.error.code != INTERNAL_ERROR, (uri, prompt, given_words, words)
                assert kept(shop) == before
            finally:
                shop.close()

    asyncio.run(ask())
