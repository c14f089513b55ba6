"""The log of an operation, as it is read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.clock import FakeClock

from aither_rings_mcp.adapters.operation_log import OperationLogFiles

ID = "op-20260101t000000-abcdef"


@pytest.fixture
def logs(tmp_path: Path) -> OperationLogFiles:
    (tmp_path / ID).mkdir()
    logs = OperationLogFiles(tmp_path, FakeClock())
    logs.append(ID, "pulled")
    return logs


def told(lines: tuple[str, ...]) -> list[str]:
    return [line.split(" ", 1)[1] for line in lines]


@pytest.mark.parametrize("cursor", [0, -5, -(2**80)])
def test_it_is_read_from_its_beginning(logs: OperationLogFiles, cursor: int) -> None:
    lines, after = logs.read(ID, cursor, 10)
    assert told(lines) == ["pulled"]
    assert logs.read(ID, after, 10) == ((), after)
    logs.append(ID, "started")
    assert told(logs.read(ID, after, 10)[0]) == ["started"]


@pytest.mark.parametrize("cursor", [1000, 2**63, 2**120])
def test_a_cursor_behind_the_end_is_the_end(logs: OperationLogFiles, cursor: int) -> None:
    _, end = logs.read(ID, 0, 10)
    assert logs.read(ID, cursor, 10) == ((), end)
