"""The official conformance suite, run against a server, and what it found."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml
from clients.public_clients import Clients

LIMIT_S = 300
#: The suite's baselines take a warning (a SHOULD that is not followed) for a failure too.
FAILED = frozenset({"FAILURE", "WARNING"})
#: The check that the suite adds to every scenario.
SCHEMA = "wire-schema-valid"
#: `server-`, the scenario's name, and when it ran.
_FOLDER = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True)
class Report:
    """What each check of each scenario came to; a check that ran more than once came to the worst of it."""

    scenarios: dict[str, dict[str, str]]
    output: str

    @property
    def failed(self) -> set[tuple[str, str]]:
        return {
            (scenario, check)
            for scenario, checks in self.scenarios.items()
            for check, status in checks.items()
            if status in FAILED
        }

    def counts(self) -> Counter[str]:
        return Counter(status for checks in self.scenarios.values() for status in checks.values())


def verdict(report: Report, baseline: Path | None = None) -> list[str]:
    """Every failure that the baseline does not name, and every entry of it that does not fail. Empty: all is well.

    The file is one for the suite's own `--expected-failures`, whose verdict leaves extensions out. Whatever a scenario
    lacks, what was sent has to fit the protocol's schema.
    """
    entries: list[str] = (yaml.safe_load(baseline.read_text())["server"] or []) if baseline else []
    expected = {tuple(entry.split(":", 1)) for entry in entries}
    surprises = [
        f"failed: {scenario}:{check}"
        for scenario, check in sorted(report.failed)
        if (scenario, check) not in expected and ((scenario,) not in expected or check == SCHEMA)
    ]
    failing = report.failed | {(scenario,) for scenario, _ in report.failed}
    return surprises + [f"does not fail: {':'.join(entry)}" for entry in sorted(expected - failing)]


class Suite:
    """The suite of the lock file beside this."""

    def __init__(self, installed: Clients) -> None:
        program = installed.folder / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
        self._argv = (installed.node, str(program))

    async def applicable(self, revision: str) -> set[str]:
        """The scenarios for servers of this revision; extensions have none, and are not among them."""
        listed = await self._run("list", "--server", "--spec-version", revision)
        return set(re.findall(r"^ +- (\S+)", listed, re.MULTILINE))

    async def run(self, url: str, revision: str, into: Path) -> Report:
        """All that the suite has for this revision: required, pending, and the tasks extension."""
        output = await self._run("server", "--url", url, "--requirements", revision, "--output-dir", str(into))
        ran: dict[str, dict[str, str]] = {name: {} for name in re.findall(r"=== Running scenario: (\S+) ===", output)}
        for folder in into.iterdir():
            named = _FOLDER.fullmatch(folder.name)
            assert named, folder
            written = folder / "checks.json"
            found = json.loads(written.read_text()) if written.exists() else [{"id": "crashed", "status": "FAILURE"}]
            checks = ran[named["scenario"]]
            for check in found:
                if checks.get(check["id"]) not in FAILED:
                    checks[check["id"]] = check["status"]
        for checks in ran.values():
            if not checks:
                checks["did not run"] = "FAILURE"
        return Report(ran, output)

    async def _run(self, *argv: str) -> str:
        env = {**os.environ, "NO_COLOR": "1"}
        running = await asyncio.create_subprocess_exec(
            *self._argv, *argv, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                return (await running.communicate())[0].decode()
        finally:
            if running.returncode is None:
                running.kill()
                await running.wait()
