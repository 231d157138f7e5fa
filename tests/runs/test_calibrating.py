"""How sure predictions are: what a run keeps of it, what sets and p-values say, and where they cannot be."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

import acclimate
from acclimate.data import load_data
from acclimate.data.folds import deal_folds
from acclimate.errors import ConfigError, RunError
from acclimate.methods import register, registry
from acclimate.methods.linear_probe import LinearProbe
from acclimate.metrics import sets_within, tempered
from acclimate.tasks.classified import probabilities
from tests.helpers.command import acclimate as command
from tests.helpers.pictures import make_pictures, make_split_pictures, with_domains
from tests.helpers.runs import QUICK, quick

SOLVED = {"settings": {}, "shots": "all"}


class HandsOver(LinearProbe):
    """A probe that says itself what it makes of images that it has not learned from."""

    name = "test-hands-over"

    def _solve(self, train, val):
        self.held_out = torch.nn.functional.one_hot(train.labels.flip(0), len(self.class_names)) * 0.5 + 0.5 / 3
        return super()._solve(train, val)


@pytest.fixture(scope="module", autouse=True)
def registered():
    register(HandsOver)
    yield
    del registry._METHODS["test-hands-over"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Pictures that are hard to tell apart, enough of them for sets."""
    splits = {"train": 12, "val": 3, "test": 8}
    return load_data(make_split_pictures(tmp_path_factory.mktemp("many") / "many", splits=splits, noise=400.0))


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    """Pictures without much noise."""
    splits = {"train": 12, "val": 2, "test": 8}
    return load_data(make_split_pictures(tmp_path_factory.mktemp("clear") / "clear", splits=splits, noise=8.0))


