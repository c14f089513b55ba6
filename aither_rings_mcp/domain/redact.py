"""Keeps secrets in: what leaves through any door, log or history passes here first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, cast

MASK = "[redacted]"

#: Parts of the names of variables that usually hold a secret.
NAME_PARTS = (
    r"(?<!by)(?<!com)pass(?!e[sd])|pwd|secret|token|private|credential|dsn|cookie|session|salt|signature|signing"
    r"|webhook|bearer|jwt|auth(?!ors?(?![a-z]))|keys?(?![a-z])|(?<![a-z0-9])(?:pw|pin|otp|cert|sas)(?![a-z0-9])"
)
#: Values that tell nobody anything, whatever they are called.
COMMON = frozenset(
    {"true", "false", "none", "null", "default", "auto", "enabled", "disabled", "required", "optional", "disable"}
)

# Every repetition that can fail behind what it took has a bound: whoever writes a log chooses what we read.
_ESCAPES = r"\\{0,32}"
_ASSIGNED = rf"{_ESCAPES}[\"']?[ \t]{{0,16}}(?::(?!:)|=(?!=))[ \t]{{0,16}}"
_PLAIN_VALUE = rf"{_ESCAPES}[\"']?(?:-?\d{{1,9}}(?:\.\d{{1,6}})?|{'|'.join(sorted(COMMON))})(?![^\s\"'\\&,;)}}\]])"
_KEYWORD = (
    r"(?:password|passwd|passphrase|secret|token|credentials?|session[_-]?id"
    r"|(?:api|access|private|encryption|signing|master|hmac)[_-]?key"
    r"|(?<![a-z0-9])(?:db|pg|sql|smtp|mail|ldap|ftp|user|admin|root)[_-]?pass"
    r"|(?<![a-z])dsn|(?-i:_AUTH)|(?<![a-z])pwd(?==))"
)
# In words, only what is plain is a secret's name: `pass: 12 tests`, `primary_key=id`. A variable in capitals is one of
# a program's settings, and counts by any part of its name, if it is more than that part: `PASS: test_x` is none.
_VARIABLE = (
    rf"(?-i:(?<![A-Za-z0-9_])(?=[A-Z0-9]{{0,40}}_|[A-Z0-9]{{1,40}}PASS)(?=[A-Z0-9_]{{0,40}}?(?i:{NAME_PARTS}))"
    r"[A-Z][A-Z0-9_]{1,60}(?<!_FILE)(?<!_PATH)(?<!_DIR))"
    rf"(?:(?-i:(?<=PASS)|(?<=PWD)|(?<=_PW)|(?<=_PIN)|(?<=_OTP))|(?!{_ASSIGNED}{_PLAIN_VALUE}))"
)
# A keyword ends its word or is followed by `_more` or `More`: a service called `secrets`, `tokens: 12 passed`
# and `test_token.py::test_x` are no secrets. `::` and `==` assign nothing.
_NAME = (
    rf"(?:{_KEYWORD}(?:[_-][a-z0-9_-]{{0,40}}|(?-i:(?!S\b)[A-Z0-9][A-Za-z0-9]{{0,40}}))?|{_VARIABLE})"
    rf"{_ASSIGNED}"
)
_HEADER = r"\b(?:(?:proxy-)?authorization|(?:set-)?cookie)\\{0,32}[\"']?[ \t]{0,16}[:=][ \t]{0,16}"
# A word alone is no credential (`basic networking`): one has a digit, or an upper-case letter after a lower-case one.
_CREDENTIAL = r"(?=[a-z._~+/=-]*(?:[0-9]|(?-i:[a-z][A-Z])))[a-z0-9._~+/=-]{8,}"

_RULES: tuple[tuple[str, str], ...] = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", MASK),
    # A line of such a key, where the text was cut into lines before it came here.
    (r"(?-i:^(?=[^\n]*[A-Z])(?=[^\n]*[a-z])[A-Za-z0-9+/]{60,}={0,2}$)", MASK),
    # user:password@ in a URL or DSN; the password may hold `@` and `/`, but host:port/ is none.
    (r"(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@:'\"]{0,200}:(?!\d{1,5}/)[^\s'\"]{1,300}@", rf"\g<keep>{MASK}@"),
    # a token alone in the place of the user
    (r"(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://)(?=[^\s/@]{0,200}[0-9])[a-z0-9._~%-]{16,200}@", rf"\g<keep>{MASK}@"),
    (r"(?P<keep>https://hooks\.slack\.com/services/)[^\s'\"]+", rf"\g<keep>{MASK}"),
    (r"(?P<keep>\bhttps?://[^\s/'\"]{1,200}/(?:[a-z0-9_-]{1,40}/){0,3}(?:web)?hooks?/)[^\s'\"]+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_HEADER}[\"'])[^\r\n\"']+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_HEADER})[^\s\"'][^\r\n\"']*", rf"\g<keep>{MASK}"),
    (rf"\b(?P<keep>Bearer|Basic|Token)\s+{_CREDENTIAL}", rf"\g<keep> {MASK}"),
    # JSON web tokens, also cut off: an object in base64 begins so
    (r"\beyJ[a-z0-9_-]{16,}(?:\.[a-z0-9_-]*){0,4}", MASK),
    # our own tokens, of which the id tells nobody anything either
    (r"rings_[0-9a-f]{12}_[a-z0-9_-]{4,}", MASK),
    # Issuers' own prefixes: GitHub, GitLab, Slack, Stripe; OpenAI and its like, npm, PyPI, Hugging Face; AWS; Google.
    (r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_(?:live|test)_)[a-z0-9_-]{10,}", MASK),
    (r"\b(?:sk-|npm_|pypi-|hf_)(?=[a-z_-]{0,64}[0-9])[a-z0-9_-]{10,}", MASK),
    (r"\b(?-i:AKIA|ASIA)[A-Z0-9]{16}\b", MASK),
    (r"\b(?-i:AIza)[a-z0-9_-]{30,}", MASK),
    # name=value, name: value, "name": "value with spaces", \"name\": \"value\", ?name=value, --name value
    (rf"(?P<keep>{_NAME}[bru]?\")(?:\\.|[^\"\\\r\n])+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_NAME}[bru]?')(?:\\.|[^'\\\r\n])+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_NAME}\\{{1,32}}[\"'])(?:(?!\\{{1,32}}[\"'])[^\r\n])+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_NAME})(?!\[redacted\]|[bru]?[\"']|\\{{1,32}}[\"'])[^\s\"'&]*[^\s\"'&,;)}}\]\\]", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>(?<![\w-])--[a-z-]{{0,40}}{_KEYWORD}[a-z-]{{0,40}} +)(?![-\[])\S+", rf"\g<keep>{MASK}"),
)
#: The end of a private key whose beginning was cut off, each line perhaps behind a time stamp.
_KEY_END = re.compile(
    r"(?:^(?:\S{1,40} )?[A-Za-z0-9+/=]{4,76}\r?\n){1,80}(?:\S{1,40} )?-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    re.MULTILINE,
)
_FRAGMENT = re.compile(r"[A-Za-z0-9]+")
#: Shorter than this, a value is masked only where it stands alone: it may be a part of other words.
_DISTINCT = 8


def mask(text: str, values: Iterable[str]) -> str:
    """The text with `values` masked wherever they stand, also escaped or percent-encoded; long ones first."""
    standing = (value for value in set(values) if value and _fragment(value) in text)
    found = sorted(standing, key=lambda value: (-len(value), value))
    if not found:
        return text
    return re.sub("|".join(map(_anyhow, found)), MASK, text)


def _fragment(value: str) -> str:
    """The longest part of it that looks the same in every spelling."""
    return max(_FRAGMENT.findall(value), key=len, default="")


def _anyhow(value: str) -> str:
    spelled = "".join(map(_spellings, value))
    if len(value) >= _DISTINCT:
        return spelled
    # `%3Ahunter2`: the A belongs to the colon before it
    return rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})){spelled}(?![A-Za-z0-9])"


def _spellings(char: str) -> str:
    if char.isascii() and char.isalnum():
        return char
    percent = "".join(f"%{byte:02x}" for byte in char.encode(errors="replace"))
    ways = [rf"{_ESCAPES}{re.escape(char)}", rf"(?i:{percent})", rf"(?i:\\{{1,32}}u{ord(char):04x})"]
    if char == " ":
        ways.append(r"\+")
    if char == "\n":
        ways.append(r"\\{1,32}n")
    return f"(?:{'|'.join(ways)})"


@cache
def _control() -> re.Pattern[str]:
    """Terminal sequences (CSI, OSC) and control characters."""
    return re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text without terminal sequences and control characters: they steer readers, and hide secrets."""
    return _control().sub("", text).encode(errors="replace").decode()


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compiled when the first text comes: a client waits for the server to start, and nothing is said until then."""
    flags = re.IGNORECASE | re.DOTALL | re.MULTILINE
    return tuple((re.compile(pattern, flags), replacement) for pattern, replacement in _RULES)


def redacted(value: Any) -> Any:
    """The same JSON value with every text in it masked."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {name: redacted(each) for name, each in cast("Mapping[str, Any]", value).items()}
        case list() | tuple():
            return [redacted(each) for each in cast("Sequence[Any]", value)]
        case _:
            return value


def redact(text: str) -> str:
    """The text with everything that looks like a secret masked; safe to apply twice."""
    for pattern, replacement in _compiled():
        text = pattern.sub(replacement, text)
    return _KEY_END.sub(MASK, text) if "PRIVATE KEY" in text else text
