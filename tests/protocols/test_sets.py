from __future__ import annotations

import pytest

from acclimate.errors import ConfigError, DataError
from acclimate.protocols import CrossDataset
from tests.helpers.tables import Row, grid, images, leaks, table

PARTS = {"train": 8, "val": 6, "test": 4}


@pytest.fixture
def sets(tmp_path):
    """Three sets, two of which have a class in common; every number is a group in each of them."""
    rows = {"one": "abc", "two": "cd", "three": "xyz"}
    return {
        name: table(
            tmp_path / name,
            [row._replace(group=str(n)) for n, row in enumerate(grid(classes, PARTS))],
            name="folder",  # what a data set is called in a comparison need not be the name of its folder
        )
        for name, classes in rows.items()
    }


def test_each_set_in_turn(sets):
    protocol = CrossDataset()
    assert protocol.trials(sets) == ("one", "two", "three")
    for name in sets:
        trial = protocol.draw(name, sets, 2, 1)
        assert trial.train.class_names == trial.val.class_names == sets[name].class_names
        assert set(trial.train.counts().values()) == set(trial.val.counts().values()) == {2}
        assert list(trial.tests) == [name, *(other for other in sets if other != name)]
        for test, data in trial.tests.items():
            assert data.class_names == sets[test].class_names
            assert images(data) == images(sets[test].test)
        assert not leaks(trial)


def test_several_sources_become_one_set(sets):
    protocol = CrossDataset(sources="one + two")
    assert protocol.trials(sets) == ("one+two",)
    trial = protocol.draw("one+two", sets, 3, 1)
    assert trial.train.name == "one+two"
    assert trial.train.class_names == tuple("abcd")
    assert trial.train.counts() == dict.fromkeys("abcd", 3)  # c is one class of both
    assert {key.partition("/")[0] for key in trial.train.keys} == {"one", "two"}
    assert list(trial.tests) == ["one+two", "three"]
    assert len(trial.tests["one+two"]) == 5 * 4
    assert trial.tests["three"].class_names == tuple("xyz")
    assert not leaks(trial)


def test_all_images_of_the_targets(sets):
    trial = CrossDataset(sources="one", test_images="all").draw("one", sets, 2, 1)
    assert {name: len(test) for name, test in trial.tests.items()} == {"one": 12, "two": 36, "three": 54}
    assert not leaks(trial)


def test_a_target_that_holds_training_images_under_other_names(tmp_path, caplog):
    rows = grid("ab", PARTS)
    twins = [Row("a", split, content=f"twin {n}") for n in range(6) for split in ("train", "val")]
    there = [Row("x", split, content=f"twin {n}") for n in range(6) for split in ("train", "test")]
    sets = {
        "here": table(tmp_path / "here", rows + twins),
        "there": table(tmp_path / "there", grid("xy", PARTS) + there),
    }
    with caplog.at_level("WARNING", "acclimate.protocols"):
        trial = CrossDataset(sources="here").draw("here", sets, "all", 1)
    assert not leaks(trial)
    assert trial.train.counts() == {"a": 8, "b": 8}
    assert len(trial.tests["there"]) == 8 + 6
    assert "here: 6 images are not learned from, as copies are tested" in caplog.text


def test_groups_of_different_sets_have_nothing_to_do_with_each_other(sets):
    trial = CrossDataset().draw("one", sets, "all", 1)
    assert len(trial.train) == 3 * 8


def test_a_published_split_of_the_source(tmp_path):
    sets = {
        "domainnet": table(tmp_path / "1", grid("ab", {"": 100}, ("clipart", "real")), origin="made"),
        "pacs": table(tmp_path / "2", grid("cd", PARTS, ("art", "photo"))),
    }
    protocol = CrossDataset(sources="domainnet", test_images="all", splits="spg-domainnet")
    assert protocol.trials(sets) == ("domainnet",)
    trial = protocol.draw("domainnet", sets, "all", 1)
    assert {name: len(part) for name, part in trial.splits.items()} == {"train": 8, "val": 4, "pacs": 72}
    with pytest.raises(ConfigError, match="unknown split rule 'domainnet'"):
        CrossDataset(splits="domainnet")


def test_sources_and_targets_that_cannot_be(sets, tmp_path):
    for sources, message in (
        ("oen", r"no data set is named 'oen'; did you mean 'one'\? \(data sets: one, two, three\)"),
        ("one+one", "names a data set twice"),
        ("one+two+three", "leaves no set to test on; name fewer sources"),
    ):
        with pytest.raises(ConfigError, match=message):
            CrossDataset(sources=sources).trials(sets)
        with pytest.raises(ConfigError, match=message):
            CrossDataset().draw(sources, sets, 1, 1)
    with pytest.raises(ConfigError, match="needs two data sets or more"):
        CrossDataset().trials({"one": sets["one"]})
    with pytest.raises(ConfigError, match=r"rename the data set 'a\+b', since \+ joins the names of sources"):
        CrossDataset().trials({**sets, "a+b": sets["one"]})
    with pytest.raises(DataError, match="a data set is named 'val'"):
        CrossDataset().trials({**sets, "val": sets["one"]})
    untested = {**sets, "four": table(tmp_path / "four", grid("ab", {"train": 3}))}
    with pytest.raises(DataError, match="four: no image to test on; give it a test split, or use test_images=all"):
        CrossDataset(sources="one").trials(untested)
    trial = CrossDataset(sources="four").draw("four", untested, 1, 1)
    assert list(trial.tests) == ["one", "two", "three"]  # a source need not have test images
    with pytest.raises(ConfigError, match="test_images='none' is not one of test, all"):
        CrossDataset(test_images="none")
