from __future__ import annotations

import os
import shutil

import pyarrow as pa
import pytest

from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.runs import choose_evaluation_images, load
from tests.helpers.pictures import make_pictures, make_split_pictures
from tests.helpers.runs import quick


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny):
    """A run on data whose split was made: its folder, the data, and the keys that it has seen."""
    place = tmp_path_factory.mktemp("made")
    data = load_data(make_pictures(place / "data", per_class=9))
    model = quick(data, tiny, out=place / "run")
    seen = {key for name in ("train", "val") for key in model.splits[name].keys}
    return place, data, seen


def keys(data):
    return set(data.keys)


def test_the_run_on_its_own_data(made):
    place, data, seen = made
    chosen = choose_evaluation_images(place / "run", data)
    assert keys(chosen) == keys(data.test)
    assert not keys(chosen) & seen


def test_the_same_data_split_otherwise(made):
    place, data, _ = made
    other = load_data(place / "data", split_seed=5)
    assert keys(other.test) != keys(data.test)
    assert keys(choose_evaluation_images(place / "run", other)) == keys(data.test)


def test_pictures_taken_away_since(made, tmp_path):
    place, _, seen = made
    shutil.copytree(place / "data", tmp_path / "data")
    os.unlink(tmp_path / "data" / sorted(seen)[0])
    chosen = choose_evaluation_images(place / "run", load_data(tmp_path / "data"))
    assert len(chosen)
    assert not keys(chosen) & seen


def test_a_class_that_came_later_is_named(made, tmp_path, caplog):
    place, data, _ = made
    shutil.copytree(place / "data", tmp_path / "data")
    choose_evaluation_images(place / "run", load_data(tmp_path / "data"))
    assert "not measured" not in caplog.text
    shutil.copytree(tmp_path / "data" / data.class_names[0], tmp_path / "data" / "tiger")
    for file in (tmp_path / "data" / "tiger").iterdir():
        file.write_text(f"pointer of {file.name}")
    chosen = choose_evaluation_images(place / "run", load_data(tmp_path / "data"))
    assert keys(chosen) == keys(data.test)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "9 images are not measured" in text and "tiger" in text]) == 1


def test_pictures_labelled_otherwise_since(made, tmp_path):
    place, data, seen = made
    shutil.copytree(place / "data", tmp_path / "data")
    rows = ["path,label"] + [f"{key},{'dog' if key == min(seen) else key.split('/')[0]}" for key in data.keys]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(rows))
    chosen = choose_evaluation_images(place / "run", load_data(tmp_path / "data"))
    assert len(chosen)
    assert not keys(chosen) & seen


def test_other_data_without_a_split_is_measured_whole(made, tmp_path):
    data = load_data(
        make_split_pictures(tmp_path / "other", splits={"north": 3, "south": 2}, noise=60), layout="domain/class"
    )
    assert keys(choose_evaluation_images(made[0] / "run", data)) == keys(data)


def test_other_data_with_a_split_gives_its_test_images(made, pictures):
    assert keys(choose_evaluation_images(made[0] / "run", pictures)) == keys(pictures.test)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_by_name(made, pictures, split):
    assert keys(choose_evaluation_images(made[0] / "run", pictures, split)) == keys(pictures.split(split))


def test_all(made):
    place, data, _ = made
    assert choose_evaluation_images(place / "run", data, "all") is data


def test_what_cannot_be_chosen(made, tmp_path):
    place, data, _ = made
    with pytest.raises(ConfigError, match="`split='tset'`: choose auto, all, train, val, test"):
        choose_evaluation_images(place / "run", data, "tset")
    untested = load_data(make_split_pictures(tmp_path / "data", splits={"train": 2, "val": 2}))
    with pytest.raises(DataError, match="the split 'test' has no image; use `split='all'`"):
        choose_evaluation_images(place / "run", untested, "test")


def test_a_copy_under_other_names(made, tmp_path):
    """Contents decide: a renamed copy is still the data of the run."""
    place, data, seen = made
    for key in data.keys:
        label, name = key.split("/")
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(place / "data" / key, tmp_path / "data" / label / f"copy-{name}")
    chosen = choose_evaluation_images(place / "run", load_data(tmp_path / "data"))
    assert len(chosen)
    assert not {key.replace("copy-", "") for key in chosen.keys} & seen


def test_python_measures_what_the_command_line_measures(made, pictures, tiny, tmp_path):
    """Whatever form the data have, and wherever the run lies."""
    place, data, _ = made
    frame = pa.table({"path": [str(path) for path in data.paths], "label": data.label_names})
    for model in (load(place / "run", tiny), load(load(place / "run", tiny).save(tmp_path / "moved"), tiny)):
        own = model.evaluate(data.test)
        assert own == model.record["metrics"]
        for source in (place / "data", str(place / "data"), data, load_data(place / "data", split_seed=5), frame):
            assert model.evaluate(source) == own
        assert model.evaluate(place / "data", split="all")["samples"] == len(data)
        assert model.evaluate(data, split="train")["samples"] == len(data.train)
        assert model.evaluate(pictures)["samples"] == len(pictures.test)
    model = load(tmp_path / "moved", tiny)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(RunError, match=r"splits\.json"):
        model.evaluate(data)


def test_images_that_someone_has_chosen_are_measured_as_they_are(made, tiny, caplog):
    place, data, seen = made
    model = load(place / "run", tiny)
    for part in (data.train, data.val, data.select(range(0, len(data), 2)), data.test):
        caplog.clear()
        assert model.evaluate(part)["samples"] == len(part)
        known = len(keys(part) & seen)
        assert (f"the run has seen {known} of the {len(part)} images" in caplog.text) == bool(known)
    some = data.filter_classes(["cat", "dog"])  # nobody has chosen these one by one: what it has seen is left out
    assert model.evaluate(some)["samples"] == len(keys(some) - seen)


def test_nothing_that_is_new(made, tmp_path):
    place, data, seen = made
    table = tmp_path / "seen.csv"
    rows = [
        f"{path},{label}"
        for key, path, label in zip(data.keys, data.paths, data.label_names, strict=True)
        if key in seen
    ]
    table.write_text("\n".join(["path,label", *rows[:-1]]))
    with pytest.raises(DataError, match="every image is one that the run has seen; use `split='all'`"):
        choose_evaluation_images(place / "run", load_data(table))
