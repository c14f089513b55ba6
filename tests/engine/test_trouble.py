"""Trouble on a real machine: each kind has its clear error and exit code, and changes nothing it should not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound
from small_world import PORTS, SmallWorld
from worlds import Said, free_port, wait_for

from aither_rings_mcp.domain.composition import LABEL_PIN
from aither_rings_mcp.wiring import installation

pytestmark = pytest.mark.engine


# -- the machine


@pytest.mark.promise(17)
def test_without_an_engine_every_command_that_needs_one_says_so_and_changes_nothing(
    small: SmallWorld, tmp_path: Path
) -> None:
    if not small.ring("prod")["rollback_ready"]:
        small.promote_another()
    small.new_setting()
    before, recorded = small.everything_running(), small.recorded()
    dead = f"unix://{tmp_path}/no-engine.sock"

    def refused(*commands: str) -> dict[str, tuple[int, str]]:
        said = {command: small.ctl(*command.split(), DOCKER_HOST=dead) for command in commands}
        assert all("DOCKER_HOST" in one.error["next"] for one in said.values()), said
        return {command: (one.code, one.error["code"]) for command, one in said.items()}

    # one after another where they change the same ring
    about_prod = ("health prod", "plan staging prod", "promote staging prod", "rollback prod", "down prod")
    about_dev = ("status", "gates dev staging", "promote dev staging", "deploy dev", "up dev")
    with ThreadPoolExecutor(2) as both:
        answers = both.map(lambda commands: refused(*commands), (about_prod, about_dev))
    expected = (5, "docker_unavailable")
    assert list(answers) == [dict.fromkeys(about_prod, expected), dict.fromkeys(about_dev, expected)]
    doctor = small.ctl("doctor", DOCKER_HOST=dead)
    assert (doctor.code, [f["check"] for f in doctor.answer["findings"] if not f["ok"]]) == (5, ["engine"])
    assert (small.everything_running(), small.recorded()) == (before, recorded)
    assert small.ctl("recover").answer["resumed"] == []


@pytest.mark.promise(5)
def test_a_taken_port_takes_the_promotion_back_and_is_named(small: SmallWorld) -> None:
    images, env_file = small.running_images("prod"), small.root / "compose/.env.prod"
    before = env_file.read_text()
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = listener.getsockname()[1]
        small.set(".env.prod", GENESIS_PORT=port)
        said = small.ctl("promote", "staging", "prod")
    env_file.write_text(before)
    assert (said.code, said.outcome) == (7, "rolled_back")
    assert f"127.0.0.1:{port}" in said.answer["verification"]["reason"]
    assert f"127.0.0.1:{port}" in small.history("prod")[0]["detail"]
    assert small.running_images("prod") == images
    assert small.http("prod", "genesis", "/health")[0] == 200
    # the port's fault, not the release's
    assert said.answer["release"] not in quarantined(small, "prod")


@pytest.fixture
def full_disk(small: SmallWorld, tmp_path: Path) -> Iterator[Path]:
    """The world's state on a real file system with no byte free."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: a really full disk needs root to mount one")
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(mount)], check=True)
    try:
        shutil.copytree(small.state_dir, mount / "state")
        with (mount / "filler").open("wb", buffering=0) as filler:
            while True:
                try:
                    filler.write(bytes(4096))
                except OSError:
                    break
        yield mount / "state"
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.promise(5)
def test_a_full_disk_is_named_and_nothing_changes(small: SmallWorld, full_disk: Path) -> None:
    small.new_setting()
    before, recorded = small.everything_running(), (full_disk / "rings-state.json").read_bytes()
    for words in (("promote", "staging", "prod"), ("rollback", "prod"), ("deploy", "dev"), ("down", "prod")):
        said = small.ctl(*words, RINGS_STATE_DIR=str(full_disk))
        assert (said.code, "disk full" in said.error["message"]) == (5, True), said
        assert str(full_disk) in said.error["next"]
    assert small.everything_running() == before
    assert (full_disk / "rings-state.json").read_bytes() == recorded
    assert small.ctl("history", "verify", RINGS_STATE_DIR=str(full_disk)).answer["ok"] is True


# -- what is to be promoted


def test_where_nothing_was_deployed_there_is_nothing_to_promote_start_or_go_back_to(
    small_world: SmallWorld, tmp_path: Path
) -> None:
    def refused(*words: str) -> tuple[int, str]:
        said = small_world.ctl(*words, RINGS_STATE_DIR=str(tmp_path / "empty"))
        return said.code, said.error["code"]

    assert refused("promote", "dev", "staging") == (2, "invalid_transition")
    assert refused("promote", "staging", "prod") == (2, "invalid_transition")
    assert refused("up", "prod") == (2, "invalid_transition")
    assert refused("rollback", "prod") == (4, "no_rollback_target")


