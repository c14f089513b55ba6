"""What is kept of a release that failed or was rolled back: sections of text, together within a bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from pydantic import AwareDatetime

from aither_rings_mcp.domain.redact import mask, plain, redact
from aither_rings_mcp.domain.value import Value

SectionName = Literal["summary", "logs", "inspect", "health_log", "config", "config_diff", "events", "gates"]
#: Every section a bundle may have, in the order in which people read them.
SECTIONS: tuple[SectionName, ...] = (
    "summary", "logs", "inspect", "health_log", "config", "config_diff", "events", "gates",
)  # fmt: skip
#: All sections together, in bytes.
BUNDLE_BYTES = 256 * 1024
#: The longest line, in characters.
LINE_MOST = 2000
#: What is read beyond it, as a secret is known by its end as well; a private key is the longest of them.
_LINE_SLACK = 4096
#: Put on a line of its own behind one whose end is not read, with how much that is; `plain` leaves no other in a text.
_CUT = "\x00"
#: What a page costs as JSON, in characters: an answer stays under 8,000 tokens with it.
PAGE_MOST = 20_000

#: Of these the newest lines matter, which are the last; of the others the first.
_TAILS = frozenset({"logs", "health_log", "events"})
#: Written by this program alone. Everything else repeats what containers, gates, repositories or people wrote.
_OWN_WORDS = frozenset({"inspect", "events"})


class SectionFacts(Value):
    """What is known of a section without its text. `bytes` is its size as stored."""

    name: SectionName
    bytes: int
    truncated: bool = False
    untrusted: bool = True


class Section(SectionFacts):
    """One section: text that was redacted and shortened already."""

    text: str

    @property
    def facts(self) -> SectionFacts:
        return SectionFacts(**self.model_dump(exclude={"text"}))


class Bundle(Value):
    """The index of one operation's evidence; it exists only when every section is stored."""

    operation_id: str
    ring: str
    release: str | None = None
    collected_at: AwareDatetime
    sections: tuple[SectionFacts, ...]


class Part(Value):
    """A part of a section, such as one container's log. `cut` says how many bytes it has lost so far."""

    title: str = ""
    text: str
    cut: int = 0


class Draft(Value):
    """A section before it is fitted into the bound."""

    name: SectionName
    parts: tuple[Part, ...]


def draft(name: SectionName, text: str | Mapping[str, str]) -> Draft:
    """A section of one text, or of one titled text per container."""
    if isinstance(text, str):
        return Draft(name=name, parts=(Part(text=text),))
    return Draft(name=name, parts=tuple(Part(title=title, text=one) for title, one in text.items()))


def cleaned(one: Draft, secrets: frozenset[str]) -> Draft:
    """The draft as it may leave. What could never fit goes first, whole lines at a time, so that no secret is halved
    before it is known for one.
    """
    rough = trimmed(one, BUNDLE_BYTES)
    parts = (part.model_copy(update={"text": clean(part.text, secrets)}) for part in rough.parts)
    return rough.model_copy(update={"parts": tuple(parts)})


def clean(text: str, secrets: frozenset[str]) -> str:
    """The text without control characters and secrets, its lines no longer than anybody reads."""
    read = "\n".join(map(_readable, plain(text).split("\n")))
    return "\n".join(_lines(redact(mask(read, secrets))))


def _readable(line: str) -> str:
    most = LINE_MOST + _LINE_SLACK
    return line if len(line) <= most else f"{line[:most]}\n{_CUT}{len(line) - most}"


def _lines(text: str) -> Iterator[str]:
    lines = text.split("\n")
    for line, following in pairwise([*lines, ""]):
        if not line.startswith(_CUT):
            yield _line(line, int(following[1:]) if following.startswith(_CUT) else 0)


