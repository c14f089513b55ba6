from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from failing_disks import CuttingDisk, PowerCut

from aither_rings_mcp.adapters.release_files import ReleaseFiles
from aither_rings_mcp.domain.errors import InvalidArguments, StateUnreadable
from aither_rings_mcp.domain.model import Release

CONFIG: dict[str, Any] = {"services": {"genesis": {"environment": {"PASSWORD": "s3cret"}, "command": None}}}


def release(commit: str = "abc1234") -> Release:
    return Release(
        id="r-0123456789ab",
        ring="dev",
        commit=commit,
        tag=f"dev-{commit}",
        images={"genesis": "sha256:" + "1" * 64},
        config_hash="c" * 64,
        created_at=datetime(2026, 1, 31, 12, 0, tzinfo=UTC),
    )


def test_a_release_comes_back_with_its_config(tmp_path: Path) -> None:
    ReleaseFiles(tmp_path).save(release(), CONFIG)
    assert ReleaseFiles(tmp_path).load("r-0123456789ab") == release()
    assert ReleaseFiles(tmp_path).config("r-0123456789ab") == CONFIG


@pytest.mark.promise(16)
def test_a_config_that_may_hold_secrets_is_for_its_owner_alone(tmp_path: Path) -> None:
    releases = ReleaseFiles(tmp_path)
    releases.save(release(), CONFIG)
    folder = releases.runnable("r-0123456789ab", CONFIG).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()} == {
        "release.json": 0o600,
        "compose.json": 0o600,
        "run.json": 0o600,
    }


def test_the_same_id_again_changes_nothing(tmp_path: Path) -> None:
    releases = ReleaseFiles(tmp_path)
    releases.save(release(), CONFIG)
    releases.save(release("fffffff"), {"services": {}})
    assert releases.load("r-0123456789ab") == release()
    assert releases.config("r-0123456789ab") == CONFIG


def test_what_compose_runs_is_the_config_as_given_and_a_preview_has_a_file_of_its_own(tmp_path: Path) -> None:
    releases = ReleaseFiles(tmp_path)
    releases.save(release(), CONFIG)
    run = releases.runnable("r-0123456789ab", {"name": "prod"})
    preview = releases.runnable("r-0123456789ab", {"name": "preview"}, name="compose")
    assert run == tmp_path / "releases" / "r-0123456789ab" / "run.json"
    assert json.loads(run.read_text()) == {"name": "prod"}
    assert json.loads(preview.read_text()) == {"name": "preview"}
    assert releases.config("r-0123456789ab") == CONFIG


def test_an_unknown_release_is_refused_with_where_to_look(tmp_path: Path) -> None:
    releases = ReleaseFiles(tmp_path)
    for attempt in (releases.load, releases.config, lambda i: releases.runnable(i, {})):
        with pytest.raises(InvalidArguments) as caught:
            attempt("r-ffffffffffff")
        assert "ring-ctl history" in caught.value.next_step
    assert not (tmp_path / "releases").exists()


@pytest.mark.parametrize("odd", ["", "../x", "r-0123456789ab/..", "r-0123456789ab\n", "r-XYZ"])
def test_an_id_that_is_no_id_never_becomes_a_path(tmp_path: Path, odd: str) -> None:
    with pytest.raises(InvalidArguments):
        ReleaseFiles(tmp_path).load(odd)


@pytest.mark.parametrize("name", ["release.json", "compose.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_an_unreadable_release_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    releases = ReleaseFiles(tmp_path)
    releases.save(release(), CONFIG)
    (tmp_path / "releases" / "r-0123456789ab" / name).write_bytes(content)
    with pytest.raises(StateUnreadable, match=name):
        releases.config("r-0123456789ab")


@pytest.mark.promise(5)
@pytest.mark.parametrize("names_survive", [True, False])
def test_a_release_that_is_there_is_there_with_its_config(tmp_path: Path, names_survive: bool) -> None:
    for cut_at in range(1, 100):
        folder = tmp_path / str(cut_at)
        try:
            ReleaseFiles(folder, CuttingDisk(cut_at, names_survive)).save(release(), CONFIG)
        except PowerCut:
            releases = ReleaseFiles(folder)
            try:
                releases.load("r-0123456789ab")
            except InvalidArguments:
                releases.save(release(), CONFIG)
            assert releases.config("r-0123456789ab") == CONFIG
        else:
            break
    assert cut_at > 10
