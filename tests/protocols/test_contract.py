from __future__ import annotations

from dataclasses import dataclass

import pytest

from acclimate.errors import ConfigError, DataError
from acclimate.metrics import evaluate_retrieval
from acclimate.metrics.measures import DIRECTIONS
from acclimate.options import describe_options, make_config
from acclimate.protocols import (
    SELECTION_RULES,
    BaseToNovel,
    FewShot,
    LeaveOneDomainOut,
    Protocol,
    get_protocol,
    get_selection_rule,
    list_protocols,
)
from acclimate.protocols.contract import protocol
from tests.helpers.tables import Row, grid, leaks, metrics, table

DRAWN = {"train": 6, "val": 3, "test": 4}


@pytest.mark.parametrize("kind", list_protocols(), ids=lambda kind: kind.name)
def test_every_protocol_says_what_it_is(kind):
    assert get_protocol(kind.name) is kind
    assert "Source: " in kind.__doc__
    assert kind.title
    assert kind().selection == kind.rules[0]
    assert set(kind.rules) <= set(SELECTION_RULES)
    for row in describe_options(kind):
        assert row["help"], row
    assert make_config(kind, {"selection": "last-step"}).selection == "last-step"


def test_the_protocols_of_the_package():
    names = [
        "base-to-novel",
        "base-to-novel-validation",
        "cross-dataset",
        "few-shot",
        "few-shot-validation",
        "leave-one-domain-out",
        "single-source",
    ]
    assert [kind.name for kind in list_protocols()] == names


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown protocol 'few-shots'; did you mean 'few-shot'\?"):
        get_protocol("few-shots")
    with pytest.raises(ConfigError, match=r"unknown selection rule 'last'; did you mean 'last-step'\?"):
        FewShot(selection="last")
    with pytest.raises(ConfigError, match=r"unknown setting 'selektion'; did you mean 'selection'\?"):
        make_config(FewShot, {"selektion": "oracle"})


def test_only_domain_generalisation_knows_an_oracle():
    assert LeaveOneDomainOut(selection="oracle").rule.target
    for kind in (FewShot, BaseToNovel):
        with pytest.raises(ConfigError, match=f"{kind.name} has no rule oracle; choose last-step, training-domain"):
            kind(selection="oracle")


def test_rules_say_what_they_look_at():
    assert {name: (rule.epoch, rule.target) for name, rule in SELECTION_RULES.items()} == {
        "last-step": ("last", False),
        "training-domain-validation": ("best-val", False),
        "oracle": ("best-val", True),
    }
    assert get_selection_rule("oracle").name == "oracle"


def test_two_protocols_of_one_name():
    with pytest.raises(ValueError, match="two protocols are named 'few-shot'"):

        @protocol
        @dataclass(frozen=True, kw_only=True)
        class Other(FewShot):
            pass

    assert protocol(FewShot) is FewShot


@pytest.mark.parametrize("sets", [(), ("a", "b")])
def test_protocols_on_one_set_take_one(sets, tmp_path):
    data = table(tmp_path, grid("abcd", DRAWN))
    with pytest.raises(ConfigError, match="few-shot takes one data set at a time, not "):
        FewShot().trials(dict.fromkeys(sets, data))


def test_values_without_intervals():
    assert FewShot().figures({"test": metrics(0.5)})["test"] == {
        "accuracy": 0.5,
        "balanced_accuracy": 0.25,
        "macro_f1": 0.25,
        "ece": 0.1,
        "nll": 1.5,
    }
    assert set(FewShot().figures({"test": None})["test"].values()) == {None}
    assert FewShot().figures({"test": None})["test"]["nll"] is None


def test_figures_of_captions():
    """Whatever a record has measured; a test that cannot be served lacks just that."""
    found = evaluate_retrieval([[0.9, 0.1, 0.3], [0.2, 0.4, 0.8]], [0, 0, 1])
    figures = FewShot().figures({"test": found, "other": None})
    assert list(figures["test"]) == [f"{way}.recall@{k}" for way in DIRECTIONS for k in (1, 5, 10)]
    assert figures["test"]["image_to_text.recall@1"] == 1.0
    assert figures["test"]["text_to_image.recall@1"] == pytest.approx(2 / 3)
    assert figures["other"] == dict.fromkeys(figures["test"])


