"""What of a rendered Compose config is secret: which of its values have to be masked, and what may be shown of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from aither_rings_mcp.domain.redact import COMMON, MASK, NAME_PARTS, redact

Config = Mapping[str, Any]

_SECRET_NAME = re.compile(NAME_PARTS, re.IGNORECASE)
#: A number is a secret under one of these only: `MAX_TOKENS=4096` must not turn every 4096 into a mask.
_NUMBER_NAME = re.compile(r"pass|pwd|(?:^|[_.-])(?:pw|pin|otp)(?:$|[_.-])", re.IGNORECASE)
_FILE_NAME = re.compile(r"[_.-](?:file|path|dir)$", re.IGNORECASE)
#: What a build is known by; a digest under such a name is no credential.
_IDENTITY_NAME = re.compile(r"commit|sha|rev|digest|hash|image|release|version", re.IGNORECASE)
_ADDRESS_NAME = re.compile(r"host|addr|url|uri|server|endpoint|broker|origin|domain", re.IGNORECASE)
_CREDENTIAL = re.compile(r"[A-Za-z0-9+/=_.~-]{20,}")
_RUN = re.compile(r"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{16,}")
_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,6})?")
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,23}")
_AMOUNT = re.compile(r"\d{1,6}(?:ms|s|m|h|d|k|kb|mb|gb)|v?\d{1,4}(?:\.\d{1,4}){1,3}", re.IGNORECASE)
_HOST = re.compile(r"(?:https?://)?[a-z0-9-]{1,24}(?:\.[a-z0-9-]{1,24}){0,4}(?::\d{1,5})?/?")

_USERINFO = re.compile(r"://(?P<user>[^\s/:@'\"]*)(?::(?P<password>[^\s'\"]*))?@")
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.-]{0,40})[\"']?\s*[=:]\s*[\"']?(?P<value>[^;&\s\"',]+)")
_OPTION = re.compile(r"(?P<name>--?[A-Za-z][A-Za-z0-9_-]*)(?:=(?P<value>.+))?", re.DOTALL)
#: Keys of Compose whose texts say where something is.
_PLACES = frozenset({"image", "source", "target", "name", "file", "secrets", "configs"})
_ARGUMENTS = frozenset({"command", "entrypoint", "test"})
_VARIABLES = frozenset({"environment", "labels", "args"})


def secret_name(name: str) -> bool:
    """Whether a variable of that name usually holds a secret."""
    return bool(_SECRET_NAME.search(name)) and not _FILE_NAME.search(name)


def known_secrets(config: Config) -> frozenset[str]:
    """Every value of a rendered config that has to be masked wherever it occurs, and the parts of it that could
    occur alone: the password of a DSN, each line of a key.
    """
    return frozenset(part for value in _secret_values(config) for part in _parts(value))


def harmless(name: str, value: str) -> bool:
    """Whether a variable's value may be shown: a short plain word, a number, an address without a password."""
    if secret_name(name) or redact(value) != value or _RUN.search(value):
        return False
    if any(shape.fullmatch(value) for shape in (_NUMBER, _WORD, _AMOUNT)) or not value:
        return True
    plainly_a_host = "." in value or ":" in value or bool(_ADDRESS_NAME.search(name))
    return plainly_a_host and bool(_HOST.fullmatch(value))


def shown(config: Config) -> dict[str, Any]:
    """The config as it may leave: variables keep their names, and their values only where they are harmless."""
    return {str(key): _shown(str(key), value) for key, value in config.items()}


def environments(config: Config) -> dict[str, dict[str, str]]:
    """service -> its environment, as text; a variable that is passed through without a value is empty."""
    return {
        str(name): _variables(cast("Config", service).get("environment"))
        for name, service in _mapping(config.get("services")).items()
        if isinstance(service, Mapping)
    }


def environment_changes(before: Config, after: Config) -> list[str]:
    """What became of each service's variables, one line each, by name alone."""
    old, new = environments(before), environments(after)
    lines: list[str] = []
    for service in sorted({*old, *new}):
        was, now = old.get(service, {}), new.get(service, {})
        said = {
            "added": {*now} - {*was},
            "removed": {*was} - {*now},
            "changed": {name for name in {*was} & {*now} if was[name] != now[name]},
        }
        told = "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in said.items() if names)
        if told:
            lines.append(f"environment of {service}: {told}")
    return lines


def _secret_values(config: Config) -> Iterator[str]:
    for key, value in _walked("", config):
        if value and (_looks_like_a_credential(key, value) or (secret_name(key) and _tells(key, value))):
            yield value


def _tells(name: str, value: str) -> bool:
    if value.lower() in COMMON or len(value) < 4:
        return False
    return not _NUMBER.fullmatch(value) or len(value) > 6 or bool(_NUMBER_NAME.search(name))


def _looks_like_a_credential(name: str, value: str) -> bool:
    if redact(value) != value:
        return True
    if _IDENTITY_NAME.search(name) or value.startswith("sha256:"):
        return False
    return bool(_CREDENTIAL.fullmatch(value) and _RUN.search(value))


def _walked(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Every variable, label, argument and inline file of a config, with the name it goes by."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            if key in _VARIABLES:
                yield from _variables(inner).items()
            elif key in _ARGUMENTS:
                yield from _arguments(inner)
            elif key == "content":
                yield "secret content", str(inner)
            else:
                yield from _walked(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in cast("Sequence[object]", value):
            yield from _walked(name, inner)
    elif isinstance(value, str) and name not in _PLACES:
        yield name, value


def _arguments(value: object) -> Iterator[tuple[str, str]]:
    before = ""
    for word in _words(value):
        option = _OPTION.fullmatch(word)
        if option and option["value"]:
            yield option["name"], option["value"]
        elif not option:
            yield before, word
        before = option["name"] if option and not option["value"] else ""


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [str(word) for word in cast("Sequence[object]", value)] if isinstance(value, list | tuple) else []


def _parts(value: str) -> Iterator[str]:
    # `docker compose config` writes every `$` twice
    for text in {value, value.replace("$$", "$")}:
        yield text.strip()
        for line in text.replace("\\n", "\n").splitlines():
            if "\n" in text or "\\n" in text:
                yield from _long(line.strip(), 8)
        for found in _USERINFO.finditer(text):
            user, password = found["user"], found["password"] or ""
            yield from _long(unquote(password), 4)
            yield from _long(user, 16)
        for found in _ASSIGNED.finditer(text):
            if secret_name(found["name"]):
                yield from _long(found["value"], 4)
        words = text.split()
        for word in words if len(words) > 1 else ():
            bare = word.strip(";,\"'")
            if any(char.isdigit() for char in bare):
                yield from _long(bare, 8)
                yield from _long(bare.partition("=")[2], 8)


def _long(text: str, least: int) -> Iterator[str]:
    if len(text) >= least and text.lower() not in COMMON and not text.startswith("-----"):
        yield text


def _variables(value: object) -> dict[str, str]:
    """Variables of either of Compose's notations: a mapping, or a list of `NAME=value`."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {str(name): "" if inner is None else str(inner) for name, inner in pairs}
    if isinstance(value, list | tuple):
        split = (str(item).partition("=") for item in cast("Sequence[object]", value))
        return {name: inner for name, _, inner in split}
    return {}


def _shown(key: str, value: object) -> Any:
    if key in _VARIABLES:
        return {name: inner if harmless(name, inner) else MASK for name, inner in _variables(value).items()}
    if key in _ARGUMENTS:
        return _shown_arguments(value) if value else value
    if isinstance(value, Mapping):
        return {str(name): _shown(str(name), inner) for name, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_shown(key, inner) for inner in cast("Sequence[object]", value)]
    secret = key == "content" or (secret_name(key) and key not in _PLACES)
    return MASK if secret and isinstance(value, str) else value


def _shown_arguments(value: object) -> list[str]:
    shown: list[str] = []
    before = ""
    for word in _words(value):
        option = _OPTION.fullmatch(word)
        if option and option["value"] and secret_name(option["name"]):
            word = f"{option['name']}={MASK}"
        elif not option and secret_name(before):
            word = MASK
        shown.append(word)
        before = option["name"] if option and not option["value"] else ""
    return shown


def _mapping(value: object) -> Config:
    return cast("Config", value) if isinstance(value, Mapping) else {}
