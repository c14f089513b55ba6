"""Keeps secrets in: what leaves through any door, log or history passes here first."""

from __future__ import annotations

import re

MASK = "[redacted]"

_KEYWORD = (
    r"(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|"
    r"session[_-]?id|(?<![a-z])dsn|(?-i:_AUTH))"
)
# A keyword ends its word or is followed by `_more` or `More`: a service called `secrets`, `tokens: 12 passed`
# and `test_token.py::test_x` are no secrets. `::` and `==` assign nothing.
_NAME = (
    rf"{_KEYWORD}(?:[_-][a-z0-9_-]{{0,40}}|(?-i:[A-Z0-9][A-Za-z0-9]{{0,40}}))?"
    r"\\*[\"']?[ \t]*(?::(?!:)|=(?!=))[ \t]*"
)
_HEADER = r"\b(?:(?:proxy-)?authorization|(?:set-)?cookie)\\*[\"']?[ \t]*[:=][ \t]*"
# A word alone is no credential (`basic networking`): one has a digit, or an upper-case letter after a lower-case one.
_CREDENTIAL = r"(?=[a-z._~+/=-]*(?:[0-9]|(?-i:[a-z][A-Z])))[a-z0-9._~+/=-]{8,}"

_RULES: tuple[tuple[str, str], ...] = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", MASK),
    # A line of such a key, where the text was cut into lines before it came here.
    (r"(?-i:^(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9+/]{60,}={0,2}$)", MASK),
    # user:password@ in a URL or DSN; the password may hold `@` and `/`, but host:port/ is none.
    (r"(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@:'\"]{0,200}:(?!\d{1,5}/)[^\s'\"]{1,300}@", rf"\g<keep>{MASK}@"),
    (r"(?P<keep>https://hooks\.slack\.com/services/)[^\s'\"]+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_HEADER}[\"'])[^\r\n\"']+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_HEADER})[^\s\"'][^\r\n\"']*", rf"\g<keep>{MASK}"),
    (rf"\b(?P<keep>Bearer|Basic|Token)\s+{_CREDENTIAL}", rf"\g<keep> {MASK}"),
    # JSON web tokens
    (r"\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.[a-z0-9_-]*", MASK),
    # Issuers' own prefixes: GitHub, GitLab, Slack, Stripe; OpenAI and its like, npm, PyPI, Hugging Face; AWS; Google.
    (r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_(?:live|test)_)[a-z0-9_-]{10,}", MASK),
    (r"\b(?:sk-|npm_|pypi-|hf_)(?=[a-z_-]*[0-9])[a-z0-9_-]{10,}", MASK),
    (r"\b(?-i:AKIA|ASIA)[A-Z0-9]{16}\b", MASK),
    (r"\b(?-i:AIza)[a-z0-9_-]{30,}", MASK),
    # name=value, name: value, "name": "value with spaces", \"name\": \"value\", ?name=value, --name value
    (rf"(?P<keep>{_NAME}[bru]?\")(?:\\.|[^\"\\\r\n])+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_NAME}[bru]?')(?:\\.|[^'\\\r\n])+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_NAME}\\+[\"'])(?:(?!\\+[\"'])[^\r\n])+", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>{_NAME})(?!\[redacted\]|[bru]?[\"']|\\+[\"'])[^\s\"'&]*[^\s\"'&,;)}}\]\\]", rf"\g<keep>{MASK}"),
    (rf"(?P<keep>--[a-z-]*{_KEYWORD}[a-z-]* +)(?![-\[])\S+", rf"\g<keep>{MASK}"),
)
_COMPILED = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL | re.MULTILINE), replacement) for pattern, replacement in _RULES
)


def redact(text: str) -> str:
    """The text with everything that looks like a secret masked; safe to apply twice."""
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return text