def test_metrics_without_figures_are_refused():
    with pytest.raises(ValueError, match="no known figure among samples, cider"):
        FewShot().figures({"test": {"samples": 3, "cider": {"value": 1.0}}})


# ---------------------------------------------------------------- drawing


def few_shot(data, shots=2, **options):
    protocol = FewShot(**options)
    assert protocol.trials({"made": data}) == ("made",)
    return protocol.draw("made", {"made": data}, shots, 1)


def test_copies_of_tested_images_are_passed_over(tmp_path, caplog):
    """However many, and whatever is drawn instead is the same as if they had never been there."""
    rows = grid("ab", DRAWN) + [Row("a", "test", content=f"twin {number}") for number in range(5)]
    twins = [Row("a", split, content=f"twin {number}") for number in range(5) for split in ("train", "val")]
    clean, spoilt = table(tmp_path / "clean", rows), table(tmp_path / "spoilt", rows + twins)
    for shots in (1, 4, "all", "budget:7"):
        with caplog.at_level("WARNING", "acclimate.protocols"):
            first, second = few_shot(clean, shots), few_shot(spoilt, shots)
        assert not leaks(second)
        assert first.train.keys == second.train.keys
        assert first.val.keys == second.val.keys
        assert first.tests["test"].keys == second.tests["test"].keys
    assert "as copies are tested: 00" in caplog.text


def test_images_of_a_tested_group_are_passed_over(tmp_path, caplog):
    rows = grid("ab", DRAWN) + [Row("a", split, group="g") for split in ("train", "val", "test") for _ in range(3)]
    data = table(tmp_path, rows)
    with caplog.at_level("INFO", "acclimate.protocols"):
        trial = few_shot(data, "all")
    assert not leaks(trial)
    assert trial.train.counts() == {"a": 6, "b": 6}
    assert trial.val.counts() == {"a": 3, "b": 3}
    assert len(trial.tests["test"]) == len(data.test)
    assert "made: 3 images are not learned from, being of a group that is tested" in caplog.text


def test_a_class_of_which_nothing_may_be_learned(tmp_path):
    rows = grid("ab", DRAWN)
    with pytest.raises(DataError, match="class 'c' has no training image; add some or drop the class"):
        few_shot(table(tmp_path / "1", [*rows, Row("c", "test")]))
    with pytest.raises(DataError, match="class 'c' has no training image, since all that it has are tested too"):
        few_shot(table(tmp_path / "2", [*rows, Row("c", "test", group="g"), Row("c", "train", group="g")]))
    with pytest.raises(DataError, match="class 'c' has no training image, since all that it has are tested too"):
        few_shot(table(tmp_path / "3", [*rows, Row("c", "test", content="c"), Row("c", "train", content="c")]))
    with pytest.raises(DataError, match="class 'a' has no training image"):
        few_shot(table(tmp_path / "4", grid("ab", {"test": 3})), "budget:4")


def test_selection_by_validation_needs_validation_images(tmp_path):
    data = table(tmp_path, grid("ab", {"train": 6, "test": 4}))
    assert len(few_shot(data).val) == 0
    with pytest.raises(DataError, match="selection=training-domain-validation needs validation images and there are"):
        few_shot(data, selection="training-domain-validation")


def test_a_protocol_of_ones_own_draws_by_the_same_rules(tmp_path):
    """Two lines of splits are all that a protocol has to say; groups, copies and shots are cared for."""

    @dataclass(frozen=True, kw_only=True)
    class Swapped(Protocol):
        name, title = "swapped", "Train on test images"

        def trials(self, sets):
            return tuple(sets)

        def draw(self, trial, sets, shots, seed):
            data = sets[trial]
            return self.make_trial(data.test, data.val, {"train images": data.train}, shots, seed)

    data = table(tmp_path, [*grid("ab", DRAWN), Row("a", "test", group="g"), Row("b", "train", group="g")])
    trial = Swapped().draw("made", {"made": data}, "all", 1)
    assert trial.train.counts() == {"a": 4, "b": 4}
    assert list(trial.splits) == ["train", "val", "train images"]
    assert not leaks(trial)
