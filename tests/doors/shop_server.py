"""The real entry point on the simulated shop, as a process that clients start:

    python shop_server.py [--approval] FOLDER STEP...

Before it serves, it goes through the steps: `ship:v1`, `deploy:v2:refused` (source and fault), `stage`, `up:shared`,
`turn:v2:never-healthy`. With --approval a person is asked for prod. The shop's files lie in a folder of FOLDER that
is this process's own: some clients start a server twice, to find out which protocol it speaks.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any, cast

from fakes.machine import Fault, FaultKind
from fakes.shop import ANN, Shop
from fakes.stories import with_approval

from aither_rings_mcp.entrypoints.mcp_server import main


async def told(shop: Shop, steps: list[str]) -> None:
    for step in steps:
        match step.split(":"):
            case ["ship", source]:
                await shop.ship(source)
            case ["deploy", source, *fault]:
                await shop.deploy(source, _fault(fault))
            case ["stage"]:
                await shop.stage()
            case ["up", ring]:
                await shop.manager.up(ring, ANN)
            case ["turn", source, *fault]:
                shop.turn(source, _fault(fault))
            case _:
                raise SystemExit(f"shop_server.py knows no step {step!r}")


def _fault(words: list[str]) -> Fault:
    return Fault(*cast("list[FaultKind]", words))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--approval", action="store_true")
    parser.add_argument("folder", type=Path)
    parser.add_argument("steps", nargs="*")
    given = parser.parse_args()

    def build(_config: Path | None) -> Any:
        own = Path(tempfile.mkdtemp(dir=given.folder))
        shop = Shop(own, config=with_approval() if given.approval else None)
        asyncio.run(told(shop, given.steps))
        return shop.manager

    main([], build=build)
