"""A folder to load configs in."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_kit import GATES, Faults

from aither_rings_mcp.config import load
from aither_rings_mcp.domain.errors import ConfigInvalid


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with every file that GOOD names."""
    for name in ("shared.yml", "dev.yml", "prod.yml", "dev.env"):
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.fixture
def faults(home: Path) -> Faults:
    def faults_of(text: str) -> list[str]:
        file = home / "rings.yaml"
        file.write_text(text)
        try:
            load(file, GATES)
        except ConfigInvalid as error:
            return error.message.splitlines()[1:]
        return []

    return faults_of