def test_a_failed_build_shows_the_end_of_its_log_and_changes_nothing(small: SmallWorld) -> None:
    before, recorded = small.everything_running(), small.recorded()
    change = small.root / "compose/sample/sample_service/change.py"
    good = change.read_text()
    change.write_text("FAULT = = 'ok'\n")
    try:
        said = small.ctl("deploy", "dev")
    finally:
        change.write_text(good)
    assert said.code == 5
    assert any("SyntaxError" in line for line in said.error["log_tail"]), said.error
    assert (small.everything_running(), small.recorded()) == (before, recorded)


@pytest.mark.promise(9)
def test_an_image_that_somebody_removed_is_missed_before_anything_changes(small: SmallWorld) -> None:
    before_it = small.ring("dev")["release"]
    assert small.release("ok").code == 0
    small.arrange("promote", "dev", "staging")
    gone = small.candidate()["images"]["node"]
    assert small.release("ok").code == 0  # dev moves on: only names and pins hold the candidate's images now
    remove_image(small, gone)
    before = small.everything_running()
    said = small.ctl("promote", "staging", "prod")
    assert (said.code, said.error["code"]) == (5, "image_missing")
    assert said.error["services"] == ["node"]
    assert small.everything_running() == before
    # it was dev's way back too: that is passed over, and stands in nobody's way
    dev = small.ring("dev")
    assert (dev["rollback_release"], dev["rollback_ready"]) == (before_it, True)
    small.arrange("up", "dev")


def test_a_candidate_that_expired_has_to_pass_its_gates_again(small: SmallWorld) -> None:
    before = small.what_runs("prod")
    with small.rules(lambda rules: rules["rings"]["staging"].update(candidate_ttl="1s")):
        small.arrange("promote", "dev", "staging")
        wait_for(lambda: small.ring("staging")["state"] == "expired", 10, "the candidate expires")
        small.new_setting()
        said = small.ctl("promote", "staging", "prod")
    assert (said.code, said.error["code"]) == (4, "plan_expired")
    assert "ring-ctl promote dev staging" in said.error["next"]
    assert small.what_runs("prod") == before


@pytest.mark.promise(2)
def test_moved_tags_change_nothing(small: SmallWorld) -> None:
    candidate = small.candidate()
    wrong = small.engine.images.get(candidate["images"]["veil"])
    for tag in ("dev-latest", candidate["tag"], "prod-latest"):
        wrong.tag(f"{small.app}-node", tag)
    said = small.promote_another()
    assert (said.code, said.outcome) == (0, "promoted")
    assert small.running_images("prod") == candidate["images"]
    assert small.tags("node")["prod-latest"] == candidate["images"]["node"]


# -- bad and slow releases


@pytest.mark.promise(11)
def test_a_crash_loop_is_seen_long_before_the_limit_and_taken_back(small: SmallWorld) -> None:
    images = small.running_images("dev")

    def patient_but_strict(rules: dict[str, Any]) -> None:
        rules["limits"]["healthy"] = "60s"
        rules["rings"]["dev"]["on_unhealthy"] = "restore"

    with small.rules(patient_but_strict):
        said = small.release("crash-loop")
    assert (said.code, said.outcome) == (7, "rolled_back")
    assert said.answer["verification"]["reason"].startswith("crash loop: ")
    assert said.answer["verification"]["waited_s"] < 30
    assert small.running_images("dev") == images
    evidence = {
        section: small.ctl("operation", said.answer["operation_id"], "--evidence", "--section", section).answer["text"]
        for section in ("summary", "logs", "inspect")
    }
    assert "what was wrong: crash loop: " in evidence["summary"]
    assert "== " in evidence["logs"]
    assert "restarts: 3" in evidence["inspect"]


@pytest.mark.promise(7, 8, 14)
def test_a_rollback_goes_to_the_last_good_release_and_only_force_comes_back_from_it(small: SmallWorld) -> None:
    good = small.ring("prod")["release"]
    later = small.promote_another().answer["release"]
    back = small.ctl("rollback", "prod", "--reason", "users complain")
    assert (back.code, back.outcome) == (0, "rolled_back")
    assert (back.answer["from"], back.answer["to"], small.ring("prod")["release"]) == (later, good, good)
    assert small.ctl("promote", "staging", "prod").error["code"] == "quarantined"
    forced = small.ctl("promote", "staging", "prod", "--force", "--reason", "they were wrong")
    assert (forced.code, forced.answer["release"]) == (0, later)
    prod = small.ring("prod")
    assert "they were wrong" in prod["override"]
    assert later not in quarantined(small, "prod")
    assert (prod["rollback_release"], prod["rollback_ready"]) == (good, True)


