"""`tests_pass` against real pytest runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from gate_world import context, release

from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.gates.tests_pass import TestsPass, read_report
from aither_rings_mcp.ports import Finding, GateContext

#: The inner pytest without the plugins that happen to be installed here: it starts in half the time.
QUICK = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project below the root, with a configuration of its own so that ours plays no part."""
    folder = tmp_path / "svc"
    (folder / "tests").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def write(project: Path, code: str, name: str = "test_app.py") -> None:
    (project / "tests" / name).write_text(dedent(code))


async def judged(project: Path, ctx: GateContext | None = None, **options: object) -> Finding:
    gate = TestsPass(TestsPass.Options.model_validate(options))
    ctx = ctx or context(project.parent, cwd=project)
    return await gate.check(replace(ctx, env={**QUICK, **ctx.env}))


async def test_a_failing_test_is_named_with_its_line_and_message(project: Path) -> None:
    write(
        project,
        """
        import pytest

        def helper(value):
            __tracebackhide__ = True
            assert value == 2, "helper says no"

        def test_good():
            pass

        @pytest.mark.parametrize("n", [1, 2])
        def test_sum(n):
            total = n + 1
            assert total == 2

        def test_deep():
            import json
            json.loads("{")

        def test_helped():
            helper(1)

        @pytest.mark.skip
        def test_later():
            pass
        """,
    )
    finding = await judged(project)
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "tests_failed")
    assert finding.summary == "3 failed, 2 passed, 1 skipped"
    by_id = {item.id: item for item in finding.failed_items}
    assert set(by_id) == {f"tests/test_app.py::{name}" for name in ("test_sum[2]", "test_deep", "test_helped")}
    assert by_id["tests/test_app.py::test_sum[2]"].where == "svc/tests/test_app.py:14"
    assert by_id["tests/test_app.py::test_sum[2]"].message == "assert 3 == 2"
    assert by_id["tests/test_app.py::test_deep"].where == "svc/tests/test_app.py:18"
    assert "JSONDecodeError" in by_id["tests/test_app.py::test_deep"].message
    assert by_id["tests/test_app.py::test_helped"].where == "svc/tests/test_app.py:21"
    assert "helper says no" in by_id["tests/test_app.py::test_helped"].message


async def test_how_tracebacks_are_printed_makes_no_difference(project: Path) -> None:
    write(project, "def test_it():\n    assert 1 == 2\n")
    for style in ("no", "native"):
        (item,) = (await judged(project, args=[f"--tb={style}", "-q"])).failed_items
        assert (item.where, item.message) == ("svc/tests/test_app.py:2", "assert 1 == 2")


async def test_a_broken_fixture_and_an_unexpected_pass_are_failures_with_a_place(project: Path) -> None:
    write(
        project,
        """
        import pytest

        @pytest.fixture
        def database():
            raise RuntimeError("no database")

        def test_query(database):
            pass

        @pytest.mark.xfail(strict=True)
        def test_surprise():
            pass
        """,
    )
    broken, surprise = (await judged(project)).failed_items
    assert (broken.where, broken.message) == ("svc/tests/test_app.py:6", "in its setup: RuntimeError: no database")
    assert (surprise.id, surprise.where) == ("tests/test_app.py::test_surprise", "svc/tests/test_app.py:11")
    assert "XPASS" in surprise.message


async def test_when_all_pass_the_gate_passes_and_leaves_no_bytecode(project: Path) -> None:
    write(project, "import http.client\n\ndef test_it():\n    assert http.client.OK == 200\n")
    finding = await judged(project, paths=["tests"])
    assert (finding.status, finding.summary) == (Verdict.PASSED, "1 passed")
    assert not list(project.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("", {}),
        ("def test_it(): pass\n", {"args": ["-k", "nothing"]}),
        ("import pytest\n@pytest.mark.skip\ndef test_it(): pass\n", {}),
    ],
)
async def test_tests_that_do_not_run_are_no_pass(project: Path, code: str, options: dict[str, object]) -> None:
    write(project, code)
    finding = await judged(project, **options)
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "no_tests")


async def test_a_module_that_cannot_be_loaded_is_an_error_with_its_line(project: Path) -> None:
    write(project, "import os\nimport no_such_package\n", "test_import.py")
    write(project, "def test_it(:\n", "test_syntax.py")
    finding = await judged(project)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "collection_error")
    imported, syntax = finding.failed_items
    assert (imported.id, imported.where) == ("tests/test_import.py", "svc/tests/test_import.py:2")
    assert imported.message == "ModuleNotFoundError: No module named 'no_such_package'"
    assert (syntax.where, syntax.message.split(":")[0]) == ("svc/tests/test_syntax.py:1", "SyntaxError")


