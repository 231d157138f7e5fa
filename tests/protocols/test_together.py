"""Several data sets that are learned from together: the shots of each, and a test for each."""

from __future__ import annotations

import pytest

from acclimate.errors import DataError
from acclimate.protocols import FewShot, draw_together
from tests.helpers.tables import Row, grid, table

PARTS = {"train": 4, "val": 2, "test": 2}


@pytest.fixture
def sets(tmp_path):
    return [table(tmp_path / name, grid(name, PARTS), name) for name in ("bc", "ab")]


def test_each_set_gives_the_shots_that_it_gives_alone(sets):
    trial = draw_together(sets, 2, 5)
    assert trial.train.class_names == ("a", "b", "c")
    assert trial.train.counts() == {"a": 2, "b": 4, "c": 2}
    for one in sets:
        alone = FewShot().draw(one.name, {one.name: one}, 2, 5)
        for mine, own in ((trial.train, alone.train), (trial.val, alone.val)):
            assert mine.of_set(one.name).keys == [f"{one.name}/{key}" for key in own.keys]
            assert mine.of_set(one.name).label_names == own.label_names


def test_each_set_has_a_test_among_its_own_classes(sets):
    trial = draw_together(sets, 1, 1)
    assert {name: test.class_names for name, test in trial.tests.items()} == {"bc": ("b", "c"), "ab": ("a", "b")}
    assert trial.tests["ab"].keys == [f"ab/{key}" for key in sets[1].test.keys]
    assert trial.whole is not None
    assert len(trial.whole) == sum(map(len, sets))


def test_what_is_tested_in_one_set_is_learned_from_in_none(tmp_path):
    """Nor do copies of what one set learns from choose the epochs of another."""
    one = table(tmp_path / "one", [Row("a", "train"), Row("b", "train"), Row("a", "test", content="copy")], "one")
    rows = [Row("a", "train", content="copy"), Row("a", "train"), Row("b", "train", content="both")]
    other = table(tmp_path / "two", rows, "two")
    third = table(tmp_path / "three", [Row("a", "train"), Row("b", "train"), Row("b", "val", content="both")], "three")
    trial = draw_together([one, other, third], "all", 1)
    assert trial.train.of_set("two").keys == ["two/0001.png", "two/0002.png"]
    assert len(trial.val) == 0


def test_a_set_that_is_named_as_a_split(tmp_path, sets):
    with pytest.raises(DataError, match="a data set is named 'test', which is what a split is called"):
        draw_together([*sets, table(tmp_path / "x", grid("ab", PARTS), "test")], 1, 1)