@pytest.mark.promise(9)
def test_a_guest_on_prods_network_does_not_stand_in_the_way_of_going_back(small: SmallWorld) -> None:
    good = small.ring("prod")["release"]
    small.promote_another()
    network = f"{small.projects['prod']}_default"
    image = small.running_images("prod")["genesis"]
    guest = small.engine.containers.run(image, ["sleep", "60"], network=network, init=True, detach=True)
    try:
        back = small.ctl("rollback", "prod")
    finally:
        guest.remove(force=True)
    assert (back.code, back.answer["to"]) == (0, good)
    assert small.http("prod", "genesis", "/")[1]["release"] == good


@pytest.mark.promise(14)
def test_a_release_that_was_forced_into_staging_is_still_called_so_in_prod(small: SmallWorld) -> None:
    small.arrange("promote", "dev", "staging", "--force", "--reason", "the gates are down")
    small.promote_another()
    assert "the gates are down" in small.ring("prod")["override"]


@pytest.fixture(scope="class")
def deployed(small_world: SmallWorld) -> Said:
    small_world.settle()
    with small_world.rules(impatient):
        return small_world.release("never-healthy")


@pytest.fixture(scope="class")
def blocked(small_world: SmallWorld, deployed: Said) -> Said:
    return small_world.ctl("promote", "dev", "staging")


@pytest.fixture(scope="class")
def forced(small_world: SmallWorld, blocked: Said) -> Said:
    return small_world.ctl("promote", "dev", "staging", "--force", "--reason", "show it to the team")


class TestAReleaseThatIsNeverHealthy:
    """One release, from dev on: each test goes on where the one before it left the rings."""

    def test_stays_in_dev_for_its_author_to_look_at(self, small_world: SmallWorld, deployed: Said) -> None:
        assert (deployed.code, deployed.outcome) == (7, "unhealthy")
        assert small_world.running_images("dev") == small_world.stored_images(deployed.answer["release"])
        assert small_world.http("dev", "genesis", "/health")[0] == 503

    def test_is_blocked_by_the_health_gate_service_by_service(self, blocked: Said) -> None:
        assert (blocked.code, blocked.outcome) == (4, "blocked")
        gate = next(gate for gate in blocked.answer["gates"] if gate["name"] == "health_check")
        assert {item["id"] for item in gate["failed_items"]} == set(PORTS)

    @pytest.mark.promise(14)
    def test_comes_to_staging_only_by_force_and_everybody_can_see_that(
        self, small_world: SmallWorld, forced: Said
    ) -> None:
        assert (forced.code, forced.outcome) == (0, "candidate_tagged")
        assert "forced" in forced.answer["summary"]
        staging = small_world.ring("staging")
        assert "show it to the team" in staging["override"]
        assert staging["candidate"]["forced_by"]
        assert small_world.history("staging")[0]["reason"] == "show it to the team"

    @pytest.mark.promise(8)
    def test_is_taken_back_by_prod(self, small_world: SmallWorld, forced: Said) -> None:
        images = small_world.running_images("prod")
        said = small_world.ctl("promote", "staging", "prod")
        assert (said.code, said.outcome) == (7, "rolled_back")
        assert "/health answered 503" in said.answer["verification"]["reason"]
        assert small_world.running_images("prod") == images
        assert small_world.http("prod", "genesis", "/health")[0] == 200
        assert said.answer["release"] in quarantined(small_world, "prod")

    def test_as_a_first_promotion_leaves_the_ring_as_empty_as_it_was(
        self, small_world: SmallWorld, forced: Said
    ) -> None:
        with small_world.rules(impatient), small_world.rules(small_world.with_canary):
            said = small_world.ctl("promote", "staging", "canary")
            assert (said.code, said.outcome) == (7, "rolled_back")
            assert "rolled_back_to" not in said.answer
            assert small_world.containers("canary") == []
            canary = small_world.ring("canary")
        assert canary["state"] == "empty"
        assert [entry["release"] for entry in canary["quarantine"]] == [said.answer["release"]]


@pytest.mark.promise(11)
def test_a_release_that_starts_slowly_passes(small: SmallWorld) -> None:
    assert small.release("slow-start:3").code == 0
    small.arrange("promote", "dev", "staging")
    said = small.ctl("promote", "staging", "prod")
    assert (said.code, said.outcome) == (0, "promoted")
    assert said.answer["verification"]["unhealthy"] == []


def impatient(rules: dict[str, Any]) -> None:
    """For rings that have no good release to wait for."""
    rules["limits"]["healthy"] = "3s"


def quarantined(world: SmallWorld, ring: str) -> set[str]:
    return {entry["release"] for entry in world.ring(ring).get("quarantine", ())}


def remove_image(world: SmallWorld, image: str) -> None:
    """An image of this world goes, with its names and pins."""
    world.workers_end()
    pinned = {"label": f"{LABEL_PIN}={installation(world.state_dir)}", "ancestor": image}
    for pin in world.engine.containers.list(all=True, filters=pinned):
        pin.remove(force=True)
    world.engine.images.remove(image, force=True)
    with pytest.raises(ImageNotFound):
        world.engine.images.get(image)
