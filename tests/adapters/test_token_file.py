"""`tokens.json`: whom a server lets in, and that nothing but the right text does."""

from __future__ import annotations

import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aither_rings_mcp.adapters.token_file import TokenFile
from aither_rings_mcp.domain.access import Role
from aither_rings_mcp.domain.errors import EngineFailure, InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.tokens import Token, hashed, read, written

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECRET = "s" * 40 + "-_9"
TEXT = written("0123456789ab", SECRET)


def token(token_id: str = "0123456789ab", name: str = "ci", **fields: object) -> Token:
    made = Token(
        id=token_id,
        name=name,
        role=Role.OPERATOR,
        kind="agent",
        hash=hashed(SECRET),
        created_at=AT,
        created_by="ann (person via cli)",
    )
    return made.model_copy(update=fields)


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "state")


def test_no_file_is_no_tokens(tokens: TokenFile) -> None:
    assert tokens.all() == ()
    assert tokens.match(TEXT) is None


@pytest.mark.promise(16)
def test_the_file_is_private_and_holds_no_secret(tokens: TokenFile, tmp_path: Path) -> None:
    tokens.add(token())
    file = tmp_path / "state" / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in file.read_text()
    assert TokenFile(tmp_path / "state").all() == (token(),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rings_",
        SECRET,
        written("0123456789ab", "S" + SECRET[1:]),
        written("0123456789ac", SECRET),
        written("0123456789ab", ""),
        written("0123456789ab", SECRET + "s"),
        f" {TEXT}",
        f"{TEXT}\n",
        TEXT.upper(),
        written("0123456789ab", hashed(SECRET)[:43]),
        "rings_0123456789ab_" + "é" * 43,
    ],
)
def test_nothing_but_the_whole_text_matches(tokens: TokenFile, text: str) -> None:
    tokens.add(token())
    assert tokens.match(TEXT) == token()
    assert tokens.match(text) is None


def test_a_token_that_no_longer_counts_is_known_and_says_so(tokens: TokenFile) -> None:
    tokens.add(token(expires_at=AT + timedelta(hours=1)))
    found = tokens.match(TEXT)
    assert found is not None
    ends = AT + timedelta(hours=1)
    assert [found.state(at) for at in (AT, ends - timedelta(seconds=1), ends)] == ["valid", "valid", "expired"]
    tokens.revoke(found.id, AT)
    again = tokens.match(TEXT)
    assert again is not None
    assert again.state(AT) == "revoked"


def test_a_running_server_sees_what_another_process_changed(tokens: TokenFile, tmp_path: Path) -> None:
    server = TokenFile(tmp_path / "state")
    assert server.match(TEXT) is None
    tokens.add(token())
    assert server.match(TEXT) == token()
    tokens.revoke("0123456789ab", AT)
    found = server.match(TEXT)
    assert found is not None
    assert found.revoked_at == AT
    (tmp_path / "state" / "tokens.json").unlink()
    assert server.match(TEXT) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"tokens": [{"id": "x"}]}', b'{"version": 1, "more": 1}', b"\xff"]
)
def test_a_file_that_cannot_be_understood_lets_nobody_in(tokens: TokenFile, tmp_path: Path, content: bytes) -> None:
    tokens.add(token())
    assert tokens.match(TEXT)
    (tmp_path / "state" / "tokens.json").write_bytes(content)
    for ask in (tokens.all, lambda: tokens.match(TEXT), lambda: tokens.match("nonsense")):
        with pytest.raises(StateUnreadable, match="cannot be understood") as refused:
            ask()
        assert "Restore" in refused.value.next_step
    with pytest.raises(StateUnreadable):
        tokens.add(token("0123456789ac", "other"))
    assert (tmp_path / "state" / "tokens.json").read_bytes() == content


def test_a_file_that_cannot_be_read_lets_nobody_in(tokens: TokenFile, tmp_path: Path) -> None:
    (tmp_path / "state" / "tokens.json").mkdir(parents=True)
    with pytest.raises(StateUnreadable, match="cannot be read"):
        tokens.match(TEXT)


def test_of_those_that_count_no_two_have_one_name(tokens: TokenFile) -> None:
    tokens.add(token())
    with pytest.raises(InvalidArguments, match="'ci' is in use"):
        tokens.add(token("0123456789ac"))
    tokens.revoke("0123456789ab", AT)
    tokens.add(token("0123456789ac"))
    with pytest.raises(InvalidArguments, match="already"):
        tokens.add(token("0123456789ac", "other"))
    assert [one.id for one in tokens.all()] == ["0123456789ab", "0123456789ac"]


def test_revoking_twice_keeps_the_first_time_and_nobody_is_not_revoked(tokens: TokenFile) -> None:
    tokens.add(token())
    assert tokens.revoke("0123456789ab", AT).revoked_at == AT
    assert tokens.revoke("0123456789ab", AT + timedelta(days=1)).revoked_at == AT
    with pytest.raises(InvalidArguments, match="no token"):
        tokens.revoke("0123456789ac", AT)


def _add(folder: Path, number: int) -> None:
    TokenFile(folder).add(token(f"{number:012x}", f"t{number}"))


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    several = [context.Process(target=_add, args=(tmp_path, number)) for number in range(6)]
    for process in several:
        process.start()
    for process in several:
        process.join(60)
    assert {one.name for one in TokenFile(tmp_path).all()} == {f"t{number}" for number in range(6)}


def test_on_a_full_disk_the_file_stays_as_it_was(small_disk: Path) -> None:
    tokens = TokenFile(small_disk)
    tokens.add(token())
    (small_disk / "ballast").write_bytes(b"x" * 40_000)
    with pytest.raises(EngineFailure, match="disk full"):
        for number in range(200):
            tokens.add(token(f"{number:012x}", f"t{number}" + "x" * 500))
    assert tokens.match(TEXT) == token()


def test_a_text_is_read_as_it_was_written() -> None:
    assert read(TEXT) == ("0123456789ab", SECRET)
