from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from failing_disks import CuttingDisk, PowerCut, fill

from aither_rings_mcp.adapters.state_file import StateFile
from aither_rings_mcp.domain.errors import EngineFailure, StateUnreadable
from aither_rings_mcp.domain.model import Deployment, Quarantine, RingRecord, State

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def state(commit: str, ring: str = "prod") -> State:
    record = RingRecord(
        tag=f"{ring}-{commit}",
        commit=commit,
        release="r-0123456789ab",
        deployed_at=AT,
        rollback_target=f"{ring}-before",
        deployments=(Deployment(release="r-0123456789ab", tag=f"{ring}-{commit}", commit=commit, deployed_at=AT),),
        quarantine=(Quarantine(release="r-ffffffffffff", since=AT, reason="ging unter: ünwell"),),
    )
    return State().with_ring(ring, record)


def test_no_file_is_the_empty_state(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "never-made").load() == State()
    assert not (tmp_path / "never-made").exists()


def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    store = StateFile(tmp_path / "state")
    store.save(state("abc1234"))
    assert store.load() == state("abc1234")


def test_the_file_is_for_people_too(tmp_path: Path) -> None:
    StateFile(tmp_path).save(state("abc1234").with_ring("dev", RingRecord()))
    text = (tmp_path / "rings-state.json").read_text()
    fields = json.loads(text)
    assert text == json.dumps(fields, indent=2, sort_keys=True) + "\n"
    assert fields["version"] == 1
    assert "null" not in text
    prod = fields["rings"]["prod"]
    assert {"tag", "commit", "release", "deployed_at", "rollback_target"} <= prod.keys()
    assert (tmp_path / "rings-state.json").stat().st_mode & 0o777 == 0o600


def test_the_state_before_is_kept_beside_and_saving_the_same_again_does_not_lose_it(tmp_path: Path) -> None:
    store = StateFile(tmp_path)
    store.save(state("1111111"))
    store.save(state("2222222"))
    store.save(state("2222222"))
    (tmp_path / "rings-state.json.bak").replace(tmp_path / "rings-state.json")
    assert store.load() == state("1111111")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'"text"',
        b'{"version": "1"}',
        b'{"version": true}',
        b'{"version": -1}',
        b'{"version": 1, "rings": []}',
        b'{"version": 1, "surprise": {}}',
        b'{"version": 1, "rings": {"prod": {"tag": 7}}}',
        b'{"version": 1, "rings": {"prod": {"deployed_at": "2026-01-31T12:00:00"}}}',
    ],
    ids=lambda content: content[:50].decode(errors="replace"),
)
def test_an_unreadable_file_is_named_with_the_way_out_and_never_overwritten(tmp_path: Path, content: bytes) -> None:
    path, store = tmp_path / "rings-state.json", StateFile(tmp_path)
    path.write_bytes(content)
    with pytest.raises(StateUnreadable) as caught:
        store.load()
    assert str(path) in caught.value.message
    assert "rings-state.json.bak" in caught.value.next_step
    with pytest.raises(StateUnreadable):
        store.save(state("abc1234"))
    assert path.read_bytes() == content


def test_a_fault_in_the_file_is_located_without_showing_the_value(tmp_path: Path) -> None:
    (tmp_path / "rings-state.json").write_text('{"version": 1, "rings": {"prod": {"tag": {"hunter2": 1}}}}')
    with pytest.raises(StateUnreadable, match=r"rings\.prod\.tag") as caught:
        StateFile(tmp_path).load()
    assert "hunter2" not in caught.value.message


def test_a_folder_in_the_place_of_the_file_is_state_unreadable(tmp_path: Path) -> None:
    (tmp_path / "rings-state.json").mkdir()
    with pytest.raises(StateUnreadable, match="directory"):
        StateFile(tmp_path).load()


def test_a_file_of_a_newer_version_asks_for_an_upgrade_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rings-state.json"
    path.write_text('{"version": 2, "rings": {}, "new": true}')
    for attempt in (StateFile(tmp_path).load, lambda: StateFile(tmp_path).save(state("abc1234"))):
        with pytest.raises(StateUnreadable, match="version 2") as caught:
            attempt()
        assert "Upgrade" in caught.value.next_step
    assert '"new": true' in path.read_text()


FLAT: dict[str, Any] = {
    "prod": {
        "tag": "prod-abc1234",
        "commit": "abc1234def",
        "deployed_at": "2025-11-02T10:00:00Z",
        "rollback_target": "prod-9999999",
    }
}


def from_flat(flat: dict[str, Any]) -> dict[str, Any]:
    """The article's file, ring -> what runs there, as version 1."""
    return {"rings": {ring: {**record, "running": True} for ring, record in flat.items()}}


def test_an_older_file_is_migrated_on_load_and_written_on_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "rings-state.json"
    path.write_text(json.dumps(FLAT))
    store = StateFile(tmp_path, migrations={0: from_flat})
    loaded = store.load()
    assert loaded.ring("prod").tag == "prod-abc1234"
    assert loaded.ring("prod").rollback_target == "prod-9999999"
    assert loaded.ring("prod").deployed_at == datetime(2025, 11, 2, 10, 0, tzinfo=UTC)
    assert json.loads(path.read_text()) == FLAT
    store.save(loaded)
    assert json.loads(path.read_text())["version"] == 1
    assert StateFile(tmp_path).load() == loaded
    assert json.loads((tmp_path / "rings-state.json.bak").read_text()) == FLAT


def test_an_older_file_that_nothing_migrates_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "rings-state.json").write_text(json.dumps(FLAT))
    with pytest.raises(StateUnreadable, match="migrate"):
        StateFile(tmp_path, migrations={}).load()


@pytest.mark.promise(5)
@pytest.mark.parametrize("names_survive", [True, False])
def test_a_power_cut_at_any_step_of_a_save_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, names_survive: bool
) -> None:
    older, old, new = state("0000000"), state("1111111"), state("2222222")
    cuts = 0
    for cut_at in range(1, 100):
        folder = tmp_path / str(cut_at)
        StateFile(folder).save(older)
        StateFile(folder).save(old)
        try:
            StateFile(folder, disk=CuttingDisk(cut_at, names_survive)).save(new)
        except PowerCut:
            cuts += 1
        else:
            break
        assert StateFile(folder).load() in (old, new)
        (folder / "rings-state.json.bak").replace(folder / "rings-state.json")
        assert StateFile(folder).load() in (older, old)
    assert cuts == 10
    assert StateFile(folder).load() == new


@pytest.mark.promise(5)
def test_a_full_disk_changes_nothing_and_says_so(small_disk: Path) -> None:
    store = StateFile(small_disk)
    store.save(state("1111111"))
    before = (small_disk / "rings-state.json").read_bytes()
    fill(small_disk)
    with pytest.raises(EngineFailure, match="disk full") as caught:
        store.save(state("2222222"))
    assert caught.value.exit_code == 5
    assert f"Free space on the disk that holds {small_disk}" in caught.value.next_step
    assert sorted(os.listdir(small_disk)) == ["ballast", "rings-state.json"]
    assert (small_disk / "rings-state.json").read_bytes() == before
