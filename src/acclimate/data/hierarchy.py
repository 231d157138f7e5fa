"""`Hierarchy`: a tree whose leaves are classes, such as kinds of rock, read from a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from acclimate import arguments
from acclimate.data.ordering import some
from acclimate.data.tables import read_csv
from acclimate.documents import load_json, load_yaml, read_text
from acclimate.errors import DataError
from acclimate.options import nearest

COLUMNS = ("child", "parent")

Edge = tuple[str, str, str]
"""A node, the node above it, or nothing, and where that is written."""


@dataclass(frozen=True)
class Hierarchy:
    """A tree, or several, whose leaves are classes.

    Attributes:
        class_names: the classes, in the order of the probabilities.
        above: for each node the one above it; nothing for those at the top.
    """

    class_names: tuple[str, ...]
    above: Mapping[str, str]

    def path(self, node: str) -> list[str]:
        """Return the nodes from the top down to one, itself the last."""
        found = [node]
        while found[-1] in self.above:
            found.append(self.above[found[-1]])
        return found[::-1]

    @cached_property
    def levels(self) -> dict[str, int]:
        """The level of every node, 1 at the top, by name: classes in their order, each below what is above it."""
        return {node: place for name in self.class_names for place, node in enumerate(self.path(name), start=1)}

    @cached_property
    def members(self) -> dict[str, tuple[int, ...]]:
        """The numbers of the classes below every node, of a class its own."""
        found: dict[str, tuple[int, ...]] = dict.fromkeys(self.levels, ())
        for number, name in enumerate(self.class_names):
            for node in self.path(name):
                found[node] += (number,)
        return found

    @classmethod
    def read(cls, source: str | os.PathLike[str], class_names: Sequence[str]) -> Self:
        """Read a hierarchy of these classes.

        Args:
            source: a CSV with the columns `child,parent`, of which `parent` is empty at the top; or names within names
                in YAML or JSON, the classes as a list.
            class_names: the classes, each of which is a leaf, and no other is.

        Raises:
            DataError: the file cannot be read; a node stands in two places or above itself; a class is missing, is
                above others, or is unknown.
        """
        path = arguments.path("hierarchy", source)
        edges = list(_edges(path))
        above: dict[str, str] = {}
        seen: dict[str, Edge] = {}
        for edge in edges:
            node, parent, where = edge
            if node in seen:
                places = " and ".join(f"below '{one}'" if one else "at the top" for one in (seen[node][1], parent))
                raise DataError(f"{where}: '{node}' stands there twice, {places}; name each once")
            seen[node] = edge
            if parent:
                above[node] = parent
        _check_circles(above, path)
        _check_leaves({*seen, *above.values()} - {*above.values()}, {*above.values()}, class_names, path)
        return cls(tuple(class_names), above)


def _edges(path: Path) -> Iterator[Edge]:
    text = read_text(path, next_step="give a hierarchy in CSV, YAML or JSON")
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from _rows(text, path)
        return
    content = load_json(text, str(path)) if suffix == ".json" else load_yaml(text, str(path), words=True)
    yield from _nested(content, "", path)


def _rows(text: str, path: Path) -> Iterator[Edge]:
    columns, records = read_csv(text, str(path), COLUMNS)
    found = {name.strip().lower(): name for name in columns}
    if not {*COLUMNS} <= {*found}:
        raise DataError(f"{path}: the columns are {some(columns, 10)!r}; write 'child,parent' in its first line")
    for number, row in records:
        node, parent = ((row.get(found[name]) or "").strip() for name in COLUMNS)
        if not node:
            raise DataError(f"{path} row {number}: the child is empty; fill it in or remove the row")
        yield node, parent, f"{path} row {number}"


def _nested(content: Any, parent: str, path: Path) -> Iterator[Edge]:
    if isinstance(content, dict):
        for name, below in content.items():
            node = str(name).strip()
            if not node:
                raise DataError(f"{path}: a node{f' below {parent!r}' if parent else ''} has no name; give it one")
            yield node, parent, str(path)
            if below not in (None, {}, []):
                yield from _nested(below, node, path)
    elif isinstance(content, list):
        for one in content:
            yield from _nested(one, parent, path)
    elif isinstance(content, str | int | float) and not isinstance(content, bool) and str(content).strip():
        yield str(content).strip(), parent, str(path)
    else:
        place = f"below '{parent}'" if parent else "it"
        raise DataError(f"{path}: {place} holds no names; write names within names, the classes as a list")


def _check_circles(above: Mapping[str, str], path: Path) -> None:
    for start in above:
        chain = [start]
        while (parent := above.get(chain[-1])) is not None:
            if parent in chain:
                circle = " < ".join([*chain[chain.index(parent) :], parent])
                raise DataError(f"{path}: '{parent}' is above itself ({circle}); take one of these out")
            chain.append(parent)


def _check_leaves(leaves: set[str], inner: set[str], class_names: Sequence[str], path: Path) -> None:
    if parted := [name for name in class_names if name in inner]:
        raise DataError(f"{path}: '{parted[0]}' is a class and stands above others; give what is above another name")
    if unknown := sorted(leaves - {*class_names}):
        raise DataError(
            f"{path}: '{unknown[0]}' is no class{nearest(unknown[0], class_names)} (classes: "
            f"{some(list(class_names), 8)}); take out what has no class below it"
        )
    if missing := [name for name in class_names if name not in leaves]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{path}: the class '{missing[0]}'{more} is missing; put every class below a node, or at the top"
        )