def _line(line: str, unread: int) -> str:
    # Again without the engine's time stamp: some secrets are known by standing at the beginning of a line.
    stamp, space, rest = line.partition(" ")
    if stamp.endswith("Z") and stamp[:1].isdigit():
        line = stamp + space + redact(rest)
    # what was masked made room, but at the end of what was read there may be half a secret
    most = max(0, min(LINE_MOST, len(line) - _LINE_SLACK)) if unread else LINE_MOST
    return line if len(line) <= most else f"{line[:most]} [{len(line) - most + unread} more characters]"


def trimmed(one: Draft, most: int) -> Draft:
    """The draft with its biggest parts shortened until all of it is at most `most` bytes, whole lines at a time."""
    tail = one.name in _TAILS
    share = _level([_size(_rendered(part, tail)) for part in one.parts], most)
    return one.model_copy(update={"parts": tuple(_shortened(part, share, tail) for part in one.parts)})


def fit(drafts: Iterable[Draft], total: int = BUNDLE_BYTES) -> tuple[Section, ...]:
    """The sections in their order, together at most `total` bytes; the biggest are shortened first.

    Logs keep their tails, and a section that lost something says how much.
    """
    ordered = sorted(drafts, key=lambda one: SECTIONS.index(one.name))
    share = _level([_size(_text(one)) for one in ordered], total)
    return tuple(_section(trimmed(one, share), share) for one in ordered)


def page(text: str, cursor: int, most: int = PAGE_MOST) -> tuple[str, int | None]:
    """A part of `text` from byte `cursor` that costs at most `most` characters as JSON, and the byte to go on from."""
    raw = text.encode()
    start = max(0, cursor)
    while start < len(raw) and raw[start] & 0xC0 == 0x80:  # inside a character
        start += 1
    rest = raw[start : start + most].decode(errors="ignore")
    cost = end = 0
    for char in rest:
        cost += _cost(char)
        if cost > most:
            break
        end += 1
    shown = rest[:end]
    following = start + _size(shown)
    if following < len(raw) and "\n" in shown:
        shown = shown[: shown.rindex("\n") + 1]
        following = start + _size(shown)
    return shown, following if following < len(raw) else None


def _cost(char: str) -> int:
    if char in '"\\\n\t':
        return 2
    return 1 if " " <= char <= "~" else 12 if ord(char) > 0xFFFF else 6


def _level(sizes: Sequence[int], total: int) -> int:
    """The size that nothing may exceed so that all fit: what small ones leave over is the big ones' to use."""
    left = total
    for number, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - number)
        if size > share:
            return share
        left -= size
    return max(sizes, default=0)


def _shortened(part: Part, most: int, tail: bool) -> Part:
    if _size(_rendered(part, tail)) <= most:
        return part
    lines = part.text.splitlines(keepends=True)
    full = _size(part.text)
    # the note of what was cut has its own place
    room = most - 1 - _size(_rendered(Part(title=part.title, text="", cut=part.cut + full), tail))
    kept: list[str] = []
    for line in reversed(lines) if tail else lines:
        if (size := _size(line)) > room:
            break
        room -= size
        kept.append(line)
    text = "".join(reversed(kept) if tail else kept)
    return part.model_copy(update={"text": text, "cut": part.cut + full - _size(text)})


def _rendered(part: Part, tail: bool) -> str:
    head = f"== {part.title}\n" if part.title else ""
    note = f"[{part.cut} bytes {'before this were' if tail else 'after this were'} left out]\n" if part.cut else ""
    body = part.text if not part.text or part.text.endswith("\n") else f"{part.text}\n"
    return f"{head}{note}{body}" if tail else f"{head}{body}{note}"


def _text(one: Draft) -> str:
    return "".join(_rendered(part, one.name in _TAILS) for part in one.parts)


def _section(one: Draft, most: int) -> Section:
    # a bound too small even for the notes holds all the same
    text = _text(one).encode()[:most].decode(errors="ignore")
    return Section(
        name=one.name,
        text=text,
        bytes=_size(text),
        truncated=any(part.cut for part in one.parts),
        untrusted=one.name not in _OWN_WORDS,
    )


def _size(text: str) -> int:
    return len(text.encode())
