"""The official conformance suite: our server with the suite's fixtures, and our server as it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from clients.public_clients import installed
from conformance_suite import Report, Suite, verdict
from doors.rest_site import served
from fakes.memory import quick_folder
from fakes.shop import Shop
from fakes.stories import candidate

HERE = Path(__file__).parent
REVISIONS = ("2025-11-25", "2026-07-28")
STARTS_WITHIN_S = 60

pytestmark = pytest.mark.timeout(900)
in_both_eras = pytest.mark.parametrize("revision", REVISIONS)


@pytest.fixture(scope="module")
def suite() -> Suite:
    return Suite(installed(HERE))


@asynccontextmanager
async def fixture_server(log: Path) -> AsyncIterator[str]:
    """Where the server with the fixtures answers, until the block ends."""
    with log.open("wb") as errors:
        argv = (sys.executable, str(HERE / "fixture_server.py"), "--port", "0")
        server = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, stderr=errors)
        assert server.stdout
        try:
            async with asyncio.timeout(STARTS_WITHIN_S):
                said = (await server.stdout.readline()).decode()
            assert said.startswith("serving at "), log.read_text()
            yield said.removeprefix("serving at ").strip()
        finally:
            server.kill()
            await server.wait()


@in_both_eras
async def test_the_server_with_the_fixtures_passes_every_scenario(suite: Suite, revision: str, tmp_path: Path) -> None:
    async with fixture_server(tmp_path / "server.log") as url:
        report = await suite.run(url, revision, tmp_path / "results")
    await complete(suite, report, revision)
    assert verdict(report) == [], report.output


@in_both_eras
async def test_the_server_fails_only_what_needs_a_fixture(suite: Suite, revision: str, tmp_path: Path) -> None:
    with quick_folder() as folder:
        shop = Shop(folder / "shop")
        await candidate()(shop)
        async with served(shop) as site:
            report = await suite.run(f"{site.url}/mcp", revision, tmp_path / "results")
        shop.close()
    await complete(suite, report, revision)
    assert verdict(report, HERE / f"baseline-{revision}.yml") == [], report.output


async def complete(suite: Suite, report: Report, revision: str) -> None:
    """Nothing was left out that the suite has for this revision."""
    print(f"{revision}: {len(report.scenarios)} scenarios, checks: {dict(report.counts())}")
    assert await suite.applicable(revision) <= report.scenarios.keys()
    assert ("tasks-lifecycle" in report.scenarios) == (revision == "2026-07-28")


def test_the_lock_file_names_no_host() -> None:
    assert "://" not in (HERE / "package-lock.json").read_text()


def test_a_verdict_names_what_fails_unexpectedly_and_what_no_longer_fails(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.yml"
    baseline.write_text("server:\n  - whole\n  - part:one\n  - mended\n")
    checks = {
        "whole": {"any": "FAILURE", "wire-schema-valid": "FAILURE"},
        "part": {"one": "FAILURE", "two": "WARNING"},
        "mended": {"now": "SUCCESS"},
    }
    assert verdict(Report(checks, ""), baseline) == [
        "failed: part:two",
        "failed: whole:wire-schema-valid",
        "does not fail: mended",
    ]
