"""What a client offers while somebody types: the config's names and the newest operations."""

from __future__ import annotations

import pytest
from mcp_asked import Asked
from mcp_fake_rings import SERVICES, FakeRings
from mcp_types import PromptReference, ResourceTemplateReference

from aither_rings_mcp.entrypoints.mcp_server import build_server


@pytest.fixture(params=["auto", "legacy"])
def client(request: pytest.FixtureRequest) -> Asked:
    return Asked(build_server(FakeRings()), request.param)


def prompt(name: str) -> PromptReference:
    return PromptReference(type="ref/prompt", name=name)


def template(uri: str) -> ResourceTemplateReference:
    return ResourceTemplateReference(type="ref/resource", uri=uri)


@pytest.mark.parametrize(
    ("ref", "argument", "typed", "offered"),
    [
        (prompt("diagnose_ring"), "ring", "", ["dev", "prod"]),
        (prompt("rollback_or_wait"), "ring", "p", ["prod"]),
        (prompt("promote_after_change"), "target", "", ["staging", "prod"]),
        (prompt("diagnose_ring"), "service", "", list(SERVICES)),
        (prompt("diagnose_ring"), "service", "v", ["veil", "voice", "vision"]),
        (template("ring://{ring}/state"), "ring", "", ["dev", "staging", "prod"]),
        (template("ring://operations/{id}"), "id", "", ["op-2", "op-1"]),
        (template("ring://operations/{id}/log"), "id", "op-1", ["op-1"]),
        (template("ring://plans/{id}"), "id", "", ["plan-2", "plan-1"]),
        (template("ring://plans/{id}"), "id", "plan-1", ["plan-1"]),
        (template("ring://operations/{id}"), "ring", "", []),
        (prompt("no_such_prompt"), "ring", "", []),
    ],
)
async def test_the_names_that_fit_are_offered(
    client: Asked, ref: PromptReference | ResourceTemplateReference, argument: str, typed: str, offered: list[str]
) -> None:
    completion = (await client.complete(ref, {"name": argument, "value": typed})).completion
    assert completion.values == offered
    assert not completion.has_more
