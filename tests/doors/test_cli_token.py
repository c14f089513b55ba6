"""`ring-ctl token`, on a real rings.yaml: who gets a way in, and that its secret is shown once."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.shop import BOT, Shop
from typer.testing import CliRunner

from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.errors import EngineFailure, Forbidden
from aither_rings_mcp.domain.model import Actor, Event, RecordedEvent
from aither_rings_mcp.domain.redact import MASK, redact
from aither_rings_mcp.entrypoints.cli import create_app
from aither_rings_mcp.manager.ring_manager import RingManager
from aither_rings_mcp.ports import History
from aither_rings_mcp.wiring import build_manager, build_world

RINGS = """\
app: shop
services: {web: {probe: {http: /, port: 80}}}
rings:
  dev: {kind: runtime, project: shop-dev, compose: [c.yml]}
"""
_TEXT = re.compile(r"rings_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rings.yaml").write_text(RINGS)
    (tmp_path / "c.yml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RINGS_CONFIG", raising=False)
    monkeypatch.delenv("RINGS_STATE_DIR", raising=False)
    return tmp_path


def run(*words: str) -> Any:
    return CliRunner().invoke(create_app(build_manager), list(words))


def answer(*words: str, exit_code: int = 0) -> dict[str, Any]:
    result = run("--json", *words)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def test_a_token_is_made_listed_and_revoked(folder: Path) -> None:
    made = answer("token", "create", "atlas", "--role", "viewer")
    assert _TEXT.fullmatch(made["token"])
    created = made["created"]
    assert (created["name"], created["role"], created["kind"], created["state"]) == (
        "atlas",
        "viewer",
        "agent",
        "valid",
    )
    found = build_world().tokens.match(made["token"])
    assert found is not None
    assert (found.id, found.identity().role) == (created["id"], Role.VIEWER)

    assert [one["id"] for one in answer("token", "list")["tokens"]] == [created["id"]]
    assert answer("token", "revoke", created["id"])["revoked"]["state"] == "revoked"
    assert "was revoked before" in answer("token", "revoke", created["id"])["summary"]
    assert answer("token", "list")["tokens"][0]["state"] == "revoked"


@pytest.mark.promise(16)
def test_the_secret_is_in_one_answer_and_nowhere_else(folder: Path) -> None:
    result = run("token", "create", "ann", "--role", "approver", "--person", "--expires", "30d")
    assert result.exit_code == 0, result.output
    (text,) = _TEXT.findall(result.stdout)
    assert result.stdout.splitlines().count(text) == 1
    assert "an approver" in result.stdout
    secret = text[len("rings_0123456789ab_") :]
    later = run("token", "list").stdout + run("history").stdout + run("--json", "token", "list").stdout
    files = [file.read_text() for file in (folder / ".rings").rglob("*") if file.is_file()]
    assert files
    assert not any(secret in said for said in [later, *files])
    assert redact(f"sent {text} to x") == f"sent {MASK} to x"


@pytest.mark.promise(12)
def test_the_history_tells_of_each_change_once_by_whom(folder: Path) -> None:
    made = answer("token", "create", "ann", "--role", "approver", "--person", "--expires", "12h")["created"]
    answer("token", "revoke", made["id"])
    answer("token", "revoke", made["id"])
    events = answer("history")["events"]
    assert [(e["event"], e["outcome"], e["ring"]) for e in events] == [
        ("token", "revoked", "-"),
        ("token", "created", "-"),
    ]
    assert events[1]["detail"].startswith(f"ann ({made['id']}): person, approver, until ")
    assert "(person via cli)" in events[1]["actor"]
    assert answer("history", "verify")["ok"] is True
    assert run("history").exit_code == 0


def test_an_end_is_counted_from_now(folder: Path) -> None:
    made = answer("token", "create", "ci", "--role", "operator", "--expires", "30d")["created"]
    ends = datetime.fromisoformat(made["expires_at"])
    assert abs(ends - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    assert "expires_at" not in answer("token", "create", "other", "--role", "operator")["created"]


@pytest.mark.promise(13)
def test_that_nobody_sits_at_its_client_is_on_record(folder: Path) -> None:
    made = answer("token", "create", "demiurge", "--role", "operator", "--unattended")["created"]
    assert made["attended"] is False
    assert answer("token", "create", "claude", "--role", "operator")["created"]["attended"] is True
    assert answer("history")["events"][1]["detail"] == f"demiurge ({made['id']}): agent, operator, unattended"
    assert "unattended" in run("token", "list").stdout


@pytest.mark.promise(17)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "ci"), "--role"),
        (("create", "ci", "--role", "root"), "root"),
        (("create", "ci", "--role", "viewer", "--expires", "soon"), "no time from now"),
        (("create", "ci", "--role", "viewer", "--expires", "0s"), "no time from now"),
        (("create", "ci", "--role", "viewer", "--expires", "nan"), "no time from now"),
        (("create", "ci", "--role", "viewer", "--expires", f"{'9' * 20}d"), "that long"),
        (("create", " ci", "--role", "viewer"), "no blanks around"),
        (("create", "c\x1bi", "--role", "viewer"), "can be read"),
        (("create", "x" * 65, "--role", "viewer"), "64"),
        (("revoke", "0123456789ab"), "no token with the id"),
        (("revoke",), "ID"),
        (("forget", "0123456789ab"), "forget"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_was_done(folder: Path, words: tuple[str, ...], says: str) -> None:
    refused = answer("token", *words, exit_code=2)
    assert refused["error"]["code"] == "invalid_arguments"
    assert says in refused["error"]["message"]
    assert answer("token", "list")["tokens"] == []
    assert answer("history")["events"] == []


def test_a_name_in_use_is_refused(folder: Path) -> None:
    answer("token", "create", "ci", "--role", "viewer")
    assert "in use" in answer("token", "create", "ci", "--role", "viewer", exit_code=2)["error"]["message"]


def test_a_file_that_cannot_be_understood_is_told(folder: Path) -> None:
    answer("token", "create", "ci", "--role", "viewer")
    (folder / ".rings" / "tokens.json").write_text("{")
    assert answer("token", "list", exit_code=6)["error"]["code"] == "state_unreadable"


def test_token_is_found_in_the_help(folder: Path) -> None:
    assert "Access" in run("--help").stdout
    for word in ("create", "list", "revoke"):
        assert word in run("token", "--help").stdout


async def test_an_agent_gives_out_no_tokens(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for attempt in (
        lambda: shop.manager.create_token("ci", Role.VIEWER, BOT),
        lambda: shop.manager.revoke_token("0123456789ab", BOT),
    ):
        with pytest.raises(Forbidden, match="may not"):
            await attempt()
    assert (await shop.manager.tokens()).tokens == ()
    shop.close()


class Silent:
    """A history on a disk that is full."""

    def append(self, event: Event) -> RecordedEvent:
        raise EngineFailure("disk full", "Free space.")


async def test_no_token_counts_without_a_trace(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    manager = RingManager(replace(shop.world, history=cast("History", Silent())))
    with pytest.raises(EngineFailure):
        await manager.create_token("ci", Role.VIEWER, Actor(name="ann"))
    assert [token.state for token in (await manager.tokens()).tokens] == ["revoked"]
    shop.close()
