"""A ring with two slots under load, on the real engine: who asks meets no bad release, and no gap.

`RINGS_ROUNDS=10` and `RINGS_KILLS=20` go over it more often, for the record; `-s` shows the figures.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import docker
import pytest
from anyio.to_thread import run_sync
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from twin_world import BASE, DRAIN_S, FRONTS, PORTS, TwinWorld
from users import Users, tunnel, users
from watching import watched
from worlds import REPO, wait_for

from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.domain.slots import Route, Slot

ROUNDS = int(os.environ.get("RINGS_ROUNDS", "1"))
KILLS = int(os.environ.get("RINGS_KILLS", "2"))
SEED = 11
#: A person: an agent has to wait after each promotion that went back.
ROBIN = Actor(name="robin", kind="person", door="mcp")
#: In which an interrupted operation is carried on to its end.
LIMIT = 60.0

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400 + 50 * max(ROUNDS, KILLS))]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def twin(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinWorld]:
    world = TwinWorld(engine, tmp_path_factory.mktemp("twin"))
    try:
        world.begin()
        yield world
    finally:
        world.remove()


@pytest.fixture
def figure(record_property: Record) -> Record:
    """Keeps a figure for the record, and shows it."""

    def told(name: str, value: object) -> None:
        record_property(name, value)
        print(f"\n{name}: {value}")

    return told


def load(twin: TwinWorld) -> AbstractContextManager[Users]:
    return users(twin.root, *twin.fronts.values())


def more(seen: Users, count: int) -> list[Any]:
    """So many more requests, from now on."""
    now = time.monotonic()
    return wait_for(lambda: found if len(found := seen.since(now)) >= count else None, 30, f"{count} more requests")


def settling_for(seconds: float, drain: float = DRAIN_S) -> Callable[[dict[str, Any]], None]:
    def ruled(rules: dict[str, Any]) -> None:
        rules["rollback"]["settle"], rules["edge"]["drain"] = seconds, drain

    return ruled


def began(operation: dict[str, Any], phase: str) -> float:
    """When it came to that phase, on the monotonic clock."""
    at = next(datetime.fromisoformat(step["at"]) for step in operation["steps"] if step["phase"] == phase)
    return at.timestamp() - time.time() + time.monotonic()


def settled_at(twin: TwinWorld) -> float:
    """When prod has settled, on the monotonic clock."""
    until = datetime.fromisoformat(twin.record["settling"]["until"])
    return until.timestamp() - time.time() + time.monotonic()


# -- good releases


def test_no_request_fails_while_a_good_release_comes_or_is_gone_back_from(twin: TwinWorld, figure: Record) -> None:
    with load(twin) as seen:
        for _ in range(ROUNDS):
            release = twin.promote_another()
            more(seen, 200)
            before = twin.record["rollback_release"]
            back = twin.quick("rollback", "prod", "--reason", "users complain")
            assert (back.code, back.outcome) == (0, "rolled_back")
            assert {one.release for one in more(seen, 200)} == {before}
            assert seen.of(release)
    figure(f"{ROUNDS} promotions and {ROUNDS} rollbacks", f"{len(seen.failed)} of {len(seen.all)} requests failed")
    figure("longest time without a good answer, ms", round(seen.longest_gap_ms))
    assert seen.failed == []


def test_a_websocket_goes_on_with_its_slot_until_that_is_stopped_at_the_limit(twin: TwinWorld) -> None:
    twin.at_rest()
    old = twin.slot
    with twin.rules(settling_for(2)), tunnel(twin.fronts["genesis"]) as one:
        release = twin.promote_another()
        switched, settled = time.monotonic(), settled_at(twin)
        wait_for(lambda: one.closed_at, 30, "its limit is over")
        twin.at_rest()
    assert {tick["slot"] for _, tick in one.ticks} == {old}
    assert release not in {tick["release"] for _, tick in one.ticks}
    assert [tick["tick"] for _, tick in one.ticks] == [number + 1 for number in range(len(one.ticks))]
    assert one.ticks[-1][0] > switched
    assert one.closed_at
    assert one.closed_at - settled >= DRAIN_S
    assert twin.statuses(old) == {"exited"}


def test_a_slot_is_stopped_as_soon_as_nobody_is_connected_to_it(twin: TwinWorld) -> None:
    twin.at_rest()
    old = twin.slot
    with twin.rules(settling_for(1, drain=LIMIT)):
        with tunnel(twin.fronts["veil"]) as one:
            twin.promote_another()
            settled = settled_at(twin)
            wait_for(lambda: time.monotonic() > settled + 1, 20, "what waited is to be stopped")
            count = len(one.ticks)
            wait_for(lambda: len(one.ticks) > count, 5, "it is not cut")
        wait_for(lambda: twin.statuses(old) == {"exited"}, LIMIT / 2, "it is stopped")
        twin.at_rest()


def test_a_promotion_while_the_one_before_settles_lets_open_connections_end_first(twin: TwinWorld) -> None:
    with tunnel(twin.fronts["genesis"]) as one:
        twin.promote_another()
        second = twin.promote_another()
    operation = twin.latest_operation("prod")
    assert operation
    assert operation["release"]["id"] == second
    assert one.closed_at
    assert one.closed_at - began(operation, "starting") >= DRAIN_S


# -- bad releases


@pytest.mark.parametrize("fault", ["never-healthy", "crash-loop", "prod-only"])
def test_nobody_meets_a_release_that_does_not_become_well(twin: TwinWorld, fault: str, figure: Record) -> None:
    twin.at_rest()
    serves, slot = twin.record["release"], twin.slot
    with load(twin) as seen:
        said = twin.promote(fault)
        more(seen, 200)
    assert (said.code, said.outcome) == (7, "rolled_back")
    figure(fault, f"{len(seen.of(said.answer['release']))} of {len(seen.all)} answers, {len(seen.failed)} failed")
    assert ({*seen.releases}, seen.failed) == ({serves}, [])
    assert (twin.slot, twin.routes()["prod"]) == (slot, Route(slot=slot))


def taken_back(twin: TwinWorld, seen: Users, good: str, bad: str, figure: Record) -> None:
    """Waits until a release with bad answers is gone from traffic, and says how long it was in it."""
    wait_for(lambda: twin.record["release"] == good and not twin.open_operations(), 30, f"{bad} is taken back")
    after = more(seen, 300)
    assert {(one.status, one.release) for one in after} == {(200, good)}
    assert {one.status for one in seen.failed} == {500}
    assert spread(seen, bad, figure) < 10, "twice of what it is to take on a machine with nothing else to do"
    event = next(event for event in twin.history("prod") if event["event"] == "rollback")
    assert (event["outcome"], event["from"], event["to"]) == ("rolled_back", bad, good)
    assert "answers were errors" in event["reason"]
    assert event["actor"].startswith("ring-monitor")


def spread(seen: Users, bad: str, figure: Record) -> float:
    """Says how much of it users met; for how many seconds."""
    first = min(one.ended for one in seen.failed)
    last = max(one.ended for one in seen.all if one.failed or one.release == bad)
    # the load goes on for less than a minute: what a whole one has, at the pace it went on at
    pace = len(seen.all) / (max(one.ended for one in seen.all) - min(one.began for one in seen.all))
    share = len(seen.failed) / (60 * pace)
    figure("from the first 500 to the last bad answer, s", round(last - first, 2))
    figure("failed of that minute's requests", f"{len(seen.failed)} of {60 * pace:.0f}: {share:.2%}")
    return last - first


def test_a_release_with_bad_answers_is_taken_back_by_who_watches_it_settle(twin: TwinWorld, figure: Record) -> None:
    good = twin.promote_another()
    with load(twin) as seen:
        said = twin.promote("errors:50")
        assert said.outcome == "promoted"
        taken_back(twin, seen, good, said.answer["release"], figure)


def test_without_its_worker_the_monitor_takes_it_back(twin: TwinWorld, figure: Record) -> None:
    good = twin.promote_another()
    slot = twin.slot
    with watched(twin, settle="60s") as monitor, load(twin) as seen:
        twin.set_fault("errors:50")
        anyio.run(partial(twin.manager.promote, "staging", "prod", ROBIN, wait_s=0))
        wait_for(lambda: twin.slot is not slot and not twin.open_operations(), 30, "it is promoted")
        bad = twin.record["release"]
        assert twin.kill_workers()
        taken_back(twin, seen, good, bad, figure)
        monitor.says("takes it back to")


def test_a_canary_with_bad_answers_is_refused_with_few_of_them(twin: TwinWorld, figure: Record) -> None:
    good, slot = twin.promote_another(), twin.slot

    def canary(rules: dict[str, Any]) -> None:
        rules["rings"]["prod"]["canary"] = {"steps": [5, 100], "hold": "5s"}

    with twin.rules(canary), load(twin) as seen:
        said = twin.promote("errors:50")
        after = more(seen, 300)
    assert (said.code, said.outcome, twin.slot) == (7, "rolled_back", slot)
    assert {(one.status, one.release) for one in after} == {(200, good)}
    assert {one.status for one in seen.failed} == {500}
    spread(seen, said.answer["release"], figure)
    few_met_it(seen, said.answer["release"], share=0.05)


def few_met_it(seen: Users, bad: str, share: float) -> None:
    """However fast it went: no more of the requests meanwhile than its share, and what chance makes of that."""
    met = [one for one in seen.all if one.failed or one.release == bad]
    first, last = min(one.ended for one in met), max(one.ended for one in met)
    expected = share * sum(first <= one.ended <= last for one in seen.all)
    assert len(met) <= expected + 5 * math.sqrt(expected)


# -- going back


@pytest.mark.promise(9)
async def test_going_back_while_it_settles_is_one_step_for_an_agent_too(twin: TwinWorld, figure: Record) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "aither_rings_mcp", "--config", str(twin.config)],
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    first_good, last_bad, answered = [], [], []
    async with Client(server) as client:
        await client.list_tools()
        with load(twin) as seen:
            for _ in range(ROUNDS):
                bad = await run_sync(twin.promote_another)
                good = twin.record["rollback_release"]
                await run_sync(more, seen, 200)
                called = time.monotonic()
                result = await client.call_tool("ring_rollback", {"ring": "prod", "reason": "users complain"})
                returned = time.monotonic()
                assert result.structured_content
                assert result.structured_content["outcome"] == "rolled_back"
                assert {one.release for one in await run_sync(more, seen, 200)} == {good}
                answered.append(1000 * (returned - called))
                first_good.append(1000 * (min(one.ended for one in seen.since(called) if one.release == good) - called))
                last_bad.append(1000 * (max(one.ended for one in seen.of(bad)) - called))
    for name, times in (("first good", first_good), ("last bad", last_bad), ("the call's", answered)):
        figure(
            f"from the call to {name} answer, ms", f"p50 {statistics.median(times):.0f} of {sorted(map(round, times))}"
        )
    assert seen.failed == []


@pytest.mark.promise(9)
def test_a_websocket_to_what_is_gone_back_from_goes_on_until_that_is_stopped_at_the_limit(twin: TwinWorld) -> None:
    bad = twin.promote_another()
    slot = twin.slot
    with tunnel(twin.fronts["genesis"]) as one:
        wait_for(lambda: one.ticks, 10, "it is connected")
        called = time.monotonic()
        assert twin.quick("rollback", "prod", "--reason", "users complain").outcome == "rolled_back"
        wait_for(lambda: one.closed_at, 60, "its limit is over")
        wait_for(lambda: twin.statuses(slot) == {"exited"}, 30, "it is stopped")
    assert {(tick["slot"], tick["release"]) for _, tick in one.ticks} == {(slot, bad)}
    assert [tick["tick"] for _, tick in one.ticks] == [number + 1 for number in range(len(one.ticks))]
    assert one.closed_at
    assert one.closed_at - called >= DRAIN_S


@pytest.mark.promise(9)
def test_going_back_further_brings_that_very_release(twin: TwinWorld) -> None:
    # all of them have the same images; one release between them waits in the other slot
    twin.promote_another()
    twin.promote_another()
    bad = {one["release"] for one in twin.record["quarantine"]}
    wanted = [one["release"] for one in twin.record["deployments"] if one["release"] not in bad][2]
    with load(twin) as seen:
        said = twin.quick("rollback", "prod", "--release", wanted)
        assert (said.outcome, twin.record["release"]) == ("rolled_back", wanted), said
        assert {one.release for one in more(seen, 200)} == {wanted}
    assert seen.failed == []


# -- kills


@pytest.mark.promise(5)
def test_a_kill_at_any_instant_of_a_changeover_leaves_traffic_on_the_recorded_slot(
    twin: TwinWorld, figure: Record
) -> None:
    draw, hit, faults = random.Random(SEED), Counter[str](), list[str]()
    with load(twin) as seen:
        for number in range(KILLS):
            victim, kind = ("worker", "edge")[number % 2], ("promote", "rollback")[number // 2 % 2]
            where = f"{kind}, its {victim} killed when {kill_one(twin, victim, kind, draw)}"
            hit[where] += 1
            faults += [f"{where}: {fault}" for fault in disagreements(twin, seen)]
    for where, count in sorted(hit.items()):
        figure(where, count)
    figure("kills", f"{KILLS}, {len(seen.failed)} of {len(seen.all)} requests failed while the edge was away")
    assert faults == []
    assert anyio.run(twin.manager.verify_history).ok


def kill_one(twin: TwinWorld, victim: str, kind: str, draw: random.Random) -> str:
    """Kills at a random instant, and has it carried on; the phase that was hit."""
    if kind == "rollback":
        twin.promote_another()
    twin.at_rest()
    lasted = [event["duration_s"] for event in twin.history("prod") if event["event"] == kind]
    manager = twin.manager
    if kind == "rollback":
        call = partial(manager.rollback, "prod", ROBIN, wait_s=0)
    else:
        twin.set_fault("ok")
        call = partial(manager.promote, "staging", "prod", ROBIN, wait_s=0)
    anyio.run(call)
    time.sleep(draw.uniform(0, lasted[0] if lasted else 2))  # the random instant
    operation = twin.latest_operation("prod")
    assert operation
    if victim == "edge":
        twin.kill_edge()
    else:
        twin.kill_workers()

    def carried_on() -> bool:
        # again and again: a killed worker's Compose holds the claim until it has ended
        anyio.run(twin.manager.recover)
        return not twin.open_operations()

    wait_for(carried_on, LIMIT, f"a {kind} killed when {operation['phase']} is carried on")
    return operation["phase"]


def disagreements(twin: TwinWorld, seen: Users) -> Iterator[str]:
    """Where record, edge, its file and what users get do not say the same."""
    wait_for(lambda: all(not one.failed for one in more(seen, 100)), LIMIT, "users get answers")
    twin.at_rest()
    record, route = twin.record, Route(slot=twin.slot)
    found = {one.release for one in more(seen, 200)}
    if found != {record["release"]}:
        yield f"{found} answer, {record['release']} is recorded"
    for name, routes in (("the edge", twin.routes()), ("its file", twin.routes_by_file())):
        if routes != {"prod": route}:
            yield f"{name} has {routes}, {route.slot} is recorded"


# -- isolation

_ASK = """
import json, socket, sys
names, addresses = json.loads(sys.argv[1])
def opens(address):
    try:
        socket.create_connection(address, 1).close()
    except OSError:
        return False
    return True
