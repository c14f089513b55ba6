"""`health_check`, `manual_approval`, `command` and `docker_build`."""

from __future__ import annotations

import sys
from pathlib import Path

from gate_world import Desk, SmallEngine, Ward, context, release, service

from aither_rings_mcp.domain.health import ServiceState
from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.gates.command import Command
from aither_rings_mcp.gates.docker_build import DockerBuild
from aither_rings_mcp.gates.health_check import HealthCheck
from aither_rings_mcp.gates.manual_approval import ManualApproval
from aither_rings_mcp.ports import Finding


async def health(tmp_path: Path, ward: Ward, critical_only: bool = False) -> Finding:
    return await HealthCheck(HealthCheck.Options(critical_only=critical_only)).check(context(tmp_path, health=ward))


async def test_every_unhealthy_service_is_named_with_its_reason(tmp_path: Path) -> None:
    ward = Ward(
        [
            service("genesis"),
            service("veil", ServiceState.UNHEALTHY, reason="HTTP 500"),
            service("x", ServiceState.STARTING),
        ]
    )
    finding = await health(tmp_path, ward)
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "unhealthy")
    assert [(i.id, i.message) for i in finding.failed_items] == [("veil", "unhealthy: HTTP 500"), ("x", "starting")]


async def test_critical_only_leaves_the_others_out(tmp_path: Path) -> None:
    ward = Ward([service("genesis"), service("atlas", ServiceState.EXITED, critical=False)])
    assert (await health(tmp_path, ward)).status is Verdict.FAILED
    assert (await health(tmp_path, ward, critical_only=True)).status is Verdict.PASSED


async def test_no_service_at_all_is_no_pass(tmp_path: Path) -> None:
    assert (await health(tmp_path, Ward([]))).status is Verdict.ERROR


async def approval(tmp_path: Path, desk: Desk) -> Finding:
    return await ManualApproval(ManualApproval.Options()).check(context(tmp_path, approval=desk))


async def test_only_a_persons_yes_passes(tmp_path: Path) -> None:
    asked = await approval(tmp_path, Desk())
    assert (asked.status, asked.reason_code) == (Verdict.FAILED, "approval_required")
    assert "ring-ctl approve PLAN_ID" in str(asked.fix_hint)
    yes = await approval(tmp_path, Desk(yes="Ada"))
    assert (yes.status, yes.summary) == (Verdict.PASSED, "approved by Ada")


async def test_a_no_outweighs_a_yes(tmp_path: Path) -> None:
    no = await approval(tmp_path, Desk(yes="Ada", no="Grace"))
    assert (no.status, no.reason_code) == (Verdict.FAILED, "approval_rejected")


async def command(tmp_path: Path, code: str, **options: object) -> Finding:
    gate = Command(Command.Options.model_validate({"argv": [sys.executable, "-c", code], **options}))
    return await gate.check(context(tmp_path, limit=5.0))


async def test_a_command_is_judged_by_its_exit_code(tmp_path: Path) -> None:
    assert (await command(tmp_path, "")).status is Verdict.PASSED
    assert (await command(tmp_path, "raise SystemExit(3)", exit_codes=[0, 3])).status is Verdict.PASSED
    bad = await command(tmp_path, "print('it hurts here'); raise SystemExit(3)")
    assert (bad.status, bad.reason_code) == (Verdict.FAILED, "exit_code")
    assert {(e.kind, e.value) for e in bad.evidence} == {("exit_code", "3"), ("output", "it hurts here")}


async def test_a_command_ended_by_a_signal_failed(tmp_path: Path) -> None:
    finding = await command(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert (finding.status, "signal 9" in finding.summary) == (Verdict.FAILED, True)


async def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    finding = await command(tmp_path, "", argv=["no-such-program"])
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "command_not_found")


async def test_a_command_is_told_which_release_it_judges(tmp_path: Path) -> None:
    finding = await command(
        tmp_path, "import os; print(os.environ['RINGS_RELEASE'], os.environ['RINGS_TARGET']); exit(1)"
    )
    assert finding.evidence[1].value == "r-0123456789ab staging"


async def built(tmp_path: Path, engine: SmallEngine, **images: str) -> Finding:
    ctx = context(tmp_path, engine=engine, release=release(images or None))
    return await DockerBuild(DockerBuild.Options()).check(ctx)


def engine_with(**images: str) -> SmallEngine:
    engine = SmallEngine()
    for name, image in images.items():
        engine.build(image)
        engine.run("t-dev", name, image)
    return engine


async def test_images_that_exist_fit_and_run_pass(tmp_path: Path) -> None:
    finding = await built(tmp_path, engine_with(genesis="sha256:aa", veil="sha256:bb"))
    assert finding.status is Verdict.PASSED
    assert "linux/amd64" in finding.summary


async def test_an_image_that_is_gone_of_another_machine_or_not_the_running_one_is_named(tmp_path: Path) -> None:
    engine = engine_with(genesis="sha256:aa", veil="sha256:old", atlas="sha256:cc")
    engine.build("sha256:bb")
    engine.build("sha256:cc", architecture="arm64")
    engine.build("sha256:dd")
    finding = await built(
        tmp_path, engine, atlas="sha256:cc", genesis="sha256:gone", node="sha256:dd", veil="sha256:bb"
    )
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "images_differ")
    assert {item.id: item.message for item in finding.failed_items} == {
        "atlas": "image cc is built for linux/arm64, this engine is linux/amd64",
        "genesis": "image gone is not in the engine any more",
        "node": "dev has no container of it",
        "veil": "dev runs old, the release has bb",
    }


async def test_a_stopped_container_does_not_run_its_image_unless_it_should_be_stopped(tmp_path: Path) -> None:
    engine = SmallEngine()
    for name in ("migrate", "veil"):
        engine.build(f"sha256:{name}")
        engine.run("t-dev", name, f"sha256:{name}", status="exited")
    finding = await built(tmp_path, engine, migrate="sha256:migrate", veil="sha256:veil")
    assert [(item.id, item.message) for item in finding.failed_items] == [("veil", "its container in dev is exited")]
