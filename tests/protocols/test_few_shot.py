from __future__ import annotations

from itertools import pairwise

import pytest

from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError
from acclimate.protocols import FewShot, FewShotValidation
from tests.helpers.pictures import make_pictures, make_split_pictures
from tests.helpers.tables import grid, images, leaks, table


def draw(data, shots, seed=1):
    return FewShot().draw("made", {"made": data}, shots, seed)


@pytest.mark.parametrize(("shots", "val"), [(1, 1), (2, 2), (4, 4), (8, 4), (16, 4), ("all", 9)])
def test_shots_and_validation_images_of_every_class(tmp_path, shots, val):
    trial = draw(table(tmp_path, grid("abc", {"train": 20, "val": 9, "test": 5})), shots)
    assert set(trial.train.counts().values()) == {20 if shots == "all" else shots}
    assert set(trial.val.counts().values()) == {val}
    assert list(trial.tests) == ["test"]
    assert len(trial.tests["test"]) == 15
    assert not leaks(trial)


@pytest.mark.parametrize(("budget", "val"), [(1, 1), (5, 5), (12, 12), (40, 12)])
def test_a_budget_allows_as_many_validation_images_up_to_four_a_class(tmp_path, budget, val):
    trial = draw(table(tmp_path, grid("abc", {"train": 20, "val": 9, "test": 5})), f"budget:{budget}")
    assert (len(trial.train), len(trial.val)) == (budget, val)


def test_a_budget_may_miss_classes_and_says_which(tmp_path, caplog):
    data = table(tmp_path, grid("a", {"train": 60, "val": 20, "test": 5}) + grid("bc", {"train": 1, "test": 5}))
    with caplog.at_level("INFO", "acclimate.data"):
        trial = draw(data, "budget:6")
    missing = [name for name, count in trial.train.counts().items() if not count]
    assert missing
    assert f"made: a budget of 6 holds no image of {len(missing)} classes: {', '.join(missing)}" in caplog.text
    assert trial.train.class_names == ("a", "b", "c")  # the classes stay to be told apart


def test_shots_are_nested_and_seeds_differ(tmp_path):
    data = table(tmp_path, grid("abc", {"train": 30, "val": 9, "test": 5}))
    for sizes in ([1, 2, 4, 8, 16, "all"], [f"budget:{size}" for size in (1, 4, 9, 30, 90)]):
        drawn = [images(draw(data, size).train) for size in sizes]
        assert all(small < large for small, large in pairwise(drawn))
    assert len({tuple(draw(data, 4, seed).train.keys) for seed in range(6)}) == 6
    assert draw(data, 4, 3).train.keys == draw(data, 4, 3).train.keys


def test_folders_with_and_without_a_split(tmp_path):
    for data in (
        load_data(make_split_pictures(tmp_path / "given", size=(8, 8))),
        load_data(make_pictures(tmp_path / "plain", size=(8, 8), per_class=(10, 12, 14))),
    ):
        assert FewShot().trials({data.name: data}) == (data.name,)
        trial = draw(data, 2)
        assert set(trial.train.counts().values()) == {2}
        assert images(trial.tests["test"]) == images(data.test)
        assert not leaks(trial)


def test_what_cannot_be_drawn(tmp_path):
    data = table(tmp_path, grid("ab", {"train": 4}))
    with pytest.raises(DataError, match="made: no test image, so nothing can be measured; correct the split"):
        FewShot().trials({"made": data})
    assert len(draw(data, 1).train) == 2  # an adapter for use can be made without a test
    with pytest.raises(ConfigError, match="`shots=0`"):
        draw(data, 0)


def test_settings_are_chosen_on_validation_images_that_nothing_else_uses(tmp_path):
    sets = {"made": table(tmp_path, grid("abc", {"train": 20, "val": 9, "test": 5}))}
    protocol = FewShotValidation()
    trial = protocol.draw("made", sets, 16, seed=1)
    assert set(trial.tests["test"].keys) == set(sets["made"].val.keys)
    assert trial.train.keys == FewShot().draw("made", sets, 16, seed=1).train.keys
    assert len(trial.val) == 0
    assert trial.val.class_names == trial.train.class_names
    assert not leaks(trial)


def test_choosing_settings_needs_validation_images(tmp_path):
    sets = {"made": table(tmp_path, grid("ab", {"train": 4, "test": 2}))}
    with pytest.raises(DataError, match="made: no validation image"):
        FewShotValidation().trials(sets)
    with pytest.raises(ConfigError, match="few-shot-validation has no rule training-domain-validation"):
        FewShotValidation(selection="training-domain-validation")
