"""The main job on exactly what we ship: backbone, dev, gates, prod, and the way back.

A story in the order of the file, each test going on from where the one before left the rings.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from shipped_world import ShippedWorld
from worlds import Said, wait_for

from aither_rings_mcp.adapters.engine import DockerEngine
from aither_rings_mcp.domain.health import ListedContainer

pytestmark = pytest.mark.engine

LOOK_UPS = 50
_LISTED = set(ListedContainer.model_fields)
#: Looks every name up, tries every address, and prints what it saw; runs inside a container of a ring.
SEEN_FROM_INSIDE = """
import json, os, selectors, socket, sys, time
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"  # a foreign name is asked of the world's name servers
asked = json.loads(sys.argv[1])
def resolved(name, times):
    seen = set()
    for _ in range(times):
        try:
            seen.add(tuple(sorted({info[4][0] for info in socket.getaddrinfo(name, None, socket.AF_INET)})))
        except OSError:
            seen.add(())
    return sorted(seen)
names = {name: resolved(name, asked["times"]) for name in asked["names"]}
foreign = {name: resolved(name, 1) for name in asked["foreign"]}
waiting, opened = selectors.DefaultSelector(), []
for host, port in asked["addresses"]:
    s = socket.socket(); s.setblocking(False); s.connect_ex((host, port))
    waiting.register(s, selectors.EVENT_WRITE, f"{host}:{port}")
until = time.monotonic() + 1.5
while waiting.get_map() and time.monotonic() < until:
    for key, _ in waiting.select(until - time.monotonic()):
        waiting.unregister(key.fileobj)
        if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            opened.append(key.data)