@pytest.fixture(scope="module")
def probe(many, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("probe") / "run"
    return quick(many, tiny, method="linear-probe", out=out, **SOLVED), out


def with_groups(data, names):
    column = data.table.schema.get_field_index("group")
    return replace(data, table=data.table.set_column(column, "group", pa.array(names)))


# ----------------------------------------------------------------------------------------------------------- held out


def test_each_fold_is_judged_by_what_has_learned_from_the_others(many, tiny):
    held = quick(many, tiny, method="gda", **SOLVED).trust.held_out
    assert held.source == "out-of-fold"
    train = many.train
    folds = deal_folds(train.labels, [train.digest(row) for row in range(len(train))], 5)
    rest = [row for row, key in enumerate(many.keys) if key not in {train.keys[k] for k in np.flatnonzero(folds == 2)}]
    part = quick(many.select(rest), tiny, method="gda", **SOLVED)
    rows = np.flatnonzero(folds == 2)
    feed, _, _ = part.feed_for(part.method, train.select(rows))
    np.testing.assert_allclose(held.probabilities[rows], probabilities(part.method, feed), atol=1e-6)
    assert held.labels.tolist() == train.labels.tolist()


def test_groups_and_copies_are_held_out_together(tmp_path, tiny):
    folder = make_split_pictures(tmp_path / "data", splits={"train": 6, "val": 2, "test": 2})
    for number in range(3):  # exact copies of the first
        shutil.copy(folder / "train/cat/000.png", folder / f"train/cat/copy{number}.png")
    data = load_data(folder)
    groups = [f"dog {key[-5] > '2'}" if "train/dog" in key else "" for key in data.keys]
    trust = quick(with_groups(data, groups), tiny, method="kernel-ridge", **SOLVED).trust
    cats, dogs = (trust.held_out.groups[trust.held_out.labels == label] for label in (0, 1))
    assert (len(cats), len(set(cats))) == (9, 6)
    assert (len(dogs), len(set(dogs))) == (6, 2)
    assert trust.held_out.units == 6 + 2 + 6
    assert len(trust.known.features) == 18  # each picture once
    assert trust.known.units == 14


@pytest.mark.parametrize(
    ("method", "settings", "source", "chosen"),
    [
        ("zero-shot", {}, "nothing learned", None),
        ("kernel-ridge", {}, "out-of-fold", None),
        ("coop", QUICK, "validation", "nothing"),
        ("coop", {**QUICK, "select": "best-val"}, "validation", "epochs"),
        ("tip-adapter-f", {"epochs": 1, "augment": "none"}, "validation", "settings"),
    ],
)
def test_who_is_held_out(pictures, tiny, method, settings, source, chosen):
    model = quick(pictures, tiny, method=method, settings=settings)
    told = model.record["calibration"]
    count = {"validation": 9}.get(source, 12)
    assert told["held_out"] == {"source": source, "images": count, "groups": count}
    assert told.get("chosen_by_them") == chosen
    assert told["nll"]["after"] <= told["nll"]["before"] + 1e-6
    assert told["temperature"] == model.trust.held_out.temperature


def test_what_a_method_hands_over_is_taken(pictures, tiny):
    held = quick(pictures, tiny, method="test-hands-over", **SOLVED).trust.held_out
    assert held.source == "out-of-fold"
    expected = np.full((18, 3), 0.5 / 3)
    expected[np.arange(18), pictures.train.labels[::-1]] += 0.5
    np.testing.assert_allclose(held.probabilities, expected, atol=1e-6)


def test_images_that_were_seen_before_are_not_held_out(pictures, tiny, tmp_path):
    earlier = quick(pictures, tiny, method="linear-probe", out=tmp_path / "run", **SOLVED)
    again = quick(pictures, tiny, method="linear-probe", start=tmp_path / "run", **SOLVED)
    assert earlier.record["calibration"]["held_out"]["source"] == "out-of-fold"
    assert again.record["calibration"]["held_out"] is None  # a start has seen training and validation images


def test_one_image_a_class(pictures, tiny, caplog):
    trust = quick(pictures, tiny, method="linear-probe", shots=1, settings={}).trust
    assert trust.held_out.source == "validation"  # without its only image a class would be unknown
    bare = pictures.with_splits(["test" if split == "val" else split for split in pictures.splits], "given")
    model = quick(bare, tiny, method="linear-probe", shots=1, settings={})
    assert model.trust.held_out.source == "out-of-fold"
    rows = model.predict(pictures.test.paths, coverage=0.9)
    assert {len(row.set) for row in rows} == {3}
    assert (
        "every set holds all classes: `coverage=0.9` needs 9 held-out images of different groups, 6 more" in caplog.text
    )


# ---------------------------------------------------------------------------------------------------------- predicting


def test_sets_are_those_of_the_threshold(probe, many):
    model, _ = probe
    held, plain = model.trust.held_out, model.predict(many.test.paths)
    rows = model.predict(many.test.paths, coverage=0.8)
    shares = tempered(np.stack([row.probabilities for row in plain]), held.temperature)
    for row, before, own, inside in zip(rows, plain, shares, sets_within(shares, held.thresholds(0.8)), strict=True):
        assert row.label == before.label == row.set[0]
        assert set(row.set) == {name for name, one in zip(model.class_names, inside, strict=True) if one}
        np.testing.assert_allclose(row.probabilities, own)
        assert row.probability == row.probabilities.max()
        assert before.set is None
    found = model.record["metrics"]["sets"]["0.8"]
    right = np.mean([name in row.set for row, name in zip(rows, many.test.label_names, strict=True)])
    assert found["coverage"]["value"] == right
    assert found["size"]["value"] == np.mean([len(row.set) for row in rows])
    assert model.evaluate(many.test) == model.record["metrics"]
    assert "sets at 90%: " in model.task.note(model.record["metrics"])


def test_more_coverage_larger_sets(probe, many):
    sizes = [np.mean([len(row.set) for row in probe[0].predict(many.test.paths, coverage=c)]) for c in (0.3, 0.8, 0.96)]
    assert 1 <= sizes[0] < sizes[1] < sizes[2] <= 3


def test_classes_have_thresholds_of_their_own_where_there_are_enough(probe):
    held = probe[0].trust.held_out  # 12 images a class
    assert len(set(held.thresholds(0.8))) == 3  # each needs 4
    assert len(set(held.thresholds(0.9))) == 1  # each needs 9


@pytest.mark.parametrize("method", ["coop", "kernel-ridge", "vpt"])
def test_other_pictures_are_unknown(clear, tiny, tmp_path, method):
    """Whatever it reads: features of whole images, those of tiles too, or pixels."""
    many = clear
    settings = {"kernel-ridge": {}, "vpt": {"epochs": 1, "batch_size": 12}}.get(method, QUICK)
    model = quick(many, tiny, method=method, shots="all", settings=settings, out=tmp_path / "run")
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (32, 36, 3), dtype=np.uint8) for _ in range(5)]
    strange = model.predict(noise)
    assert [row.known for row in strange].count(False) >= 4
    assert min(row.p_known for row in strange) == pytest.approx(1 / 37)
    own = model.predict(many.train.paths)
    assert {row.p_known for row in own} == {1.0}  # each is nearest to itself
    share = np.mean([row.known for row in model.predict(many.test.paths)])
    assert share == model.record["metrics"]["known"]["share"] > 0.7
    assert [row.p_known for row in model.predict(noise, known=0)] == [None] * 5
    assert [row.known for row in model.predict(noise, known=0.02)] == [True] * 5
    loaded = acclimate.load(tmp_path / "run", tiny)
    assert [row.p_known for row in loaded.predict(many.test.paths)] == [
        row.p_known for row in model.predict(many.test.paths)
    ]


def test_plain_predictions_stay_as_they_were(probe, many):
    model, _ = probe
    bare = copy.deepcopy(model)
    bare.method.trust = None
    for one, two in zip(model.predict(many.test.paths, known=0), bare.predict(many.test.paths), strict=True):
        assert (one.label, one.probability, one.set, one.known) == (two.label, two.probability, None, None)
        np.testing.assert_array_equal(one.probabilities, two.probabilities)


# --------------------------------------------------------------------------------------------------------- run folders


