from __future__ import annotations

import pytest

from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError
from acclimate.prompts import PromptSet, get_domain
from acclimate.protocols import BaseToNovel, BaseToNovelValidation
from acclimate.protocols.classes import halves
from acclimate.runs import RunOptions, adapt_trial
from tests.helpers.pictures import make_split_pictures
from tests.helpers.tables import Row, grid, images, leaks, metrics, table

DRAWN = {"train": 6, "val": 5, "test": 3}


def draw(data, shots=2, seed=1):
    assert BaseToNovel().trials({"made": data}) == ("made",)
    return BaseToNovel().draw("made", {"made": data}, shots, seed)


def test_measured_on_the_validation_split(tmp_path):
    """The same shots of the same classes; what is measured is no test image, and nothing validates within a run."""
    data = table(tmp_path, grid("abcde", DRAWN))
    plain, own = draw(data), BaseToNovelValidation().draw("made", {"made": data}, 2, 1)
    assert images(own.train) == images(plain.train)
    assert not len(own.val)
    assert own.tests.keys() == plain.tests.keys()
    for name, test in own.tests.items():
        assert test.class_names == plain.tests[name].class_names
        assert set(test.splits) == {"val"}
        assert set(test.counts().values()) == {5}
    with pytest.raises(ConfigError, match="has no rule training-domain-validation"):
        BaseToNovelValidation(selection="training-domain-validation")
    unseen = table(tmp_path / "other", [*grid("ab", DRAWN), *grid("cd", {"train": 3, "test": 3})])
    with pytest.raises(DataError, match="no validation image of any novel class"):
        BaseToNovelValidation().trials({"made": unseen})


@pytest.mark.parametrize(("classes", "base"), [("abcd", "ab"), ("dcba", "ab"), ("abcde", "abc"), ("bdface", "abc")])
def test_the_first_half_of_the_sorted_classes_is_base(tmp_path, classes, base):
    data = table(tmp_path, grid(classes, DRAWN))
    trial = draw(data)
    novel = tuple(sorted(set(classes) - set(base)))
    assert halves(data) == (tuple(base), novel)
    assert trial.train.class_names == trial.val.class_names == tuple(base)
    assert set(trial.train.counts().values()) == set(trial.val.counts().values()) == {2}
    assert {name: test.class_names for name, test in trial.tests.items()} == {
        "base": tuple(base),
        "novel": novel,
        "all classes": tuple(sorted(classes)),
    }
    for test in trial.tests.values():
        assert set(test.counts().values()) == {3}
    assert images(trial.tests["base"]) | images(trial.tests["novel"]) == images(trial.tests["all classes"])
    assert not leaks(trial)


def test_labels_stay_with_their_classes(tmp_path):
    data = table(tmp_path, grid("abcde", DRAWN))
    names = dict(zip(data.keys, data.label_names, strict=True))
    for part in draw(data).splits.values():
        assert part.label_names == [names[key] for key in part.keys]


def test_a_group_that_reaches_from_base_training_into_a_novel_test(tmp_path):
    rows = [*grid("abcd", DRAWN), Row("a", "train", group="g"), Row("d", "test", group="g")]
    trial = draw(table(tmp_path, rows), "all")
    assert trial.train.counts() == {"a": 6, "b": 6}
    assert not leaks(trial)


@pytest.mark.parametrize(("classes", "novel"), [("ab", 1), ("abc", 1)])
def test_a_novel_side_of_one_class_is_refused(tmp_path, classes, novel):
    with pytest.raises(DataError, match=f"{len(classes)} classes leave {novel} on the novel side") as error:
        draw(table(tmp_path, grid(classes, DRAWN)))
    assert "base-to-novel needs 4 classes or more" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_side_without_test_images_is_refused(tmp_path):
    rows = grid("ab", {"train": 3, "test": 2}) + grid("cd", {"train": 3})
    with pytest.raises(DataError, match="made: no test image of any novel class; correct the split"):
        draw(table(tmp_path, rows))


def test_the_harmonic_mean_by_hand():
    tests = {"base": metrics(0.8), "novel": metrics(0.6), "all classes": metrics(0.5)}
    found = BaseToNovel().figures(tests)
    assert list(found) == ["base", "novel", "harmonic mean", "all classes"]
    assert found["harmonic mean"] == {
        "accuracy": pytest.approx(0.96 / 1.4),
        "balanced_accuracy": pytest.approx(2 * 0.4 * 0.3 / 0.7),
        "macro_f1": 0.25,
    }
    assert found["all classes"]["accuracy"] == 0.5


def test_the_harmonic_mean_of_recalls():
    tests = {name: {"image_to_text": {"recall@5": {"value": value}}} for name, value in (("base", 0.8), ("novel", 0.6))}
    found = BaseToNovel().figures({**tests, "all classes": None})
    assert found["harmonic mean"] == {"image_to_text.recall@5": pytest.approx(0.96 / 1.4)}


def test_the_harmonic_mean_of_nothing():
    none = BaseToNovel().figures({"base": metrics(0.8), "novel": None, "all classes": None})
    assert set(none["harmonic mean"].values()) == set(none["novel"].values()) == {None}
    assert none["base"]["accuracy"] == 0.8
    zero = BaseToNovel().figures({"base": metrics(0.0), "novel": metrics(0.0), "all classes": metrics(0.0)})
    assert zero["harmonic mean"]["accuracy"] == 0.0


def test_a_method_that_serves_no_new_classes_has_no_figures_there(tmp_path, tiny):
    names = ("cat", "dog", "river", "road")
    data = load_data(make_split_pictures(tmp_path / "four", names, {"train": 2, "test": 2}))
    prompts, found = PromptSet(get_domain("natural")), {}
    for method in ("zero-shot", "linear-probe"):
        trial = BaseToNovel().draw("four", {"four": data}, 1, 1)
        record = adapt_trial(trial, method, tiny, RunOptions(device="cpu"), prompts=prompts, shots=1, seed=1).record
        found[method] = BaseToNovel().figures(record["tests"])
    for column in ("base", "novel", "harmonic mean", "all classes"):
        assert found["zero-shot"][column]["accuracy"] is not None
        assert (found["linear-probe"][column]["accuracy"] is not None) == (column == "base")
    base, novel = (found["zero-shot"][side]["accuracy"] for side in ("base", "novel"))
    assert found["zero-shot"]["all classes"]["accuracy"] <= (base + novel) / 2 + 1e-9  # more classes to confuse
