"""Remembered passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aither_rings_mcp.adapters.gate_cache import FileGateCache
from aither_rings_mcp.domain.verdict import GateResult, Verdict

PASS = GateResult(name="tests", status=Verdict.PASSED, summary="41 passed")


def test_a_pass_is_there_for_the_next_process(tmp_path: Path) -> None:
    FileGateCache(tmp_path / "cache").remember("k1", PASS)
    assert FileGateCache(tmp_path / "cache").passed("k1") == PASS
    assert FileGateCache(tmp_path / "cache").passed("k2") is None
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["k1.json"]


@pytest.mark.parametrize("status", [status for status in Verdict if status is not Verdict.PASSED])
def test_nothing_but_a_pass_is_ever_remembered(tmp_path: Path, status: Verdict) -> None:
    cache = FileGateCache(tmp_path)
    cache.remember("k1", PASS.model_copy(update={"status": status}))
    assert cache.passed("k1") is None
    (tmp_path / "k1.json").write_text(PASS.model_copy(update={"status": status}).model_dump_json())
    assert cache.passed("k1") is None


def test_a_damaged_entry_is_a_miss(tmp_path: Path) -> None:
    cache = FileGateCache(tmp_path)
    cache.remember("k1", PASS)
    (tmp_path / "k1.json").write_text('{"name": "te')
    assert cache.passed("k1") is None


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FileGateCache(tmp_path / "file" / "cache")
    cache.remember("k1", PASS)
    assert cache.passed("k1") is None
