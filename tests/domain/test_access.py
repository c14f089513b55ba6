"""Who may do what, and how it is said to whoever may not."""

from __future__ import annotations

import pytest

from aither_rings_mcp.domain.access import Grant, Identity, Role
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, ReadOnly
from aither_rings_mcp.domain.model import Actor

VIEWER, OPERATOR, APPROVER = Role
ANN = Actor(name="ann", kind="agent", door="rest")


def shown(role: Role, token: str | None = "0123456789ab") -> Identity:
    return Identity(name="ci", kind="agent", role=role, token=token)


@pytest.mark.parametrize(
    ("role", "may"),
    [(VIEWER, {VIEWER}), (OPERATOR, {VIEWER, OPERATOR}), (APPROVER, {VIEWER, OPERATOR, APPROVER})],
)
def test_a_role_may_what_the_roles_below_it_may(role: Role, may: set[Role]) -> None:
    assert {needed for needed in Role if role.may(needed)} == may


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("server", Role)
def test_a_token_narrows_the_servers_grant_and_never_widens_it(role: Role, server: Role) -> None:
    granted = Grant(role=server, read_only=True, allow_force=True).to(shown(role))
    assert all(granted.role.may(needed) == (role.may(needed) and server.may(needed)) for needed in Role)
    assert (granted.read_only, granted.allow_force) == (True, True)


@pytest.mark.promise(13)
def test_without_a_token_a_role_is_worth_no_more_than_an_operators() -> None:
    assert [role.unproven for role in Role] == [VIEWER, OPERATOR, OPERATOR]


def test_without_an_identity_the_servers_own_grant_holds() -> None:
    assert Grant(role=OPERATOR).to(None) == Grant(role=OPERATOR)


def test_who_may_is_let_through() -> None:
    Grant(role=OPERATOR).change()
    Grant(role=APPROVER).change()
    Grant(role=APPROVER).approve()


@pytest.mark.promise(17)
@pytest.mark.parametrize(
    ("grant", "says", "then"),
    [
        (
            Grant(role=VIEWER),
            "this server was started with --role viewer, which may not change a ring: that takes operator",
            "Whoever runs the server can start it with --role operator.",
        ),
        (
            Grant(role=APPROVER).to(shown(VIEWER)),
            "the token ci (0123456789ab) has the role viewer, which may not change a ring: that takes operator",
            "ring-ctl token create NAME --role operator",
        ),
        (
            Grant(role=OPERATOR).to(shown(VIEWER, None)),
            "nobody without a token may change a ring here: that takes operator",
            "ring-ctl token create NAME --role operator",
        ),
    ],
)
def test_a_refused_change_names_the_role_and_who_can_give_it(grant: Grant, says: str, then: str) -> None:
    with pytest.raises(Forbidden) as refused:
        grant.change()
    assert refused.value.message == says
    assert then in refused.value.next_step
    assert refused.value.details == {"role": "viewer", "needed": "operator"}


@pytest.mark.parametrize("role", [VIEWER, OPERATOR])
def test_only_an_approver_answers_plans(role: Role) -> None:
    with pytest.raises(Forbidden, match=f"the role {role}, which may not answer a plan: that takes approver"):
        Grant(role=APPROVER).to(shown(role)).approve()


def test_a_server_that_only_looks_refuses_every_role() -> None:
    grant = Grant(role=APPROVER, read_only=True)
    for use in (grant.change, grant.approve):
        with pytest.raises(ReadOnly, match="--read-only"):
            use()


def test_force_is_granted_with_a_reason_or_not_at_all() -> None:
    assert Grant(role=APPROVER).override(False, None, ANN) is None
    with pytest.raises(Forbidden, match="--allow-force"):
        Grant(role=APPROVER).override(True, "prod is down", ANN)
    loose = Grant(role=OPERATOR, allow_force=True)
    with pytest.raises(InvalidArguments, match="reason"):
        loose.override(True, " x ", ANN)
    forced = loose.override(True, " prod is down ", ANN)
    assert forced is not None
    assert (forced.by, forced.reason) == ("ann (agent via rest)", "prod is down")


def test_an_identity_acts_under_its_tokens_name_whatever_the_client_calls_itself() -> None:
    actor = shown(OPERATOR).actor("mcp", via="root/1.0", call="7")
    assert str(actor) == "ci (agent via mcp)"
    assert actor.model_dump() == {"name": "ci", "kind": "agent", "door": "mcp", "via": "root/1.0", "call": "7"}


def test_an_actor_of_an_older_version_is_read_and_written_as_it_was() -> None:
    old = '{"name":"ann","kind":"person","door":"cli"}'
    actor = Actor.model_validate_json(old)
    assert actor.model_dump_json() == old
    assert actor == Actor(name="ann")
    assert str(actor) == "ann (person via cli)"
