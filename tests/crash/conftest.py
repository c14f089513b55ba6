"""One folder for all the shops that lose their power."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("fakes.checks")

from fakes.memory import quick_folder  # noqa: E402 - rewritten first


@pytest.fixture(scope="session", autouse=True)
def little_to_collect() -> None:
    """Thousands of short lives: what is loaded by now need not be looked at by the garbage collector each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder
