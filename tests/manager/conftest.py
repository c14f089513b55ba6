"""Shops to tell stories in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("fakes.checks")

from fakes.memory import quick_folder  # noqa: E402 - rewritten first
from fakes.shop import Shop, Snapshot, reopened  # noqa: E402
from fakes.stories import candidate  # noqa: E402


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def shop(folder: Path) -> Shop:
    """Nothing was ever deployed."""
    return Shop(folder / "shop")


@pytest.fixture(scope="session")
def shop_so_far() -> Iterator[Snapshot]:
    with quick_folder() as folder:
        shop = Shop(folder / "shop")
        asyncio.run(candidate()(shop))
        yield shop.snapshot()


@pytest.fixture
def busy_shop(shop_so_far: Snapshot, folder: Path) -> Shop:
    """v1 and v2 went through prod; v3 waits in staging."""
    return reopened(shop_so_far, folder / "shop", tampering=True)
