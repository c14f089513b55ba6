"""Evidence stays within its bound, keeps the ends of logs, and shows nothing of a config that is secret."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aither_rings_mcp.domain.evidence import (
    BUNDLE_BYTES,
    LINE_MOST,
    PAGE_MOST,
    SECTIONS,
    Draft,
    cleaned,
    draft,
    fit,
    page,
)
from aither_rings_mcp.domain.redact import MASK, mask
from aither_rings_mcp.domain.secrecy import environment_changes, harmless, known_secrets, shown

lines = st.lists(st.text(max_size=60), max_size=60).map("\n".join)
drafts = st.lists(
    st.builds(
        draft,
        st.sampled_from(SECTIONS),
        st.one_of(lines, st.dictionaries(st.text("abc", max_size=9), lines, max_size=5)),
    ),
    max_size=8,
    unique_by=lambda one: one.name,
)
#: Whatever JSON may hold: a rendered config is not ours.
configs = st.dictionaries(
    st.text(max_size=20) | st.sampled_from(["services", "environment", "command", "labels", "configs", "content"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=30),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.text(max_size=9) | st.sampled_from(["api", "environment", "command", "TOKEN", "image"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    ),
    max_size=5,
)


def numbered(count: int) -> str:
    return "".join(f"line {number}\n" for number in range(count))


def logs(**said: str) -> Draft:
    return draft("logs", said)


# -- the bound


@given(drafts, st.integers(0, 5000))
def test_a_bundle_never_exceeds_its_bound(made: list[Draft], total: int) -> None:
    sections = fit((cleaned(one, frozenset()) for one in made), total)
    assert sum(section.bytes for section in sections) <= total
    assert all(section.bytes == len(section.text.encode()) for section in sections)
    assert [section.name for section in sections] == sorted((one.name for one in made), key=SECTIONS.index)


def test_what_fits_is_kept_whole() -> None:
    (section,) = fit([draft("events", "a\nb\n")])
    assert (section.text, section.truncated) == ("a\nb\n", False)


def test_the_biggest_sections_are_shortened_first() -> None:
    small, big = draft("summary", numbered(10)), draft("config", numbered(10_000))
    summary, config = fit([big, small], 2000)
    assert summary.text == numbered(10)
    assert not summary.truncated
    assert config.truncated
    assert config.text.startswith("line 0\n")


def test_a_shortened_log_keeps_its_tail_and_says_how_much_was_cut() -> None:
    whole = numbered(1000)
    (section,) = fit([logs(api=whole)], 300)
    title, note, *kept = section.text.splitlines()
    assert title == "== api"
    assert kept[-1] == "line 999"
    cut = len(whole) - len("".join(f"{line}\n" for line in kept))
    assert note == f"[{cut} bytes before this were left out]"


def test_a_container_that_never_stops_talking_does_not_crowd_out_the_others() -> None:
    (section,) = fit([logs(api="it failed: no such table\n", web=numbered(100_000))])
    assert "no such table" in section.text
    assert section.text.endswith("line 99999\n")
    assert section.bytes <= BUNDLE_BYTES


def test_what_was_cut_twice_is_counted_whole() -> None:
    whole = numbered(200_000)
    (section,) = fit([cleaned(logs(api=whole), frozenset())], 1000)
    _, note, *kept = section.text.splitlines()
    cut = len(whole) - len("".join(f"{line}\n" for line in kept))
    assert note == f"[{cut} bytes before this were left out]"


def test_a_line_without_end_is_shortened() -> None:
    (section,) = fit([cleaned(draft("logs", "x" * 9000), frozenset())])
    assert section.text == "x" * LINE_MOST + f" [{9000 - LINE_MOST} more characters]\n"


@pytest.mark.parametrize("size", [LINE_MOST + 1, 6096, 6097, 60_000])
def test_how_much_of_a_line_is_left_out_is_said_whether_it_was_read_or_not(size: int) -> None:
    (part,) = cleaned(draft("logs", f"before\n{'x ' * (size // 2)}{'x' * (size % 2)}\nafter"), frozenset()).parts
    assert part.text == f"before\n{'x ' * (LINE_MOST // 2)} [{size - LINE_MOST} more characters]\nafter"


@pytest.mark.promise(16)
@given(st.integers(0, 12_000), st.integers(0, 8), st.sampled_from(["hunter2hunter2", "redis://:hunter2@redis/0"]))
def test_no_part_of_a_secret_is_left_wherever_a_line_was_cut(before: int, masked: int, secret: str) -> None:
    said = "ghp_" + "a1" * 400 + " "
    text = said * masked + "x " * (before // 2) + secret + " y" * 5_000
    (part,) = cleaned(draft("logs", text), frozenset({"hunter2hunter2"})).parts
    assert "hun" not in part.text
    assert len(part.text) < LINE_MOST + 40


def test_terminal_sequences_do_not_get_in_nor_hide_a_secret() -> None:
    said = "\x1b[31mred\x1b[0m hun\x1b[1mter2\x00 \x1b]0;title\x07end"
    (section,) = fit([cleaned(draft("logs", said), frozenset({"hunter2"}))])
    assert section.text == f"red {MASK} end\n"


def test_only_this_programs_own_words_are_trusted() -> None:
    sections = fit([draft(name, "x") for name in SECTIONS])
    assert {section.name for section in sections if not section.untrusted} == {"inspect", "events"}


# -- pages


@given(st.text(), st.integers(40, 200))
def test_the_pages_of_a_text_are_the_text(text: str, most: int) -> None:
    text = text.encode(errors="replace").decode()
    pages: list[str] = []
    cursor: int | None = 0
    while cursor is not None:
        part, cursor = page(text, cursor, most)
        assert len(json.dumps(part)) <= most + 2
        pages.append(part)
    assert "".join(pages) == text


def test_a_page_ends_with_a_whole_line_and_starts_at_a_whole_character() -> None:
    first, following = page("one\ntwo\nthree\n", 0, 12)
    assert (first, following) == ("one\ntwo\n", 8)
    assert page("äb", 1) == ("b", None)
    assert page("ab", 99) == ("", None)


@pytest.mark.parametrize("char", ["a", '"', "\n", "é", "\U0001f600"])
def test_a_page_is_small_as_json_whatever_is_in_it(char: str) -> None:
    part, _ = page(char * BUNDLE_BYTES, 0)
    assert 0 < len(json.dumps(part)) <= PAGE_MOST + 2


# -- known values

VALUE = 'p@ss/w"o r&d$1'


@pytest.mark.promise(16)
@pytest.mark.parametrize(
    "spelled",
    [VALUE, quote(VALUE, safe=""), quote(VALUE), quote(VALUE, safe="").lower(), json.dumps(VALUE)[1:-1],
     json.dumps(json.dumps(VALUE))[3:-3], VALUE.replace("&", "\\u0026"), VALUE.replace(" ", "+"),
     quote(VALUE, safe="").replace("%20", "+")],
)  # fmt: skip
def test_a_known_value_is_masked_however_it_is_written(spelled: str) -> None:
    assert mask(f"x{spelled}y", {VALUE}) == f"x{MASK}y"


@pytest.mark.promise(16)
def test_a_short_value_is_masked_where_it_stands_alone() -> None:
    assert mask("dev devices dev: %3Adev%40 dev_1", {"dev"}) == f"{MASK} devices {MASK}: %3A{MASK}%40 {MASK}_1"


@given(st.text(min_size=8).filter(lambda text: any(c.isascii() and c.isalnum() for c in text)), st.text(), st.text())
def test_no_known_value_is_left(value: str, before: str, after: str) -> None:
    assert value in MASK or value not in mask(before + value + after, {value}).replace(MASK, "\0")


@pytest.mark.promise(16)
@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("DB_PASSWORD", "hunter", "hunter"),
        ("PIN", "4711", "4711"),
        ("DATABASE", "postgres://app:h%40unter@db:5432/app", "h@unter"),
        ("DATABASE", "Server=db;User Id=app;Password=Sup3rGeheim;", "Sup3rGeheim"),
        ("SECRET_KEY", "a$$b$$c", "a$b$c"),
        ("OTHER", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
        ("TLS_KEY", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nq8\n-----END PRIVATE KEY-----", "MIIEvQIBADANBg"),
    ],
)
def test_the_parts_of_a_secret_are_known_as_well(name: str, value: str, part: str) -> None:
    assert part in known_secrets({"services": {"api": {"environment": {name: value}}}})


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_TOKENS", "4096"), ("PASSWORD_LOGIN", "true"), ("GIT_COMMIT", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
     ("PASSWORD_FILE", "/run/secrets/db"), ("RING", "prod"), ("AUTHOR", "somebody")],
)  # fmt: skip
def test_ordinary_values_are_not_taken_for_secrets(name: str, value: str) -> None:
    assert known_secrets({"services": {"api": {"environment": {name: value}}}}) == frozenset()


@pytest.mark.promise(16)
def test_secrets_outside_of_the_environment_are_known_too() -> None:
    config: dict[str, Any] = {
        "services": {
            "redis": {
                "command": ["redis-server", "--requirepass", "geheim"],
                "build": {"args": {"NPM_TOKEN": "abcdefgh"}},
            },
            "web": {"labels": ["traefik.auth.users=admin:geheim2"]},
        },
        "configs": {"app": {"content": "inline geheim3"}},
    }
    assert {"geheim", "abcdefgh", "admin:geheim2", "inline geheim3"} <= known_secrets(config)
    said = json.dumps(shown(config))
    assert "geheim" not in said
    assert "abcdefgh" not in said
    assert "redis-server" in said


# -- what may be shown of a config


@pytest.mark.parametrize(
    ("name", "value"),
    [("RING", "prod"), ("WORKERS", "4"), ("DEBUG", "true"), ("TIMEOUT", "30s"), ("REDIS_HOST", "redis"),
     ("API_URL", "http://genesis:8001"), ("UPSTREAM", "genesis.internal:8001"), ("EMPTY", "")],
)  # fmt: skip
def test_a_harmless_value_is_shown(name: str, value: str) -> None:
    assert harmless(name, value)


@pytest.mark.promise(16)
@pytest.mark.parametrize(
    ("name", "value"),
    [("API_KEY", "prod"), ("LOGIN", "hunter2"), ("NOTE", "two words"), ("URL", "http://a:b@c"), ("X", "a" * 30),
     ("HOST", "a1b2c3d4e5f6a7b8c9d0"), ("ID", "AKIAIOSFODNN7EXAMPLE"), ("QUERY", "a=b&c=d")],
)  # fmt: skip
def test_any_other_value_is_not_shown(name: str, value: str) -> None:
    assert not harmless(name, value)


@pytest.mark.promise(16)
def test_a_change_of_the_environment_is_told_by_names_alone() -> None:
    before = {"services": {"api": {"environment": {"A": "x1", "B": "x2", "C": "same"}}}}
    after = {"services": {"api": {"environment": ["B=x3", "C=same", "D=x4"]}}}
    assert environment_changes(before, after) == ["environment of api: added D; removed A; changed B"]


@given(configs, configs)
def test_any_config_can_be_shown_and_compared(one: dict[str, Any], other: dict[str, Any]) -> None:
    json.dumps(shown(one))
    known_secrets(one)
    environment_changes(one, other)