found = {name: sorted({info[4][0] for _ in range(10) for info in socket.getaddrinfo(name, None, socket.AF_INET)})
         for name in names}
print(json.dumps([found, [address for address in addresses if opens(address)]]))
"""


def asked_inside(
    twin: TwinWorld, project: str, service: str, names: list[str], addresses: list[tuple[str, int]]
) -> tuple[dict[str, list[str]], list[list[Any]]]:
    """What each name is from inside a container, and which of these addresses can be reached from there."""
    ran = twin.container(project, service).exec_run(["python3", "-c", _ASK, json.dumps([names, addresses])])
    assert ran.exit_code == 0, ran.output
    names_found, opened = json.loads(ran.output)
    return names_found, opened


@pytest.mark.promise(1)
def test_each_slot_knows_and_reaches_its_own_containers_only(twin: TwinWorld) -> None:
    twin.promote_another()
    running = ("dev", "prod", "prod-green")
    ports = {
        name: [(ip, port) for service, port in PORTS.items() for ip in sorted(twin.addresses(name, service))]
        for name in running
    }
    fronts = [(ip, port) for ip in sorted(twin.addresses("shared")) for port in FRONTS.values()]
    assert all(ports.values())
    assert fronts
    for project in running:
        others = [address for name in running if name != project for address in ports[name]]
        found, opened = asked_inside(twin, project, "veil", [*PORTS], [*others, *fronts])
        for service, addresses in found.items():
            assert {*addresses} <= twin.addresses(project, service), f"{service} asked in {project}"
            assert addresses, f"{service} asked in {project}"
        if opened:  # for a moment, while other tests' networks come and go: the doctor asks twice, too (isolation.py)
            _, opened = asked_inside(twin, project, "veil", [], opened)
        assert opened == [], project
        _, own = asked_inside(twin, project, "veil", [], [(ip, 8001) for ip in twin.addresses(project, "genesis")])
        assert own, "what asks can reach its own"


@pytest.mark.promise(1)
def test_the_doctor_proves_that_each_slots_names_are_its_own(twin: TwinWorld, engine: docker.DockerClient) -> None:
    twin.promote_another()
    assert twin.statuses(Slot.BLUE) == twin.statuses(Slot.GREEN) == {"running"}
    assert {slot: isolation(twin)[f"prod/{slot}"]["ok"] for slot in Slot} == {Slot.BLUE: True, Slot.GREEN: True}
    # green's Genesis on blue's own network, by its name, as on one bridge for all
    blues = next(name for name in twin.container("prod", "node").attrs["NetworkSettings"]["Networks"])
    network = engine.networks.get(blues)
    network.connect(twin.container("prod-green", "genesis"), aliases=["genesis"])
    try:
        found = isolation(twin)["prod/blue"]
    finally:
        network.disconnect(twin.container("prod-green", "genesis"))
    assert not found["ok"]
    assert "genesis resolves to" in found["detail"]


def isolation(twin: TwinWorld) -> dict[str, dict[str, Any]]:
    """What the doctor finds of each slot."""
    findings = twin.quick("doctor").answer["findings"]
    return {one["check"].removeprefix("isolation:"): one for one in findings if one["check"].startswith("isolation:")}


# -- service by service; it leaves both slots on the same networks


def test_service_by_service_no_request_fails_either(twin: TwinWorld, figure: Record) -> None:
    if twin.slot is Slot.GREEN:
        twin.promote_another()
    twin.at_rest()
    with twin.rules(lambda rules: rules["rings"]["prod"].update(strategy="rolling")), load(twin) as seen:
        good = twin.promote_another()
        assert {one.release for one in more(seen, 200)} == {good}
        assert twin.statuses(Slot.BLUE) == {"exited"}
        bad = twin.promote("never-healthy")
        assert (bad.code, bad.outcome) == (7, "rolled_back")
        assert {one.release for one in more(seen, 200)} == {good}
        assert twin.statuses(Slot.GREEN) == {"running"}
        back = twin.quick("rollback", "prod", "--reason", "users complain")
        assert (back.code, back.outcome) == (0, "rolled_back")
        more(seen, 200)
    figure("rolling: there, a bad one, back", f"{len(seen.failed)} of {len(seen.all)} requests failed")
    assert not seen.of(bad.answer["release"])
    assert seen.failed == []


# -- a stack of one's own


@pytest.mark.usefixtures("twin")
def test_a_stack_with_a_migration_and_a_chain_comes_by_way_of_two_slots(twin: TwinWorld) -> None:
    python: dict[str, Any] = {"image": BASE, "networks": ["ring"], "stop_grace_period": "0s"}
    stay = ["python3", "-c", "import time; open('/tmp/up', 'w').close(); time.sleep(3600)"]
    look = {"test": ["CMD", "test", "-e", "/tmp/up"], "interval": "500ms", "retries": 10}
    more_services: dict[str, dict[str, Any]] = {
        "migrate": {**python, "command": ["python3", "-c", "print('migrated')"]},
        "worker": {
            **python,
            "command": stay,
            "healthcheck": look,
            "depends_on": {"migrate": {"condition": "service_completed_successfully"}},
        },
        "genesis": {"depends_on": {"worker": {"condition": "service_healthy"}}},
        "quiet": {**python, "command": stay},
    }

    def with_migration(rules: dict[str, Any]) -> None:
        rules["services"]["migrate"] = {"one_shot": True}

    twin.at_rest()
    before = twin.slot
    with twin.prod_changed(**more_services), twin.rules(with_migration), load(twin) as seen:
        plan = twin.quick("plan", "staging", "prod").answer
        said = twin.promote()
        assert (plan["strategy"], said.outcome, twin.slot) == ("blue_green", "promoted", before.other), said
        project = twin.project(twin.slot)
        assert twin.container(project, "migrate").attrs["State"]["ExitCode"] == 0
        statuses = {service: twin.container(project, service).status for service in ("worker", "quiet", "migrate")}
        assert statuses == {"worker": "running", "quiet": "running", "migrate": "exited"}
        assert twin.quick("rollback", "prod").outcome == "rolled_back"
        twin.at_rest()
    assert seen.failed == []


def test_a_service_that_writes_to_a_volume_is_replaced_in_place_unless_it_may_run_twice(twin: TwinWorld) -> None:
    twin.at_rest()

    def twice(rules: dict[str, Any]) -> None:
        rules["services"]["node"]["twice"] = True

    with twin.prod_changed(node={"volumes": ["notes:/notes"]}):
        plan = twin.quick("plan", "staging", "prod").answer
        assert plan["strategy"] == "recreate"
        assert any("node cannot run twice: it writes to notes" in warning for warning in plan["warnings"]), plan
        slot = twin.slot
        assert (twin.promote().outcome, twin.slot) == ("promoted", slot)
        with twin.rules(twice):
            assert twin.quick("plan", "staging", "prod").answer["strategy"] == "blue_green"
            assert (twin.promote().outcome, twin.slot) == ("promoted", slot.other)
