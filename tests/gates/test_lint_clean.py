"""`lint_clean` against real ruff runs."""

from __future__ import annotations

from pathlib import Path

from gate_world import context, release

from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.gates.lint_clean import LintClean
from aither_rings_mcp.ports import Finding


async def judged(root: Path, cwd: Path | None = None, **options: object) -> Finding:
    (root / "ruff.toml").write_text('fix = true\n[lint]\nselect = ["F", "E"]\n')
    return await LintClean(LintClean.Options.model_validate(options)).check(context(root, cwd=cwd or root))


async def test_each_finding_has_code_file_line_and_message_and_nothing_is_mended(tmp_path: Path) -> None:
    (tmp_path / "svc").mkdir()
    (tmp_path / "svc" / "a.py").write_text("import os\n\nx = undefined\n")
    (tmp_path / "svc" / "b.py").write_text("def (:\n")
    finding = await judged(tmp_path, tmp_path / "svc")
    assert (finding.status, finding.reason_code) == (Verdict.FAILED, "lint_findings")
    places = [(item.id, item.where) for item in finding.failed_items]
    assert ("F401", "svc/a.py:1") in places
    assert ("F821", "svc/a.py:3") in places
    assert ("invalid-syntax", "svc/b.py:1") in places
    assert (tmp_path / "svc" / "a.py").read_text().startswith("import os")
    assert not list(tmp_path.rglob(".ruff_cache"))


async def test_a_clean_tree_passes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert (await judged(tmp_path)).status is Verdict.PASSED


async def test_a_path_that_is_not_there_is_no_pass(tmp_path: Path) -> None:
    finding = await judged(tmp_path, paths=["gone"])
    assert (finding.status, finding.failed_items[0].id) == (Verdict.FAILED, "E902")


async def test_more_findings_than_memory_keeps_are_all_counted(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("".join(f"import module{n}\n" for n in range(700)))
    finding = await judged(tmp_path)
    assert len(finding.failed_items) == 700


async def test_a_wrong_argument_or_interpreter_is_an_error(tmp_path: Path) -> None:
    for options in ({"args": ["--no-such-flag"]}, {"python": "/no/such/python"}):
        finding = await judged(tmp_path, **options)
        assert (finding.status, finding.reason_code) == (Verdict.ERROR, "ruff_unusable")


async def test_a_tree_that_is_not_the_releases_is_not_looked_at(tmp_path: Path) -> None:
    ctx = context(tmp_path, release=release(source_digest="then"), source_digest=lambda: "now")
    finding = await LintClean(LintClean.Options()).check(ctx)
    assert (finding.status, finding.reason_code) == (Verdict.ERROR, "source_changed")
