"""Promise 16: secrets stay in."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aither_rings_mcp.domain.redact import MASK, mask, redact

PEM = "-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3S"

#: What is written, and the part of it that nobody may read.
PLANTED = {
    "GitHub classic": ("cloning with ghp_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F"),
    "GitHub fine-grained": ("github_pat_11ABCDEFG0abcdefghij_xyz0123456789", "ABCDEFG0"),
    "GitLab": ("using glpat-20charsOfSecret00_ab", "charsOf"),
    "Slack": ("xoxb-123456789012-abcdefABCDEF", "123456789012"),
    "Slack webhook": ("POST https://hooks.slack.com/services/T000/B000/XXXXyyyy1234", "XXXXyyyy"),
    "Stripe": ("charge by sk_live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39"),
    "OpenAI": ("OpenAI says sk-proj-abcdefgh1234567890ABCD is wrong", "abcdefgh1234"),
    "AWS key id": ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "AWS secret": ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
    "Google": ("?key=AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "SyD-9t"),
    "npm": ("//r/:_authToken=npm_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijkl"),
    "PyPI": ("pypi-AgEIcHlwaS5vcmcCJDU0ZmYx", "AgEIcHl"),
    "Hugging Face": ("hf_abcdefghijklmnopQRST12345", "abcdefghijkl"),
    "JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0", "dozjgNry"),
    "PEM": ("before\n" + PEM.format(kind="RSA ", body=BODY) + "\nafter", "MIIEvQ"),
    "PEM in JSON": (json.dumps({"file": PEM.format(kind="", body=BODY)}), "MzEfYy"),
    "PEM cut off": ("-----BEGIN OPENSSH PRIVATE KEY-----\n" + BODY, "MIIEvQ"),
    "PEM without its beginning": ("12:00:00Z q8c/Ab0=\n12:00:00Z -----END PRIVATE KEY-----", "q8c"),
    "PEM cut into lines": (BODY.splitlines()[0], "MIIEvQ"),
    "token for a user": ("git clone https://16c7e42f292c6912e7710c838347ae17@git.example/x.git", "16c7e42f"),
    "webhook": ("POST https://discord.example/api/webhooks/4711/hunter2 failed", "hunter2"),
    "connection string": ("Server=db;Pwd=hunter2;Encrypt=yes", "hunter2"),
    "DSN": ("postgresql://aither:s3cret@postgres:5432/aither", "s3cret"),
    "DSN without a user": ("redis://:sample-pw@redis:6379/0", "sample-pw"),
    "DSN with @ and / inside": ("amqp://guest:p@ss/w0rd@rabbit:5672/v", "ss/w0rd"),
    "Bearer": ("curl -H 'Authorization: Bearer abcdef' http://x", "abcdef"),
    "Bearer outside a header": ("sent bearer 0123456789abcdef", "0123456789"),
    "Basic": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "header in JSON": ('{"Authorization": "Digest username=bob, response=xyzzy"}', "xyzzy"),
    "Cookie": ("Cookie: theme=dark; sid=hunter2; more=hunter3", "hunter"),
    "Set-Cookie": ("set-cookie: sid=hunter2; Path=/; HttpOnly", "hunter2"),
    "JSON": ('{"password": "correct horse, battery", "user": "bob"}', "battery"),
    "JSON with an escaped quote": (json.dumps({"api_key": 'a"b c'}), "b c"),
    "JSON in JSON": (json.dumps(json.dumps({"password": "correct horse"})), "horse"),
    "JSON cut off": ('{"password": "correct hor', "hor"),
    "camel case": ('{"clientSecretKey": "hunter2"}', "hunter2"),
    "Python": ("connect(password='correct horse', token=b'battery')", "battery"),
    "env line": ("REDIS_PASSWORD=hun,ter;2", "ter;2"),
    "env of a client": ("REDISCLI_AUTH=hunter2 redis-cli ping", "hunter2"),
    "short word in capitals": ("DB_PASS=hunter22 PGPASS=abc123xyz", "abc123"),
    "number as a password": ("DB_PASS=123456", "123456"),
    "encryption key": ("ENCRYPTION_KEY=hunter2", "hunter2"),
    "signing key in JSON in JSON": (json.dumps(json.dumps({"SIGNING_KEY": "correct horse"})), "horse"),
    "salt": ("export APP_SALT='hunter2 more'", "more"),
    "secret of something": ("SECRET_SALT=hunter2", "hunter2"),
    "something's secret": ("COOKIE_SECRET=hunter2", "hunter2"),
    "JWT by its name": ("AUTH_JWT: hunter2", "hunter2"),
    "key in small letters": ("encryption_key: hunter2", "hunter2"),
    "pass in small letters": ('{"db_pass": "correct horse"}', "horse"),
    "deeply escaped": ('token="' + "\\" * 31 + '"hunter2', "hunter2"),
    "JWT cut off": ("sent eyJhbGciOiJIUzI1NiJ9.eyJzdWIi", "eyJzdWIi"),
    "our own token": ("rings_0123456789ab_Ab-_" + "x" * 39, "Ab-_xxx"),
    "our own token inside a word": ("x_rings_0123456789ab_hunter2Hunter2!", "hunter2"),
    "our own token in a header": (f"Authorization: Bearer rings_0123456789ab_{'hunter2' * 6}x", "hunter2"),
    "our own token in a curl line": (f"curl -d a rings_0123456789ab_{'hunter2' * 6}x -v", "hunter2"),
    "YAML": ("  db_password: hunter2", "hunter2"),
    "URL": ("GET /v1/items?page=2&token=hunter2&x=1", "hunter2"),
    "option": ("mysql --password hunter2 --host db", "hunter2"),
}  # fmt: skip

ORDINARY = [
    "author: bob",
    "aither_rings_mcp/entrypoints/cli.py",
    "rings_0123456789ab",
    "tokens: 12 passed",
    "secrets: no container",
    "aitheros-secrets:dev-latest",
    '{"secrets": "healthy"}',
    "tests/test_token.py::test_a_token_rotates FAILED",
    "src/secret_store.py:12:5: E501 line too long",
    "assert password == expected",
    "the password is checked",
    "passwordless: true",
    "basic authentication failed",
    "token verification failed",
    "http://127.0.0.1:9001/health",
    "http://127.0.0.1:9001/users?mail=a@b.example",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "npm_config_loglevel is set",
    "git@github.com:aitherium/rings.git",
    "at 2025-01-01T12:00:00Z genesis: exited, exit code 1",
    "password=",
    "ssh://git@host:22/x",
    "pass: 12 tests",
    "key=value",
    "KEY=value",
    "passed",
    "bypass: yes",
    "BYPASS=yes",
    "primary_key=id",
    "idempotency_key=abc",
    "test_pass.py::x",
    "tests_pass: passed",
    '{"tests_pass": "passed"}',
    "--- PASS: TestX (0.00s)",
    "PASS=12 FAIL=3",
    "MAX_TOKENS=4096",
    '{"MAX_TOKENS": "4096"}',
    "AUTH_ENABLED=true",
    "GIT_AUTHOR_NAME=bob",
]


@pytest.mark.promise(16)
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_secret_does_not_get_out(kind: str) -> None:
    text, secret = PLANTED[kind]
    assert secret in text or json.dumps(secret)[1:-1] in text
    said = redact(text)
    assert secret not in said
    assert json.dumps(secret)[1:-1] not in said
    assert MASK in said


@pytest.mark.promise(16)
@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_a_secret_stays_readable() -> None:
    assert redact("redis://:pw@redis:6379/0") == "redis://[redacted]@redis:6379/0"
    assert redact("GET /v1?token=abc&page=2") == "GET /v1?token=[redacted]&page=2"
    assert redact("before\n" + PEM.format(kind="EC ", body=BODY) + "\nafter") == "before\n[redacted]\nafter"
    assert json.loads(redact('{"password": "a b", "user": "bob"}')) == {"password": MASK, "user": "bob"}


@pytest.mark.parametrize("kind", PLANTED)
def test_redacting_twice_is_redacting_once(kind: str) -> None:
    once = redact(PLANTED[kind][0])
    assert redact(once) == once


@given(st.lists(st.sampled_from([text for text, _ in PLANTED.values()] + ORDINARY + ['"', "'", ",", ": ", "=", "@"])))
def test_redacting_any_mixture_twice_is_redacting_it_once(parts: list[str]) -> None:
    once = redact(" ".join(parts))
    assert redact(once) == once


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


#: Shapes that make a pattern try every length of something at every place.
HOSTILE: dict[str, Callable[[int], str]] = {
    **{
        repr(unit): lambda size, unit=unit: unit * (size // len(unit))
        for unit in (
            "a", "A9", "\\", '"', "'", '\\"', "=", ":", "-", " ", "\n", "x:", "aaaa\n", "sk-",
            "A" * 30 + "b" * 34 + "\n", "--a", "--token", "-eyJaaaaaaaa", "token", "token_", "secret_", "A_", "KEY_",
            "bearer ", "a://", "a://b:c",
            "https://", "http://a/b/", "-----BEGIN PRIVATE KEY-----", "-----BEGIN A", 'token=\\"', "token='\\\\",
            "token=;",
        )
    },
    **{
        repr(start) + " and " + repr(unit): lambda size, start=start, unit=unit: start + unit * (size // len(unit))
        for start, unit in (
            ('token="', "\\"), ('token=\\"', "\\"), ('token=\\"', "\\a"), ("token", " "), ("token=", ";"),
            ("authorization", "\\"), ("bearer ", "a"), ("-----BEGIN PRIVATE KEY-----", "a"), ("-----BEGIN ", "A "),
            ("-----END PRIVATE KEY", "aaaa\n"), ("https://", "a"), ("https://", "a:"), ("a://", ":@"), ("sk-", "a"),
            ("--", "a"), ("--", "token"), ("eyJ", "a"), ("https://a/", "a/"),
        )
    },
}  # fmt: skip


PIECES = ["\\", '"', "'", "token", "A_KEY", "=", ":", "-", "--", "a", " ", "\n", "://", "@", "sk-", "eyJ", "."]
PIECES += ["-----BEGIN ", "-----END ", "PRIVATE KEY", "-----"]


def seconds(work: Callable[[str], str], text: str) -> float:
    """The best of three, of this process alone: what else the machine does is none of the text's doing."""
    taken: list[float] = []
    for _ in range(3):
        before = time.process_time()
        work(text)
        taken.append(time.process_time() - before)
    return min(taken)


def grows_with_its_length(work: Callable[[str], str], text: Callable[[int], str]) -> bool:
    """Four times as long takes about four times as long, not sixteen."""
    return seconds(work, text(8_000)) < 12 * max(seconds(work, text(2_000)), 0.001)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_text_takes_no_longer_than_its_length(shape: str) -> None:
    assert grows_with_its_length(redact, HOSTILE[shape])


@pytest.mark.timeout(30)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5))
@settings(max_examples=40)
def test_nor_does_what_is_made_of_its_pieces(parts: list[str]) -> None:
    start, unit = "".join(parts), parts[-1]
    assert grows_with_its_length(redact, lambda size: (start * (size // len(start)) + unit * size)[: 2 * size])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("value", ['"hunter2!', "!!!hunter2", "\nhunter2!", "\\hunter2"])
def test_nor_does_masking_what_is_known(value: str) -> None:
    assert grows_with_its_length(lambda text: mask(text, [value]), lambda size: "hunter2 " + "\\" * size)
