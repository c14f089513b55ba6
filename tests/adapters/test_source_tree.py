from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aither_rings_mcp.adapters.source_tree import NO_COMMIT, SourceTree
from aither_rings_mcp.domain.errors import ConfigInvalid
from aither_rings_mcp.domain.settings import Source

FILES = {
    "app/main.py": "print()",
    "app/pkg/mod.py": "x = 1",
    "app/run": "#!/bin/sh",
    "Dockerfile": "FROM scratch",
    "README.md": "not ours",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path)


@pytest.fixture(scope="module")
def first_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = planted(tmp_path_factory.mktemp("first"))
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


@pytest.fixture
def repository(first_repository: Path, tmp_path: Path) -> Path:
    shutil.copytree(first_repository, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path


def planted(root: Path) -> Path:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "app" / "run").chmod(0o755)
    (root / "app" / "link").symlink_to("main.py")
    return root


def tree(root: Path, *paths: str) -> SourceTree:
    return SourceTree(root, Source(paths=paths or ("app", "Dockerfile")))


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def rename(root: Path) -> None:
    (root / "app/main.py").rename(root / "app/other.py")


def retarget(root: Path) -> None:
    (root / "app/link").unlink()
    (root / "app/link").symlink_to("run")


def move_content(root: Path) -> None:
    (root / "app/main.py").write_text("x = 1")
    (root / "app/pkg/mod.py").write_text("print()")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "app/pkg/mod.py").write_text("x = 2"),
    "named file": lambda root: (root / "Dockerfile").write_text("FROM x"),
    "new file": lambda root: (root / "app/new").write_text(""),
    "gone file": lambda root: (root / "app/main.py").unlink(),
    "name": rename,
    "executable bit": lambda root: (root / "app/run").chmod(0o644),
    "where a link points": retarget,
    "contents swapped": move_content,
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "outside": lambda root: (root / "README.md").write_text("other"),
    "times": lambda root: os.utime(root / "app/main.py", (1, 1)),
    "touched again": lambda root: (root / "app/main.py").write_text("print()"),
    "empty folder": lambda root: (root / "app/empty").mkdir(),
    "bytecode": lambda root: (root / "app/main.pyc").write_text("x"),
    "ignored folder": lambda root: shutil.copytree(root / "app/pkg", root / "app/__pycache__"),
    "group bits": lambda root: (root / "app/main.py").chmod(0o664),
}


@pytest.mark.promise(2)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_makes_another_release_makes_another_digest(root: Path, change: Callable[[Path], object]) -> None:
    before = tree(root).digest()
    change(root)
    assert tree(root).digest() != before


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_makes_no_other_release_keeps_the_digest(root: Path, change: Callable[[Path], object]) -> None:
    before = tree(root).digest()
    change(root)
    assert tree(root).digest() == before


def test_the_digest_is_of_content_and_not_of_place(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy") / "elsewhere"
    shutil.copytree(root, copy, symlinks=True)
    assert tree(copy).digest() == tree(root).digest()
    assert tree(root, "Dockerfile", "app", "app/pkg", "./app").digest() == tree(root).digest()
    assert len(tree(root).digest()) == 64


def test_no_paths_have_no_digest(root: Path) -> None:
    assert SourceTree(root, Source()).digest() == ""


def test_a_missing_path_is_named(root: Path) -> None:
    with pytest.raises(ConfigInvalid, match="nowhere") as caught:
        tree(root, "app", "nowhere").digest()
    assert "source.paths" in caught.value.next_step


def test_a_link_to_a_folder_is_not_followed_and_a_dangling_one_is_fine(root: Path) -> None:
    (root / "app/loop").symlink_to("..")
    (root / "app/dangling").symlink_to("nowhere")
    before = tree(root).digest()
    (root / "README.md").write_text("other")
    assert tree(root).digest() == before


def test_a_pipe_among_the_files_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "app/pipe")
    assert tree(root).digest()


def test_what_the_config_names_itself_is_not_ignored(root: Path) -> None:
    source = Source(paths=("app/pkg",), ignore=("pkg",))
    before = SourceTree(root, source).digest()
    (root / "app/pkg/mod.py").write_text("x = 2")
    assert SourceTree(root, source).digest() != before


# the commit


def test_committed_files_have_their_commit(repository: Path) -> None:
    assert tree(repository).commit() == git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_uncommitted_change_has_a_tag_of_its_own(repository: Path, change: Callable[[Path], object]) -> None:
    head = tree(repository).commit()
    change(repository)
    assert tree(repository).commit() == tree(repository).digest() != head
    git(repository, "add", ".")
    assert tree(repository).commit() == tree(repository).digest(), "staged is not committed"


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_is_not_ours_to_release_keeps_the_commit(repository: Path, change: Callable[[Path], object]) -> None:
    head = tree(repository).commit()
    change(repository)
    assert tree(repository).commit() == head


def test_a_tracked_file_that_is_ignored_may_change(repository: Path) -> None:
    (repository / "app/old.pyc").write_text("1")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-qm", "two")
    (repository / "app/old.pyc").write_text("2")
    assert tree(repository).commit() == git(repository, "rev-parse", "HEAD")
    (repository / "app/old.pyc").unlink()
    assert tree(repository).commit() == git(repository, "rev-parse", "HEAD")


def test_a_file_that_git_ignores_but_the_config_does_not_is_uncommitted(repository: Path) -> None:
    (repository / ".git/info/exclude").write_text("*.secret\n")
    (repository / "app/a.secret").write_text("1")
    assert tree(repository).commit() == tree(repository).digest()


def test_the_root_may_be_a_folder_inside_the_repository(repository: Path) -> None:
    inside = SourceTree(repository / "app", Source(paths=("pkg", "main.py")))
    assert inside.commit() == git(repository, "rev-parse", "HEAD")
    (repository / "app/pkg/mod.py").write_text("x = 2")
    assert inside.commit() == inside.digest()


@pytest.mark.parametrize("folder", ["a*", ":(top)app"])
def test_a_name_that_git_would_read_as_a_pattern_is_a_name(repository: Path, folder: str) -> None:
    (repository / folder).mkdir()
    (repository / folder / "ü\n.txt").write_text("x")
    odd = tree(repository, folder)
    assert odd.commit() == odd.digest()
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "odd")
    (repository / "app/main.py").write_text("the pattern would match this one")
    assert odd.commit() == git(repository, "rev-parse", "HEAD")


def test_inside_a_hook_of_another_repository_it_is_still_this_one(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    head = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert tree(repository).commit() == head


def test_without_a_repository_the_digest_serves(root: Path) -> None:
    assert tree(root).commit() == tree(root).digest()
    assert SourceTree(root, Source()).commit() == NO_COMMIT


def test_a_repository_without_a_commit_is_like_none(root: Path) -> None:
    git(root, "init", "-q")
    assert tree(root).commit() == tree(root).digest()


def test_without_git_the_digest_serves(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert tree(repository).commit() == tree(repository).digest()


def test_without_paths_the_commit_is_the_repositorys(repository: Path) -> None:
    assert SourceTree(repository, Source()).commit() == git(repository, "rev-parse", "HEAD")


def test_asking_git_writes_nothing_into_the_repository(repository: Path) -> None:
    index = repository / ".git/index"
    os.utime(repository / "app/main.py", (1, 1))
    before = index.read_bytes()
    tree(repository).commit()
    assert index.read_bytes() == before
