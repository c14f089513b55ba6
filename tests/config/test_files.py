"""What the file itself can be: missing, unreadable, no YAML, too much of it; and where it says that things are."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_kit import GATES, GOOD, Faults

from aither_rings_mcp.config import load
from aither_rings_mcp.domain.errors import ConfigInvalid

BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)

WRONG: dict[str, tuple[str, str]] = {
    "empty": ("", "rings.yaml:1: the file is empty"),
    "only a comment": ("# nothing\n", "rings.yaml:1: the file is empty"),
    "null": ("---\n", "rings.yaml:2: the file is empty"),
    "a list": ("- a\n- b\n", "rings.yaml:1: has to be a mapping"),
    "a word": ("\nhello\n", "rings.yaml:2: has to be a mapping"),
    "two documents": ("app: a\n---\napp: b\n", "rings.yaml:3: a second document starts here; keep one"),
    "no YAML": ("app: [a\nservices: }\n", "rings.yaml:2: not valid YAML: "),
    "a tab": ("app: a\nservices:\n\tweb: {}\n", "rings.yaml:3: not valid YAML: "),
    "an unknown alias": ("app: *nobody\n", "rings.yaml:1: not valid YAML: found undefined alias"),
    "a control character": ("app: a\n#\x07\n", "rings.yaml:2: not valid YAML: character U+0007 is not allowed"),
    "too deep": ("[" * 5000, "rings.yaml:1: nested too deeply"),
    "aliases that multiply": (BOMB, "rings.yaml:1: more than 20,000 values once its aliases are followed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_config_is_one_fault(name: str, faults: Faults) -> None:
    text, said = WRONG[name]
    [found] = faults(text)
    assert found.startswith(said)


def test_a_duplicate_key_is_a_fault_that_names_the_first(faults: Faults) -> None:
    assert faults(GOOD + "app: again\n") == ["rings.yaml:33: app: written twice; the first is on line 1"]
    text = GOOD.replace("  db: {}", "  db: {}\n  web: {}")
    assert faults(text) == ["rings.yaml:8: services.web: written twice; the first is on line 4"]


def test_a_key_that_is_a_list_is_a_fault(faults: Faults) -> None:
    assert faults(GOOD.replace("  db: {}", "  ? [a, b]\n  : {}")) == [
        "rings.yaml:7: services: a key has to be plain text, not a list or a mapping"
    ]


def test_a_value_inside_itself_is_a_fault(faults: Faults) -> None:
    found = faults(GOOD.replace("  db: {}", "  db: &db {probe: *db}"))
    assert "rings.yaml:7: services.db.probe: an alias here stands inside the very value it repeats" in found
    assert any("`<<` takes a mapping" in line for line in faults(GOOD.replace("  db: {}", "  db: &db {<<: *db}")))


def test_a_tag_is_a_fault(faults: Faults) -> None:
    found = faults(GOOD.replace("app: shop", "app: !!python/name:os.system x"))
    assert any("has no meaning here" in line for line in found)
    assert any("not a valid int" in line for line in faults(GOOD.replace("port: 80", "port: !!int eighty")))


def test_anchors_and_merge_keys_work_and_what_is_written_wins(home: Path, faults: Faults) -> None:
    text = GOOD.replace("  web:\n", "  web: &web\n").replace("  db: {}", "  db: {<<: *web, critical: false}")
    assert faults(text) == []
    services = load(home / "rings.yaml", GATES).settings.services
    assert services["db"].probe == services["web"].probe
    assert services["web"].critical
    assert not services["db"].critical


def test_a_list_of_merges_takes_the_first_that_has_the_key(home: Path, faults: Faults) -> None:
    text = GOOD.replace(
        "  db: {}",
        "  one: &one {critical: true}\n  two: &two {critical: false, one_shot: true}\n  db: {<<: [*one, *two]}",
    )
    assert faults(text) == []
    db = load(home / "rings.yaml", GATES).settings.services["db"]
    assert (db.critical, db.one_shot) == (True, True)


def test_a_fault_that_a_merge_brings_is_told_where_it_is_written(faults: Faults) -> None:
    text = GOOD.replace("  db: {}", "  db: &db {critcal: true}\n  cache: {<<: *db}")
    assert [line.split(": unknown")[0] for line in faults(text)] == [
        "rings.yaml:7: services.cache.critcal",
        "rings.yaml:7: services.db.critcal",
    ]


def test_a_name_that_yaml_would_read_otherwise_stays_as_written(home: Path, faults: Faults) -> None:
    text = GOOD.replace("  db: {}", "  on: {}\n  8001: {}\n  2024-01-01: {}").replace("app: shop", "app: 2024-01-01")
    assert faults(text) == []
    settings = load(home / "rings.yaml", GATES).settings
    assert list(settings.services) == ["web", "on", "8001", "2024-01-01"]
    assert settings.app == "2024-01-01"


def test_a_byte_order_mark_is_no_fault(home: Path) -> None:
    (home / "rings.yaml").write_text(GOOD, encoding="utf-8-sig")
    assert load(home / "rings.yaml", GATES).settings.app == "shop"


def test_what_is_not_utf8_is_a_fault_at_its_line(home: Path) -> None:
    (home / "rings.yaml").write_bytes(b"app: a\n# caf\xe9\n")
    with pytest.raises(ConfigInvalid, match=r"rings\.yaml:2: not UTF-8 text"):
        load(home / "rings.yaml", GATES)


def test_a_file_over_the_bound_is_not_read(home: Path) -> None:
    (home / "rings.yaml").write_text(GOOD + "#" * 1024 * 1024)
    with pytest.raises(ConfigInvalid, match="larger than 1 MiB"):
        load(home / "rings.yaml", GATES)


def test_a_missing_file_names_the_ways_to_say_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="there is no config at") as caught:
        load(tmp_path / "rings.yaml", GATES)
    assert str(tmp_path / "rings.yaml") in caught.value.message
    assert "--config" in caught.value.next_step
    assert "RINGS_CONFIG" in caught.value.next_step


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="is not a file"):
        load(tmp_path, GATES)


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "rings.yaml").symlink_to("rings.yaml")
    with pytest.raises(ConfigInvalid):
        load(tmp_path / "rings.yaml", GATES)


def test_paths_start_at_the_file_wherever_one_stands(
    home: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert faults(GOOD) == []
    monkeypatch.delenv("RINGS_STATE_DIR", raising=False)
    (home / "below").mkdir()
    monkeypatch.chdir(home / "below")
    loaded = load(Path("../rings.yaml"), GATES)
    assert loaded.root.resolve() == home.resolve()
    assert loaded.root.is_absolute()
    assert loaded.state_dir.resolve() == (home / ".rings").resolve()


def test_the_environment_outranks_the_state_dir_of_the_file(
    home: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert faults(GOOD + "state_dir: kept\n") == []
    monkeypatch.setenv("RINGS_STATE_DIR", "")
    assert load(home / "rings.yaml", GATES).state_dir == home / "kept"
    monkeypatch.setenv("RINGS_STATE_DIR", "elsewhere")
    assert load(home / "rings.yaml", GATES).state_dir == home / "elsewhere"
    monkeypatch.setenv("RINGS_STATE_DIR", str(tmp_path / "absolute"))
    assert load(home / "rings.yaml", GATES).state_dir == tmp_path / "absolute"
