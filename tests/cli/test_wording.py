"""The library names options as Python spells them; the command line writes the dashes."""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path

import pytest

import acclimate
from acclimate.cli import wording
from acclimate.cli.wording import in_dashes

ROOT = Path(acclimate.__file__).parent
COMMAND = re.compile(r"`acclimate [^`]*`")
DASHED = re.compile(r"(?<![\w-])--[a-z]")


def test_the_examples_hold():
    found = doctest.testmod(wording)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("name a folder with `out`", "name a folder with --out"),
        ("(`overwrite=True` repeats it)", "(--overwrite repeats it)"),
        ("learn from more (`shots='all'`)", "learn from more (--shots all)"),
        ("`device='tpu'`: choose auto", "--device tpu: choose auto"),
        ("ask less with `parallel=1`", "ask less with --parallel 1"),
        ("use `image_size=96` or 108", "use --image-size 96 or 108"),
        ("`start='runs/x'` holds", "--start runs/x holds"),
        ("`start='my runs/x'` holds", "--start 'my runs/x' holds"),
        ("`out=FOLDER`", "--out FOLDER"),
        ("bind it to the classes of the data (`rebind`)", "bind it to the classes of the data (--rebind)"),
        ("`settings={'lr': 3e-05}`", "--set lr=3e-05"),
        ("`settings={'select': 'best-val', 'clip': None}`", "--set select=best-val --set clip=None"),
        ("`settings='epochs'`: write it as name=value", "--set epochs: write it as name=value"),
        ("give a column `domain`, or folders", "give a column `domain`, or folders"),
        ("list such files with `acclimate data check DATA`", "list such files with `acclimate data check DATA`"),
        ("`data` is an argument, `nonsense` is nothing", "`data` is an argument, `nonsense` is nothing"),
        ("no option at all", "no option at all"),
    ],
)
def test_options_get_dashes(message, shown):
    assert in_dashes(message) == shown


def texts(path):
    """Constant texts of a module that are no docstrings: these are messages, names and the like."""
    tree = ast.parse(path.read_text())
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node


def test_no_message_of_the_library_writes_dashes():
    """Whole commands in backticks, such as `acclimate data check DATA`, are free to have them."""
    others = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "cli"]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in others
        for node in texts(path)
        if DASHED.search(COMMAND.sub("", node.value))
    ]
    assert not found, "\n".join(found)