def test_it_is_saved_loaded_and_copied(probe, many, tiny, tmp_path):
    model, out = probe
    loaded = acclimate.load(out, tiny)
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(loaded))):
        one, two = (found.predict(many.test.paths, coverage=0.9) for found in (model, other))
        assert [(row.set, row.p_known) for row in one] == [(row.set, row.p_known) for row in two]
    again = quick(many, tiny, method="linear-probe", out=tmp_path / "again", **SOLVED)
    name = "calibration.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    again.method.trust = None
    again.save(tmp_path / "again")
    assert not (tmp_path / "again" / name).exists()


def test_a_run_of_an_earlier_release(probe, many, tiny, tmp_path):
    run = shutil.copytree(probe[1], tmp_path / "run")
    (run / "calibration.safetensors").unlink()
    model = acclimate.load(run, tiny)
    assert [row.known for row in model.predict(many.test.paths[:2])] == [None, None]
    with pytest.raises(ConfigError, match=r"`coverage=0.9`: this run keeps no calibration.*adapt again"):
        model.predict(many.test.paths, coverage=0.9)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe" * 99, "cut", "other"])
def test_a_damaged_file_is_named(probe, run, tiny, tmp_path, damage):
    place = shutil.copytree(probe[1], tmp_path / "run") / "calibration.safetensors"
    content = place.read_bytes()
    if damage == "other":  # of other classes
        content = content.replace(b"river", b"ocean")
    place.write_bytes(damage if isinstance(damage, bytes) else content[:-9] if damage == "cut" else content)
    with pytest.raises(RunError, match=r"calibration\.safetensors") as caught:
        acclimate.load(tmp_path / "run", tiny)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- refused


def test_what_has_no_sets(pictures, caption_folder, tiny, tmp_path):
    bare = pictures.with_splits(["test" if split == "val" else split for split in pictures.splits], "given")
    model = quick(bare, tiny)
    assert model.record["calibration"]["held_out"] is None
    assert "sets" not in model.record["metrics"]
    with pytest.raises(ConfigError, match="coop has held out no image"):
        model.predict(pictures.test.paths, coverage=0.9)
    other = quick(pictures, tiny).rebind(["cat", "lake"])
    with pytest.raises(ConfigError, match="sets are made for the 3 classes of the run"):
        other.predict(pictures.test.paths, coverage=0.9)
    assert other.predict(pictures.test.paths[0])[0].p_known is not None


def test_several_data_sets(pictures, tiny, tmp_path):
    scenes = load_data(make_split_pictures(tmp_path / "scenes", ("dog", "forest"), noise=40.0))
    model = quick([pictures, scenes], tiny, domain={"animals": "natural", "scenes": "satellite"})
    assert model.record["calibration"]["held_out"]["source"] == "validation"
    assert model.predict(pictures.test.paths, coverage=0.8)[0].set
    assert "sets" not in model.record["tests"]["animals"]  # measured among its own classes
    with pytest.raises(ConfigError, match="leave out `classes_of`"):
        model.of_set("animals").predict(pictures.test.paths, coverage=0.8)


def test_the_command(probe, many, tmp_path):
    run, place = probe[1], str(many.test.paths[0])
    (tmp_path / "bad.png").write_text("no image")
    done = command("predict", run, place, tmp_path / "bad.png", "--coverage", 0.8, "--out", tmp_path / "rows.csv")
    assert (done.code, "1 of 2 images could not be read" in done.err) == (2, True)
    header, row, bad = (tmp_path / "rows.csv").read_text().splitlines()
    head = "path,label,probability,set,set_size,p_known,known,p(cat),p(dog),p(river),error"
    assert header == head
    cells = dict(zip(head.split(","), row.split(","), strict=True))
    assert cells["label"] == cells["set"].split("|")[0]
    assert int(cells["set_size"]) == len(cells["set"].split("|"))
    assert cells["known"] in ("yes", "no")
    assert ",,,,,,,,,cannot read" in bad
    said = json.loads(command("predict", run, place, "--coverage", 0.8, "--json", "--quiet").out)
    assert said["set"] == cells["set"].split("|")
    assert said["known"] == (cells["known"] == "yes")
    assert "{" in command("predict", run, place, "--coverage", 0.8).out
    assert "set" not in command("predict", run, place, "--json", "--known", 0).json
    for value in (0, 1, -0.5, "nan"):
        assert command("predict", run, place, "--coverage", value).error.endswith("give a number above 0 and below 1")
    few = command("predict", run, place, "--coverage", 0.99)
    assert "every set holds all classes: --coverage 0.99 needs 99 held-out images" in few.err


def test_one_class_and_domains(tmp_path, tiny):
    """A single class has sets of one; domains change nothing."""
    folder = tmp_path / "data"
    for seed, split in enumerate(("train", "test")):
        make_pictures(folder / split, ["cat"], 6, seed=seed)
    data = with_domains(load_data(folder, allow_one_class=True), ["day", "night"])
    model = quick(data, tiny, method="gda", **SOLVED)
    assert model.predict(data.test.paths[0], coverage=0.8)[0].set == ("cat",)
    assert model.record["metrics"]["sets"]["0.8"]["coverage"]["value"] == 1.0
