"""`ring-ctl serve` on the real engine: the article's calls where users ask, with all of prod dead; two agents; clients
that are killed in the middle of a call.

`RINGS_KILLS=20` kills more of them, for the record.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from twin_world import TwinWorld
from worlds import REPO, RING_CTL, wait_for

AGENTS = REPO / "examples/agents"
#: Demiurge's exit code for a release that was taken back.
TAKEN_BACK = 7
KILLS = int(os.environ.get("RINGS_KILLS", "2"))
SEED = 5
#: About as long as a call takes; some clients die before the server heard of them, and some after all is done.
LIVES_S = 8.0

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400 + 50 * KILLS)]


class Served:
    """A world whose rings are served at `url`, and a token for an agent that may act."""

    def __init__(self, twin: TwinWorld, url: str) -> None:
        self.twin = twin
        self.url = url
        self.token = str(twin.arrange("token", "create", "agent", "--role", "operator").answer["token"])

    def front(self, method: str, path: str, token: str | None = None) -> httpx.Response:
        """A request to the port at which prod's users find genesis."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        at = f"http://127.0.0.1:{self.twin.fronts['genesis']}{path}"
        return httpx.request(method, at, headers=headers, timeout=180, trust_env=False)

    def agent(self, program: str, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Runs one of the agents to its end: its exit code, and the lines of its report."""
        argv = [sys.executable, str(AGENTS / program), *words]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=120, check=False)
        assert not done.stderr, done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    @property
    def env(self) -> dict[str, str]:
        """What an agent's process finds: its token, and this project's code."""
        return {**os.environ, "RINGS_TOKEN": self.token, "PYTHONPATH": f"{REPO}:{AGENTS}"}

    def promoting(self, key: str, where: list[str]) -> subprocess.Popen[str]:
        """A client in the middle of one promotion."""
        argv = [sys.executable, str(Path(__file__).with_name("promoting.py")), key, *where]
        return subprocess.Popen(argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def kill_prod(self) -> None:
        """`docker kill` of every container of both slots: the engine does not start them again."""
        for project in ("prod", "prod-green"):
            for container in self.twin.containers(project):
                if container.status == "running":
                    container.kill()


@pytest.fixture(scope="module")
def served(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    twin = TwinWorld(engine, tmp_path_factory.mktemp("served"))
    rules = yaml.safe_load(twin.config.read_text())
    # one agent after another ships more here than anybody would let one do
    rules["agents"] = {"changes_per_hour": 1000, "cooldown": "1ms", "breaker": 100}
    twin.config.write_text(yaml.safe_dump(rules, sort_keys=False))
    try:
        twin.begin()
        log = twin.root / "serve.log"
        with log.open("wb") as said:
            argv = [str(RING_CTL), "--config", str(twin.config), "serve", "--port", "0", "--no-monitor"]
            process = subprocess.Popen(argv, stdout=said, stderr=said)
        try:
            wait_for(lambda: "serving at http://" in log.read_text(), 60, "it serves")
            yield Served(twin, next(word for word in log.read_text().split() if word.startswith("http://")))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, log.read_text()
    finally:
        twin.remove()


@pytest.fixture
def stdio(served: Served) -> list[str]:
    """The command with which an agent starts a server of its own."""
    return [sys.executable, "-m", "aither_rings_mcp", "--config", str(served.twin.config)]


@pytest.mark.promise(3)
def test_the_articles_rollback_works_at_the_rings_own_port_with_all_of_prod_dead(served: Served) -> None:
    twin = served.twin
    twin.promote_another()
    good = twin.record["rollback_release"]
    served.kill_prod()
    assert served.front("GET", "/health").status_code == httpx.codes.SERVICE_UNAVAILABLE
    unknown = served.front("POST", "/rings/prod/rollback")
    assert (unknown.status_code, unknown.headers["www-authenticate"].split()[0]) == (401, "Bearer")
    answer = served.front("POST", "/rings/prod/rollback", served.token)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "rolled_back"), answer.text
    assert served.front("GET", "/").json()["release"] == good == twin.record["release"]
    assert served.front("GET", "/rings/prod", served.token).json()["rings"][0]["release"] == good
    assert twin.healthy("prod")


@pytest.mark.parametrize("door", ["http", "stdio"])
def test_demiurge_brings_a_good_change_to_users_and_tells_of_a_bad_one(
    served: Served, stdio: list[str], door: str
) -> None:
    twin, where = served.twin, [f"{served.url}/mcp"] if door == "http" else stdio
    twin.at_rest()
    twin.set_fault("ok")
    code, told = served.agent("demiurge.py", "--deploy", "true", *where)
    assert code == 0, told
    good = twin.record["release"]
    assert told[-1]["outcome"] == "promoted"
    assert served.front("GET", "/").json()["release"] == good

    twin.at_rest()
    twin.set_fault("prod-only")
    code, told = served.agent("demiurge.py", "--deploy", "true", *where)
    assert code == TAKEN_BACK, told
    assert [line["outcome"] for line in told if line["step"] == "promote"] == ["candidate_tagged", "rolled_back"]
    assert "summary" in told[-1]["sections"]
    assert served.front("GET", "/").json()["release"] == good == twin.record["release"]
    actors = {event["actor"] for event in twin.history("prod")[:2]}
    assert all("demiurge" in actor or "agent" in actor for actor in actors), actors


def test_atlas_takes_back_a_release_that_died_where_nobody_else_looks(served: Served) -> None:
    twin = served.twin
    good = twin.promote_another()

    def settles_at_once(rules: dict[str, Any]) -> None:
        rules["rollback"] = {"settle": "1s"}

    with twin.rules(settles_at_once):
        bad = twin.promote_another()
        wait_for(lambda: twin.record.get("settling") is None, 45, "it has settled: nobody watches it any more")
        twin.at_rest()
        for container in twin.containers(twin.project(twin.slot)):
            container.kill()
        code, told = served.agent("atlas.py", "--once", "--looks", "2", "--pause", "0.2", f"{served.url}/mcp")
        assert (code, told[-1]["verdict"]) == (0, "rolled_back"), told
    assert twin.record["release"] == good != bad
    assert served.front("GET", "/").json()["release"] == good


@pytest.mark.promise(4)
def test_a_client_that_is_killed_at_any_instant_leaves_one_operation_that_ends(
    served: Served, stdio: list[str]
) -> None:
    twin, chance = served.twin, random.Random(SEED)
    for number in range(KILLS):
        twin.at_rest()
        twin.set_fault("ok")
        before, key = set(operations(twin)), f"kill {number}"
        where = stdio if number % 2 else [f"{served.url}/mcp"]
        killed, lived = served.promoting(key, where), chance.uniform(0.5, LIVES_S)
        with suppress(subprocess.TimeoutExpired):
            killed.wait(lived)
        killed.kill()
        killed.communicate()
        again = served.promoting(key, where)
        answer, _ = again.communicate(timeout=90)
        said = f"{where[0]}, killed after {lived:.1f} s"
        assert again.returncode == 0, said
        twin.at_rest()
        assert set(operations(twin)) - before == {answer.strip()}, said
        assert twin.told(answer.strip()) == ["promoted"], said


def operations(twin: TwinWorld) -> list[str]:
    return [path.parent.name for path in twin.state_dir.glob("operations/op-*/journal.json")]
