"""Hierarchies of classes, as files have them."""

from __future__ import annotations

import pytest

from acclimate.data.hierarchy import Hierarchy
from acclimate.errors import DataError

ROCKS = ("basalt", "chalk", "granite", "sandstone")
TABLE = """child,parent
igneous,rock
sedimentary,rock
basalt,igneous
granite,igneous
chalk,sedimentary
sandstone,sedimentary
"""
NESTED = """
rock:
  igneous: [basalt, granite]
  sedimentary:
    - chalk
    - sandstone
"""


def read(folder, text, name="tree.csv", classes=ROCKS):
    (folder / name).write_text(text)
    return Hierarchy.read(folder / name, classes)


def test_one_tree_in_two_forms(tmp_path):
    table, nested = read(tmp_path, TABLE), read(tmp_path, NESTED, "tree.yaml")
    assert dict(table.above) == dict(nested.above)
    assert table.path("granite") == ["rock", "igneous", "granite"]
    assert table.levels == {
        "rock": 1, "igneous": 2, "sedimentary": 2, "basalt": 3, "granite": 3, "chalk": 3, "sandstone": 3
    }  # fmt: skip
    assert table.members["igneous"] == (0, 2)
    assert table.members["rock"] == (0, 1, 2, 3)
    assert table.members["chalk"] == (1,)


def test_several_trees_and_a_class_at_the_top(tmp_path):
    found = read(tmp_path, "igneous: [basalt, granite]\nchalk:\nsoft: sandstone\n", "tree.yml")
    assert found.levels["chalk"] == 1
    assert found.path("sandstone") == ["soft", "sandstone"]
    listed = read(tmp_path, '{"igneous": ["basalt", "granite"], "chalk": null, "soft": ["sandstone"]}', "tree.json")
    assert dict(found.above) == dict(listed.above)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TABLE.replace("chalk,", "chulk,"), "'chulk' is no class; did you mean 'chalk'"),
        (TABLE.replace("chalk,sedimentary\n", ""), "the class 'chalk' is missing"),
        (TABLE + "chalk,igneous\n", "row 8: 'chalk' stands there twice, below 'sedimentary' and below 'igneous'"),
        (TABLE + "rock,basalt\n", r"'\w+' is above itself \(\w+ < "),
        (TABLE + "rock,rock\n", r"'rock' is above itself \(rock < rock\)"),
        (TABLE + "stone,chalk\n", "'chalk' is a class and stands above others"),
        (TABLE + "metamorphic,rock\n", "'metamorphic' is no class"),
        (TABLE + ",rock\n", "row 8: the child is empty"),
        ("name,above\na,b\n", "write 'child,parent' in its first line"),
    ],
)
def test_bad_tables(tmp_path, text, told):
    with pytest.raises(DataError, match=told) as found:
        read(tmp_path, text)
    assert "tree.csv" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rock: [basalt, chalk, granite, sandstone, chalk]", "'chalk' stands there twice"),
        ("rock: [basalt, '', chalk]", "below 'rock' holds no names"),
        ("", "holds no names"),
        ("rock: [basalt", "tree.yaml"),
    ],
)
def test_bad_nests(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        read(tmp_path, text, "tree.yaml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="give a hierarchy in CSV, YAML or JSON"):
        Hierarchy.read(tmp_path / "none.csv", ROCKS)
