"""Sentences follow the number of things."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import acclimate
from acclimate.counting import counted

# a number, a word for several things, and the verb of the sentence
SEVERAL = re.compile(r"(?<!of )(?:%d|\{\}) (?:(?:\w+ )?\w+s (?:are|were|have|lie|belong|stay)\b|[\w ]*\w\(s\))")


@pytest.mark.parametrize(("number", "words"), [(0, "0 images are"), (1, "1 image is"), (2, "2 images are")])
def test_a_number_and_what_follows(number, words):
    assert counted(number, "image is", "images are") == words
    assert counted(number, "row") == f"{number} row{'' if number == 1 else 's'}"


def test_messages_leave_numbers_to_it():
    """Such as "%d files are not read", which would say "1 files are"."""
    root = Path(acclimate.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            assert not SEVERAL.search(text), f"{path.relative_to(root)}: {text}"