print(json.dumps({"names": names, "foreign": foreign, "opened": opened}))
"""


@pytest.fixture(scope="module")
def dev(shipped: ShippedWorld) -> Said:
    """The backbone is up, and dev runs a first release."""
    shipped.arrange("up", "shared")
    return shipped.release("ok")


@pytest.fixture(scope="module")
def candidate(shipped: ShippedWorld, dev: Said) -> Said:
    """The first release is in staging."""
    return shipped.ctl("promote", "dev", "staging")


@pytest.fixture(scope="module")
def moved_on(shipped: ShippedWorld, candidate: Said) -> Said:
    """dev was rebuilt and runs another release, one that breaks a test."""
    return shipped.release("fails-tests")


@pytest.fixture(scope="module")
def prod(shipped: ShippedWorld, moved_on: Said) -> Said:
    """prod runs the candidate, promoted after dev had moved on."""
    return shipped.ctl("promote", "staging", "prod")


@pytest.fixture(scope="module")
def bad(shipped: ShippedWorld, prod: Said) -> Said:
    """A release that is healthy in dev and unhealthy in prod was promoted."""
    assert shipped.release("prod-only").code == 0
    shipped.arrange("promote", "dev", "staging")
    return shipped.ctl("promote", "staging", "prod")


@pytest.fixture(scope="module")
def second(shipped: ShippedWorld, bad: Said) -> Said:
    """A second good release runs in prod."""
    assert shipped.release("ok").code == 0
    shipped.arrange("promote", "dev", "staging")
    return shipped.ctl("promote", "staging", "prod")


def test_dev_runs_what_was_built_and_its_backbone_answers(shipped: ShippedWorld, dev: Said) -> None:
    assert (dev.code, dev.outcome) == (0, "deployed")
    assert len(shipped.running_images("dev")) == 11
    assert shipped.running_images("dev") == shipped.stored_images(dev.answer["release"])
    assert shipped.http("dev", "genesis", "/ready") == (
        200,
        {"status": "ok", "checks": {"redis": "ok", "postgres": "ok"}},
    )
    status, peers = shipped.http("dev", "genesis", "/peers")
    assert (status, peers["asked"], peers["answered"]) == (200, 10, 10)
    assert {peer["ring"] for peer in peers["peers"].values()} == {"dev"}


def test_all_four_gates_pass_into_staging(shipped: ShippedWorld, dev: Said, candidate: Said) -> None:
    assert (candidate.code, candidate.outcome) == (0, "candidate_tagged")
    passed = {gate["name"]: gate["status"] for gate in candidate.answer["gates"]}
    assert passed == dict.fromkeys(("health_check", "tests_pass", "lint_clean", "docker_build"), "passed")
    assert shipped.candidate()["images"] == shipped.stored_images(dev.answer["release"])
    tag = shipped.candidate()["tag"]
    assert shipped.tags("genesis")[tag] == shipped.candidate()["images"]["genesis"]


def test_a_broken_test_blocks_with_its_name_place_and_message(
    shipped: ShippedWorld, candidate: Said, moved_on: Said
) -> None:
    assert moved_on.code == 0
    held = shipped.candidate()
    said = shipped.ctl("promote", "dev", "staging")
    assert (said.code, said.outcome) == (4, "blocked")
    gate = next(gate for gate in said.answer["gates"] if gate["name"] == "tests_pass")
    assert gate["status"] == "failed"
    (broken,) = [item for item in gate["failed_items"] if item["id"].endswith("is_not_counted[silent]")]
    assert broken["id"].startswith("tests/test_peers.py::")
    file, _, line = broken["where"].partition(":")
    text = (shipped.root / file).read_text().splitlines()[int(line) - 1]
    assert text.strip().startswith('assert report["answered"] == 1')
    assert "1 of 2 peers answered well, but the report counts 2" in broken["message"]
    assert shipped.candidate() == held


@pytest.mark.promise(2)
def test_prod_runs_the_very_images_of_the_candidate_though_dev_was_rebuilt(
    shipped: ShippedWorld, candidate: Said, moved_on: Said, prod: Said
) -> None:
    assert (prod.code, prod.outcome) == (0, "promoted")
    assert [(gate["name"], gate["status"]) for gate in prod.answer["gates"]] == [
        ("smoke_tests", "passed"),
        ("smoke_tests in blue", "passed"),
    ]
    assert shipped.running_images("prod") == shipped.candidate()["images"]
    assert shipped.running_images("prod") != shipped.running_images("dev")
    status, home = shipped.http("prod", "genesis", "/")
    assert (status, home["ring"], home["release"]) == (200, "prod", prod.answer["release"])
    assert shipped.http("prod", "genesis", "/ready")[0] == 200
    # the candidate no longer ran anywhere, so its smoke tests asked a preview, and that is gone
    assert f"starting {candidate.answer['release']} as {shipped.projects['preview']}" in prod.log
    assert shipped.containers("preview") == []


@pytest.mark.promise(1)
@pytest.mark.parametrize(("ring", "other"), [("dev", "prod"), ("prod", "dev")])
def test_from_inside_a_ring_there_is_no_other_ring(shipped: ShippedWorld, prod: Said, ring: str, other: str) -> None:
    services = sorted(shipped.running_images(ring))
    names = [*services, *(f"aitheros-{s}" for s in services), *(f"aitheros-{ring}-{s}" for s in services)]
    ports = {name: port for name, port in shipped.ports().items() if name in services}
    addresses = [(ip, port) for name, port in ports.items() for ip in shipped.addresses(other, name)]
    assert len(addresses) == 22
    foreign = [f"aitheros-{other}-genesis", f"{shipped.projects[other]}-genesis-1"]
    asked = {"names": names, "foreign": foreign, "addresses": addresses, "times": LOOK_UPS}
    allowed = shipped.addresses(ring) | shipped.addresses("shared")

    def look(service: str) -> dict[str, Any]:
        container = shipped.container(ring, service)
        code, output = container.exec_run(["python3", "-c", SEEN_FROM_INSIDE, json.dumps(asked)])
        assert code == 0, output
        return json.loads(output)

    with ThreadPoolExecutor(4) as several:
        seen = dict(zip(services, several.map(look, services), strict=True))
    for service, found in seen.items():
        for name, answers in found["names"].items():
            assert all(answers), f"{service} could not always resolve {name}"
            assert {ip for answer in answers for ip in answer} <= allowed, f"{service} resolves {name} to {answers}"
        assert found["foreign"] == {name: [[]] for name in foreign}
        assert found["opened"] == [], f"{service} reaches {other}"


def test_a_sound_installation_passes_every_check_of_the_doctor(shipped: ShippedWorld, prod: Said) -> None:
    said = shipped.ctl("doctor")
    assert [finding for finding in said.answer["findings"] if not finding["ok"]] == []
    assert said.code == 0


@pytest.mark.promise(1)
def test_the_doctor_finds_a_container_of_prod_that_somebody_put_on_devs_network(
    shipped: ShippedWorld, prod: Said
) -> None:
    network = shipped.engine.networks.get(f"{shipped.projects['dev']}-net")
    stray = shipped.container("prod", "genesis")
    network.connect(stray, aliases=["genesis"])
    try:
        said = shipped.ctl("doctor")
    finally:
        network.disconnect(stray)
    assert said.code == 4
    found = {finding["check"]: finding["detail"] for finding in said.answer["findings"] if not finding["ok"]}
    assert {"isolation:dev", "isolation:prod"} <= found.keys()
    assert "genesis" in found["isolation:dev"]


def test_the_doctor_finds_an_image_that_somebody_started_by_hand_and_up_puts_it_right(
    shipped: ShippedWorld, prod: Said
) -> None:
    recorded = shipped.running_images("prod")
    shipped.engine.images.get(recorded["mind"]).tag(f"{shipped.app}-watch", "prod-latest")
    shipped.compose_by_hand("prod", "watch")
    found = {f["check"]: f["detail"] for f in shipped.ctl("doctor").answer["findings"] if not f["ok"]}
    assert found.keys() == {"drift:prod"}
    assert "watch" in found["drift:prod"]

    down = shipped.ctl("down", "prod")
    assert (down.code, shipped.containers("prod")) == (0, [])
    assert shipped.ring("prod")["state"] == "stopped"
    up = shipped.ctl("up", "prod")
    assert (up.code, up.outcome) == (0, "up")
    assert shipped.running_images("prod") == recorded
    assert shipped.tags("watch")["prod-latest"] == recorded["watch"]


def test_the_engines_list_says_of_each_container_what_it_says_itself(shipped: ShippedWorld, prod: Said) -> None:
    engine, flux = DockerEngine(), shipped.engine.containers.get(f"{shipped.projects['dev']}-flux-1")
    flux.stop(timeout=0)
    for ring in ("shared", "dev", "prod"):
        listed = anyio.run(engine.listed, shipped.projects[ring])
        assert listed
        inspected = anyio.run(engine.containers, shipped.projects[ring])
        assert listed == tuple(ListedContainer(**one.model_dump(include=_LISTED)) for one in inspected)
    flux.start()


@pytest.mark.promise(7)
def test_prod_takes_a_bad_release_back_by_itself(shipped: ShippedWorld, prod: Said, bad: Said) -> None:
    assert (bad.code, bad.outcome) == (7, "rolled_back")
    assert bad.answer["rolled_back_to"] == prod.answer["release"]
    assert set(bad.answer["verification"]["unhealthy"]) == set(shipped.ports())
    assert shipped.running_images("prod") == shipped.stored_images(prod.answer["release"])
    assert shipped.http("prod", "genesis", "/")[1]["release"] == prod.answer["release"]
    assert shipped.http("prod", "genesis", "/ready")[0] == 200
    images = shipped.stored_images(bad.answer["release"])
    for service in ("genesis", "watch"):
        forensic = {tag: image for tag, image in shipped.tags(service).items() if tag.startswith("forensic-prod-")}
        assert list(forensic.values()) == [images[service]]


@pytest.mark.promise(8)
def test_a_release_that_was_taken_back_is_quarantined(shipped: ShippedWorld, bad: Said) -> None:
    before = shipped.what_runs("prod")
    said = shipped.ctl("promote", "staging", "prod")
    assert (said.code, said.error["code"]) == (4, "quarantined")
    assert bad.answer["release"] in said.error["message"]
    assert shipped.what_runs("prod") == before


@pytest.mark.promise(7, 9)
def test_prod_goes_back_to_the_release_with_a_tag(shipped: ShippedWorld, prod: Said, second: Said) -> None:
    assert (second.code, second.outcome) == (0, "promoted")
    before = shipped.ring("prod")
    assert (before["rollback_release"], before["rollback_ready"]) == (prod.answer["release"], True)
    back = shipped.ctl("rollback", "prod", "--tag", before["rollback_target"], "--reason", "users complain")
    assert (back.code, back.outcome, back.answer["to"]) == (0, "rolled_back", prod.answer["release"])
    assert shipped.running_images("prod") == shipped.stored_images(prod.answer["release"])
    assert shipped.http("prod", "genesis", "/")[1]["release"] == prod.answer["release"]
    assert second.answer["release"] in str(shipped.ring("prod")["quarantine"])


@pytest.mark.promise(12)
def test_the_history_holds_and_tells_each_operation_once(shipped: ShippedWorld, second: Said) -> None:
    verified = shipped.ctl("history", "verify")
    assert (verified.code, verified.answer["ok"]) == (0, True)
    # the release before may just be settling
    wait_for(lambda: not shipped.open_operations(), 60, "operations end")
    verified, events = shipped.ctl("history", "verify"), shipped.history()
    assert verified.answer["events"] == len(events)
    assert [event["seq"] for event in events] == list(range(len(events), 0, -1))
    journals = [path.name for path in shipped.state_dir.glob("operations/op-*")]
    assert sorted(event["operation"] for event in events) == sorted(journals)
    told = [(e["event"], e["outcome"]) for e in reversed(shipped.history("prod")) if e["event"] != "settle"]
    assert told == [
        ("promote", "promoted"),
        ("down", "down"), ("up", "up"),
        ("promote", "rolled_back"),
        ("promote", "promoted"), ("rollback", "rolled_back"),
    ]  # fmt: skip
