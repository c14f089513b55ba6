"""What the tests of the doors share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.memory import quick_folder
from mcp_fake_rings import FakeRings


@pytest.fixture(params=["auto", "legacy"])
def era(request: pytest.FixtureRequest) -> str:
    """The newest protocol that client and server both speak, and the newest one with a handshake."""
    return request.param


@pytest.fixture
def rings() -> FakeRings:
    return FakeRings()


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder
