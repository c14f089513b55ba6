from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest
from failing_disks import CuttingDisk, PowerCut, RefusingDisk, fill

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.errors import EngineFailure

OLD, NEW = b"old" * 1000, b"new!" * 2000
STEPS_OF_A_REPLACE = 5
pytestmark = pytest.mark.promise(5)


@pytest.mark.parametrize("names_survive", [True, False])
@pytest.mark.parametrize("before", [OLD, None])
@pytest.mark.parametrize("cut_at", range(1, STEPS_OF_A_REPLACE + 1))
def test_a_power_cut_at_any_step_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, cut_at: int, before: bytes | None, names_survive: bool
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(PowerCut):
        durable.replace(path, NEW, CuttingDisk(cut_at, names_survive))
    assert (path.read_bytes() if path.exists() else None) in (before, NEW)
    durable.replace(path, NEW)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("names_survive", [True, False])
def test_what_was_replaced_stays_replaced_when_the_power_goes_right_after(tmp_path: Path, names_survive: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    disk = CuttingDisk(STEPS_OF_A_REPLACE + 1, names_survive)
    durable.replace(path, NEW, disk)
    disk.lose_power()
    assert path.read_bytes() == NEW


def test_the_cutting_disk_does_tear_a_file_that_was_not_synced(tmp_path: Path) -> None:
    disk, path = CuttingDisk(), tmp_path / "file"
    fd = disk.create(tmp_path / "aside")
    disk.write(fd, NEW)
    os.close(fd)
    disk.rename(tmp_path / "aside", path)
    disk.lose_power()
    assert path.read_bytes() == NEW[: len(NEW) // 2]


@pytest.mark.parametrize("names_survive", [True, False])
@pytest.mark.parametrize("cut_at", range(1, 7))
def test_a_created_file_is_whole_or_absent_after_a_power_cut(tmp_path: Path, cut_at: int, names_survive: bool) -> None:
    path = tmp_path / "file"
    with pytest.raises(PowerCut):
        durable.create(path, NEW, CuttingDisk(cut_at, names_survive))
    assert not path.exists() or path.read_bytes() == NEW


def test_a_file_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert durable.create(path, OLD)
    assert not durable.create(path, NEW)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("refuse_at", range(1, STEPS_OF_A_REPLACE))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_a_step_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, refuse_at: int, code: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with pytest.raises(EngineFailure) as caught:
        durable.replace(path, NEW, RefusingDisk(refuse_at, code))
    assert str(path) in caught.value.message
    assert ("disk full" in caught.value.message) == (code != errno.EIO)
    assert str(tmp_path) in caught.value.next_step
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_really_full_disk_leaves_the_old_file_and_says_where_to_free_space(small_disk: Path) -> None:
    path = small_disk / "file"
    durable.replace(path, OLD)
    fill(small_disk)
    with pytest.raises(EngineFailure, match="disk full") as caught:
        durable.replace(path, NEW)
    assert str(small_disk) in caught.value.next_step
    assert path.read_bytes() == OLD
    assert sorted(os.listdir(small_disk)) == ["ballast", "file"]
    (small_disk / "ballast").unlink()
    durable.replace(path, NEW)
    assert path.read_bytes() == NEW


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    old_umask = os.umask(0)
    try:
        folder = durable.folder(tmp_path / "a" / "b")
        durable.replace(folder / "replaced", NEW)
        durable.create(folder / "created", NEW)
        with durable.locked(folder / "lock"):
            pass
    finally:
        os.umask(old_umask)
    assert [p.stat().st_mode & 0o777 for p in (tmp_path / "a", folder)] == [0o700, 0o700]
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()} == {
        "replaced": 0o600,
        "created": 0o600,
        "lock": 0o600,
    }


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EngineFailure, match="file/inside") as caught:
        durable.folder(tmp_path / "file" / "inside")
    assert "writable folder" in caught.value.next_step


def test_a_folder_that_is_removed_is_there_whole_or_not_at_all_wherever_it_is_cut(tmp_path: Path) -> None:
    for names_survive in (True, False):
        for cut_at in itertools.count(1):
            folder = tmp_path / f"{names_survive}-{cut_at}" / "r-1"
            (folder / "gates").mkdir(parents=True)
            (folder / "release.json").write_text("{}")
            (folder / "gates" / "log").write_text("well")
            try:
                durable.remove_folder(folder, CuttingDisk(cut_at, names_survive))
            except PowerCut:
                assert not folder.exists() or (folder / "gates" / "log").read_text() == "well"
                neighbour = folder.with_name("r-2")
                neighbour.mkdir()
                durable.remove_folder(neighbour)
                assert [path.name for path in folder.parent.iterdir()] == (["r-1"] if folder.exists() else [])
            else:
                assert list(folder.parent.iterdir()) == []
                break
