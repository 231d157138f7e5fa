"""Write the tables of README and docs/ that the code knows better; with `--check`, compare them and write nothing.

A table stands between two marks, the first of which says what it is:

    <!-- generated: settings coop -->
    <!-- end -->

`method NAME` says what a method is, `settings NAME` are its settings (those of `Recipe`, for NAME `training`), `options
VERB` those of a command, `protocol NAME` those of a protocol; `methods` and `capabilities` list the methods, short and
long, `exports` those that have an ONNX export.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from acclimate.cli.app import commands
from acclimate.methods import AnsweringClassifier, Classifier, Method, get_method, list_methods
from acclimate.options import describe_options
from acclimate.protocols import get_protocol
from acclimate.training.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- generated: ([a-z]+) ?([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
WORDS = {"True": "true", "False": "false", "None": "none"}  # as one writes them after --set


def pages() -> list[Path]:
    """Return the pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def inputs_of(method: type[Method]) -> str:
    """Say what a method reads with its default settings."""
    return str(method.inputs_of(method.Config()))


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table, with what Markdown would read as its own escaped in the cells."""
    lines = [[*columns], ["---" for _ in columns], *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def _code(words: Iterable[str]) -> str:
    """Return words as code, the last after "or"."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _values(kind: str) -> str:
    """Return the type or the choices of a setting as one writes them after --set."""
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "`true` or `false`", "None": "`none`"}
    words = kind.split(" | ")
    return " or ".join(names[word] for word in words) if words[0] in names else _code(words)


def _option_rows(rows: Iterable[dict[str, str]], title: str = "setting") -> str:
    return markdown(
        (title, "default", "values", "meaning"),
        (
            (f"`{row['name']}`", WORDS.get(row["default"], row["default"]), _values(row["type"]), row["help"])
            for row in rows
        ),
    )


def settings(name: str, page: Path) -> str:
    """Return the settings of a method; those that it has from `Recipe` only where they differ from it."""
    if name == "training":
        return _option_rows(describe_options(Recipe))
    kind = get_method(name).Config
    if not issubclass(kind, Recipe):
        return _option_rows(describe_options(kind))
    shared = {row["name"]: row for row in describe_options(Recipe)}
    rows = [row for row in describe_options(kind) if row != shared.get(row["name"])]
    rows.sort(key=lambda row: row["name"] in shared)
    target = os.path.relpath(ROOT / "docs/methods/index.md", page.parent)
    note = f"The other [training settings]({target}#training-settings) have their usual defaults."
    return f"{_option_rows(rows)}\n\n{note}"


def protocol(name: str, page: Path) -> str:
    """Return the options of a protocol, with the selection rules that it knows."""
    kind = get_protocol(name)
    rows = (
        {**row, "type": " | ".join(kind.rules)} if row["name"] == "selection" else row for row in describe_options(kind)
    )
    return _option_rows(rows, "option")


def verbs() -> dict[str, Any]:
    """Return every command of the program by its words."""
    return {words: command for words, command in commands() if not hasattr(command, "commands")}


def options(verb: str, page: Path) -> str:
    """Return the options of a command; its arguments stand in the heading."""
    found = (given for given in verbs()[verb].params if given.param_type_name == "option")
    return markdown(("option", "default", "meaning"), map(_command_row, found))


def _command_row(given: Any) -> tuple[str, str, str]:
    default, help = given.default, given.help
    if isinstance(default, Enum):
        help, default = f"{help.rstrip('.')} ({_code(type(default))}).", default.value
    shown = "required" if given.required else "" if given.is_flag or default is None else f"`{default}`"
    return ", ".join(f"`{name}`" for name in given.opts), shown, help


def _name(method: type[Method], page: Path) -> str:
    return f"[`{method.name}`]({os.path.relpath(ROOT / f'docs/methods/{method.name}.md', page.parent)})"


def _paper(method: type[Method]) -> str:
    return re.sub(r"arXiv (\S+)", r"[\1](https://arxiv.org/abs/\1)", method.paper)


def _serves(method: type[Method]) -> str:
    return "yes" if issubclass(method, Classifier) and method.serves_new_classes else "no"


def methods(_: str, page: Path) -> str:
    """Return the list of methods with what they are."""
    rows = ((_name(method, page), method.title, _paper(method)) for method in list_methods())
    return markdown(("method", "what it is", "arXiv"), rows)


def method(name: str, page: Path) -> str:
    """Return what stands at the head of a method's page."""
    kind = get_method(name)
    facts = {"Learns": kind.learns, "Reads": inputs_of(kind), "Can be bound to other classes": _serves(kind)}
    lines = [f"**{kind.title}**, arXiv {_paper(kind)}.", "", *(f"- {fact}: {text}." for fact, text in facts.items())]
    return "\n".join(lines)


def capabilities(_: str, page: Path) -> str:
    """Return the list of methods with what they learn, read and serve."""
    rows = (
        (
            _name(method, page),
            method.learns,
            inputs_of(method),
            _serves(method),
            _paper(method),
        )
        for method in list_methods()
    )
    return markdown(("method", "learns", "reads", "other classes", "arXiv"), rows)


def exports(_: str, page: Path) -> str:
    """Return which methods have an ONNX export, what the graph reads, and whether the text tower is in it."""
    rows = []
    for method in list_methods():
        if issubclass(method, Classifier) and not issubclass(method, AnsweringClassifier):
            read = sorted(name.replace("_", " ") for name in method.inputs_of(method.Config()).prediction)
            rows.append((_name(method, page), ", ".join(read), "yes" if method.prompts_per_image else "no"))
    return markdown(("method", "the graph computes and reads", "text tower in the graph"), rows)


TABLES: dict[str, Callable[[str, Path], str]] = {
    table.__name__: table for table in (settings, options, protocol, method, methods, capabilities, exports)
}


def filled(page: Path) -> str:
    """Return the text of a page with its tables as the code has them now."""

    def fill(block: re.Match[str]) -> str:
        mark, kind, name, _, end = block.groups()
        return f"{mark}\n{TABLES[kind](name, page)}\n\n{end}"

    return BLOCK.sub(fill, page.read_text(encoding="utf-8"))


def differences(page: Path) -> str:
    """Return how the tables of a page differ from the code, as a diff; the empty string where they do not."""
    name = page.relative_to(ROOT).as_posix()
    before, after = (text.splitlines(keepends=True) for text in (page.read_text(encoding="utf-8"), filled(page)))
    return "".join(difflib.unified_diff(before, after, name, f"{name} (from the code)", n=1))


def main(arguments: list[str]) -> int:
    """Write the tables, or compare them; return the exit code."""
    if arguments == ["--check"]:
        found = "".join(map(differences, pages()))
        if found:
            print(f"{found}\nThese tables are made from the code: `make docs-tables` writes them.", file=sys.stderr)
        return int(bool(found))
    if arguments:
        print("usage: python tools/docs_tables.py [--check]", file=sys.stderr)
        return 2
    for page in pages():
        text = filled(page)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            print(page.relative_to(ROOT).as_posix())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