async def test_a_failing_test_outweighs_a_module_that_cannot_be_loaded(project: Path) -> None:
    write(project, "import no_such_package\n", "test_import.py")
    write(project, "def test_it(): assert False\n")
    finding = await judged(project, args=["--continue-on-collection-errors"])
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "tests_failed")


async def test_a_wrong_argument_is_an_error_not_a_failure(project: Path) -> None:
    write(project, "def test_it(): pass\n")
    finding = await judged(project, args=["--no-such-flag"])
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "usage_error")
    assert "--no-such-flag" in finding.evidence[0].value


async def test_a_plugin_that_breaks_pytest_is_an_error(project: Path) -> None:
    write(project, "def test_it(): pass\n")
    (project / "conftest.py").write_text("def pytest_runtest_protocol(item): raise ValueError('broken plugin')\n")
    finding = await judged(project)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "internal_error")
    assert finding.summary == "pytest itself failed"
    assert "broken plugin" in finding.evidence[0].value


async def test_a_plugin_that_says_no_is_a_failure(project: Path) -> None:
    write(project, "def test_it(): pass\n")
    (project / "conftest.py").write_text("def pytest_sessionfinish(session): session.exitstatus = 1\n")
    finding = await judged(project)
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "pytest_failed")


async def test_a_run_that_is_ended_from_within_is_no_pass_even_with_exit_code_0(project: Path) -> None:
    write(project, "import os\n\ndef test_good(): pass\n\ndef test_quits(): os._exit(0)\n\ndef test_bad(): assert 0\n")
    finding = await judged(project)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "tests_interrupted")
    assert [item.id for item in finding.failed_items] == ["tests/test_app.py::test_quits"]
    assert "test_quits" not in finding.summary


async def test_the_test_that_hangs_is_named(project: Path) -> None:
    write(project, "import time\n\ndef test_good(): pass\n\ndef test_hangs(): time.sleep(60)\n")
    finding = await judged(project, context(project.parent, cwd=project, limit=3.0))
    assert (finding.status, finding.reason_code) == (Verdict.TIMEOUT, "limit_reached")
    assert [item.id for item in finding.failed_items] == ["tests/test_app.py::test_hangs"]


async def test_an_interpreter_without_pytest_is_an_error_that_says_what_to_set(project: Path) -> None:
    missing = await judged(project, python="/no/such/python")
    assert (missing.status, missing.reason_code) == (Verdict.ERROR, "pytest_not_started")
    (project / "python").write_text("#!/bin/sh\necho 'No module named pytest'; exit 1\n")
    (project / "python").chmod(0o755)
    without = await judged(project, python=str(project / "python"))
    assert (without.status, without.reason_code) == (Verdict.ERROR, "pytest_not_started")
    assert "`python`" in str(without.fix_hint)


async def test_a_tree_that_is_not_the_releases_is_not_tested_at_all(project: Path) -> None:
    write(project, "raise SystemExit('must not run')\n")
    ctx = context(project.parent, cwd=project, release=release(source_digest="then"), source_digest=lambda: "now")
    finding = await judged(project, ctx)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "source_changed")
    assert "ring-ctl deploy dev --build" in str(finding.fix_hint)
    assert not ctx.log.exists()


async def test_a_pass_does_not_count_when_the_tree_changed_meanwhile(project: Path) -> None:
    write(project, "import pathlib\n\ndef test_it(): pathlib.Path('edited').touch()\n")
    ctx = context(
        project.parent,
        cwd=project,
        release=release(source_digest="then"),
        source_digest=lambda: "now" if (project / "edited").exists() else "then",
    )
    finding = await judged(project, ctx)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "source_changed")


async def test_the_gates_environment_reaches_the_tests_and_its_pythonpath_is_kept(project: Path) -> None:
    (project / "lib").mkdir()
    (project / "lib" / "ours.py").write_text("ANSWER = 42\n")
    write(project, "import os, ours\n\ndef test_it(): assert os.environ['MODE'] == 'x' and ours.ANSWER == 42\n")
    ctx = context(project.parent, cwd=project, env={"MODE": "x", "PYTHONPATH": str(project / "lib")})
    assert (await judged(project, ctx)).status is Verdict.PASSED


def test_a_torn_last_line_of_the_report_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text(json.dumps({"event": "start", "nodeid": "a"}) + '\n{"event": "te')
    report = read_report(path)
    assert (report.started, report.finished, report.running) == (True, False, ["a"])
