"""One folder for all the shops that lose their power."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("fakes.checks")

from fakes.memory import quick_folder  # noqa: E402 - rewritten first


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder
