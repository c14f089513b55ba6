"""YAML text as a tree of places, each knowing its line; whatever is wrong with the text itself is a fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

#: Far beyond any real config; it stops aliases that multiply (each level doubling the one before).
MAX_PLACES = 20_000
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))

Scalar = str | int | float | bool | None
Key = str | int


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where in the file, at which key, and what."""

    line: int
    path: str
    message: str


@dataclass(frozen=True)
class Place:
    """A value of the file and where it stands.

    A key that is not there is a place too: `present` is false, and its line is that of what should hold it.
    """

    path: tuple[Key, ...]
    line: int
    value: Scalar | Mapping[str, Place] | tuple[Place, ...] = None
    present: bool = True

    def at(self, *keys: Key) -> Place:
        here = self
        for key in keys:
            here = here.children().get(key) or Place((*here.path, key), here.line, present=False)
        return here

    def children(self) -> Mapping[Key, Place]:
        """What stands below this place, by key or position; nothing below a scalar."""
        match self.value:
            case tuple():
                return dict(enumerate(self.value))
            case Mapping():
                return {**self.value}
            case _:
                return {}

    def __iter__(self) -> Iterator[Place]:
        return iter(self.children().values())

    @property
    def text(self) -> str | None:
        """The value if it is text, so that a wrongly typed one is left to the type's own fault."""
        return self.value if isinstance(self.value, str) else None

    @property
    def key(self) -> str:
        return str(self.path[-1])

    def plain(self) -> object:
        match self.value:
            case tuple():
                return [place.plain() for place in self.value]
            case Mapping():
                return {key: place.plain() for key, place in self.value.items()}
            case _:
                return self.value

    def fault(self, message: str) -> Fault:
        return Fault(self.line, dotted(self.path), message)


def dotted(path: tuple[Key, ...]) -> str:
    """`('paths', 0, 'gates')` -> `paths[0].gates`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def read(text: str) -> tuple[Place, list[Fault]]:
    """The file's one document, and what is wrong with it as YAML. What could be read is in the tree."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = f"not valid YAML: character U+{error.character:04X} is not allowed"
        return Place((), 1), [Fault(line, "", said)]
    try:
        node = loader.get_node() if loader.check_node() else None
        second = loader.get_node() if loader.check_node() else None
        if second:
            return Place((), 1), [Fault(_line(second), "", "a second document starts here; keep one")]
        if node is None:
            return Place((), 1), []
        reader = _Reader(loader)
        return reader.place(node, (), _line(node), frozenset()), reader.faults
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        return Place((), 1), [Fault(mark.line + 1 if mark else 1, "", f"not valid YAML: {said}")]
    except RecursionError:
        return Place((), 1), [Fault(1, "", "nested too deeply")]
    except _TooMany:
        return Place((), 1), [Fault(1, "", f"more than {MAX_PLACES:,} values once its aliases are followed")]


def _line(node: Node) -> int:
    return node.start_mark.line + 1


class _Loader(yaml.SafeLoader):
    """YAML without timestamps: nothing in a config is one, and `2024-01-01` as a name should stay text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _TAGS or tag.endswith(":merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _TooMany(Exception):
    pass


@dataclass
class _Reader:
    loader: _Loader
    faults: list[Fault] = field(default_factory=list[Fault])
    places: int = 0

    def place(self, node: Node, path: tuple[Key, ...], line: int, above: frozenset[int]) -> Place:
        self.places += 1
        if self.places > MAX_PLACES:
            raise _TooMany
        if id(node) in above:
            return self._wrong(path, line, "an alias here stands inside the very value it repeats")
        above = above | {id(node)}
        match node:
            case MappingNode():
                pairs = self._pairs(node, path, above)
                below = {k: self.place(value, (*path, k), at, above) for k, (at, value) in pairs.items()}
                return Place(path, line, below)
            case SequenceNode():
                items = (self.place(n, (*path, i), _line(n), above) for i, n in enumerate(node.value))
                return Place(path, line, tuple(items))
            case _:
                return Place(path, line, self._scalar(node, path, line))

    def _pairs(self, node: MappingNode, path: tuple[Key, ...], above: frozenset[int]) -> dict[str, tuple[int, Node]]:
        """Keys with their lines and values; what `<<` brings gives way to what is written here."""
        own: dict[str, tuple[int, Node]] = {}
        merged: list[Node] = []
        for key_node, value in node.value:
            line = _line(key_node)
            if not isinstance(key_node, ScalarNode):
                self._wrong(path, line, "a key has to be plain text, not a list or a mapping")
            elif key_node.tag.endswith(":merge"):
                merged += value.value if isinstance(value, SequenceNode) else [value]
            elif key_node.value in own:
                first = own[key_node.value][0]
                self._wrong((*path, key_node.value), line, f"written twice; the first is on line {first}")
            else:
                # As written: YAML 1.1 reads `on:` as true and `8001:` as a number, nobody here means that.
                own[key_node.value] = (line, value)
        brought: dict[str, tuple[int, Node]] = {}
        for source in merged:
            if not isinstance(source, MappingNode) or id(source) in above:
                self._wrong((*path, "<<"), _line(source), "`<<` takes a mapping or a list of mappings")
                continue
            brought = {**self._pairs(source, path, above | {id(source)}), **brought}
        return {**brought, **own}

    def _scalar(self, node: Node, path: tuple[Key, ...], line: int) -> Scalar:
        kind = node.tag.rpartition(":")[2]
        if node.tag not in _TAGS:
            self._wrong(path, line, f"the tag {kind!r} has no meaning here; write a plain value")
            return None
        try:
            return cast("Scalar", self.loader.construct_object(node))  # pyright: ignore[reportUnknownMemberType]
        except ValueError:
            self._wrong(path, line, f"not a valid {kind}")
            return None

    def _wrong(self, path: tuple[Key, ...], line: int, message: str) -> Place:
        self.faults.append(Fault(line, dotted(path), message))
        return Place(path, line)
