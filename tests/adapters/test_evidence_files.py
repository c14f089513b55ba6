from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest
from failing_disks import CuttingDisk, PowerCut

from aither_rings_mcp.adapters.durable import Disk
from aither_rings_mcp.adapters.evidence_files import EvidenceFiles
from aither_rings_mcp.domain.errors import EngineFailure, StateUnreadable
from aither_rings_mcp.domain.evidence import Bundle, Section, draft, fit

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FIRST = "op-20260131t120000-000001"


def op(number: int) -> str:
    return f"op-20260131t1200{number:02}-0000aa"


def sections(said: str = "it failed") -> tuple[Section, ...]:
    return fit([draft("summary", said), draft("logs", {"api": said})])


def bundle(operation_id: str = FIRST) -> Bundle:
    return Bundle(
        operation_id=operation_id,
        ring="prod",
        release="r-0123456789ab",
        collected_at=NOW,
        sections=tuple(section.facts for section in sections()),
    )


def test_a_bundle_comes_back_with_its_sections(tmp_path: Path) -> None:
    EvidenceFiles(tmp_path, 20).save(bundle(), sections())
    files = EvidenceFiles(tmp_path, 20)
    assert files.load(FIRST) == bundle()
    assert files.text(FIRST, "logs") == "== api\nit failed\n"


@pytest.mark.promise(16)
def test_evidence_is_for_its_owner_alone(tmp_path: Path) -> None:
    EvidenceFiles(tmp_path, 20).save(bundle(), sections())
    folder = tmp_path / "evidence" / FIRST
    assert [path.stat().st_mode & 0o777 for path in (folder.parent, folder)] == [0o700, 0o700]
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.iterdir()} == {
        "summary.txt": 0o600,
        "logs.txt": 0o600,
        "bundle.json": 0o600,
    }


def test_a_complete_bundle_stays_as_it_is(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path, 20)
    files.save(bundle(), sections())
    files.save(bundle(), sections("the restored release is fine"))
    assert files.text(FIRST, "summary") == "it failed\n"


def test_no_bundle_is_none(tmp_path: Path) -> None:
    assert EvidenceFiles(tmp_path, 20).load(FIRST) is None
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize("odd", ["", "..", "op-1/../../x", "op-20260131t120000-000001\n", "OP-20260131T120000"])
def test_an_id_that_is_no_id_never_becomes_a_path(tmp_path: Path, odd: str) -> None:
    files = EvidenceFiles(tmp_path, 20)
    assert files.load(odd) is None
    with pytest.raises(StateUnreadable):
        files.text(odd, "summary")


@pytest.mark.parametrize("odd", ["bundle", "../bundle", "", "summary.txt"])
def test_a_section_that_is_none_never_becomes_a_path(tmp_path: Path, odd: str) -> None:
    files = EvidenceFiles(tmp_path, 20)
    files.save(bundle(), sections())
    with pytest.raises(StateUnreadable):
        files.text(FIRST, odd)


@pytest.mark.promise(17)
def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path, 20)
    files.save(bundle(), sections())
    (tmp_path / "evidence" / FIRST / "bundle.json").write_text("{")
    with pytest.raises(StateUnreadable, match=r"bundle\.json") as caught:
        files.load(FIRST)
    assert "ring-ctl operation" in caught.value.next_step


# -- retention


def test_the_newest_are_kept_and_older_ones_go(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path, 3)
    for number in (1, 5, 3, 2, 4):
        files.save(bundle(op(number)), sections())
    assert sorted(path.name for path in (tmp_path / "evidence").iterdir()) == [op(3), op(4), op(5)]


def test_nothing_that_somebody_else_put_there_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "evidence"
    (root / "notes").mkdir(parents=True)
    (root / "op-20250101").write_text("a file")
    EvidenceFiles(tmp_path, 20).save(bundle(op(1)), sections())
    (root / op(1) / "what-ann-found.md").write_text("it was the index")
    (root / op(1) / ".logs.txt.0a0b.tmp").write_text("half of it")
    files = EvidenceFiles(tmp_path, 1)
    files.save(bundle(op(2)), sections())
    assert sorted(path.name for path in root.iterdir()) == ["notes", "op-20250101", op(1), op(2)]
    assert [path.name for path in (root / op(1)).iterdir()] == ["what-ann-found.md"]
    assert files.load(op(1)) is None


# -- trouble


@pytest.mark.promise(5)
@pytest.mark.parametrize("names_survive", [True, False])
def test_a_bundle_that_is_there_is_whole_and_a_cut_one_is_written_again(tmp_path: Path, names_survive: bool) -> None:
    for cut_at in range(1, 200):
        folder = tmp_path / str(cut_at)
        EvidenceFiles(folder, 1).save(bundle(op(1)), sections())
        files = EvidenceFiles(folder, 1)
        try:
            EvidenceFiles(folder, 1, CuttingDisk(cut_at, names_survive)).save(bundle(op(2)), sections())
        except PowerCut:
            for one in (op(1), op(2)):
                if files.load(one):
                    assert files.text(one, "logs") == "== api\nit failed\n"
            files.save(bundle(op(2)), sections())
            assert files.text(op(2), "summary") == "it failed\n"
        else:
            break
    assert cut_at > 10


class FullDisk(Disk):
    def write(self, fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.promise(17)
def test_a_full_disk_is_explained_and_leaves_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match="disk full"):
        EvidenceFiles(tmp_path, 20, FullDisk()).save(bundle(), sections())
    assert EvidenceFiles(tmp_path, 20).load(FIRST) is None
