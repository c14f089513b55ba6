"""What Compose writes on its way: each line passed on as Compose's, and the end of it in the error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.shop import Shop

from aither_rings_mcp.adapters.compose import DockerCompose
from aither_rings_mcp.domain.errors import EngineFailure
from aither_rings_mcp.domain.log_lines import is_quoted
from aither_rings_mcp.ports import Completed

BUILD = ("#5 [genesis 2/3] RUN make", "#5 0.2 make: *** no rule", "-> done")


class Builds:
    """A Compose whose builds write `BUILD` and end like `as_`."""

    def __init__(self, **as_: Any) -> None:
        self.as_ = as_

    async def run(self, argv: Any, *, on_line: Any, **_: Any) -> Completed:
        for line in BUILD:
            on_line(line)
        return Completed(output="\n".join(BUILD), **self.as_)


@pytest.mark.parametrize("as_", [{"code": 17}, {"code": -9, "timed_out": True}], ids=["failed", "too late"])
async def test_what_a_build_wrote_passes_as_composes_and_its_end_is_in_the_error(
    tmp_path: Path, as_: dict[str, Any]
) -> None:
    shop = Shop(tmp_path)
    said: list[str] = []
    compose = DockerCompose(shop.settings, tmp_path, Builds(**as_), shop.world.engine)
    with pytest.raises(EngineFailure) as caught:
        await compose.build("dev", said.append)
    assert said == [f"  compose | {line}" for line in BUILD]
    assert all(map(is_quoted, said))
    assert caught.value.details["log_tail"] == list(BUILD)
