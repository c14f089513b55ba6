"""The REST door holds what it publishes, whatever is sent to it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from fakes.memory import quick_folder
from fakes.shop import ANN, Shop
from fakes.stories import candidate
from rest_site import served

from aither_rings_mcp.domain.access import Role

#: Names that are well-formed and unknown (a cursor, a section) are refused with a 422, which this one check minds.
_EXCLUDED = "positive_data_acceptance"


@pytest.mark.timeout(300)
async def test_no_request_meets_an_error_of_the_server_or_an_answer_off_its_schema() -> None:
    with quick_folder() as folder:
        shop = Shop(folder / "shop")
        await candidate()(shop)
        token = (await shop.manager.create_token("fuzz", Role.APPROVER, ANN, kind="person")).token
        async with served(shop) as site:
            program = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("schemathesis")), "run", f"{site.url}/openapi.json",
                "--header", f"Authorization: Bearer {token}", "--checks", "all", "--exclude-checks", _EXCLUDED,
                "--max-examples", "15", "--generation-database", "none", "--no-color",
                cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            try:
                async with asyncio.timeout(270):
                    said, _ = await program.communicate()
            finally:
                if program.returncode is None:
                    program.kill()
    assert program.returncode == 0, said.decode()[-6000:]
