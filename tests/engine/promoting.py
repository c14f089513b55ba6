"""One client that promotes, for a test that kills it: python promoting.py KEY WHERE [MORE...]

Over the public MCP client of examples/agents; prints the operation once it is answered.
"""

from __future__ import annotations

import asyncio
import sys

from rings import connected


async def main(key: str, where: str, *more: str) -> None:
    async with connected(where, "short-lived", list(more)) as rings:
        answer = await rings.call("ring_promote", source="staging", target="prod", idempotency_key=key)
        print(answer["operation_id"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
