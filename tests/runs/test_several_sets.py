"""Several data sets in one run: measured one by one, saved, loaded, and refused where they do not fit together."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import acclimate
from acclimate.backbones import load_vlm
from acclimate.data import load_captions, load_data
from acclimate.errors import ConfigError, RunError
from acclimate.training.checkpoint import read_tensors
from tests.helpers.killing import kill_often
from tests.helpers.pictures import make_split_pictures
from tests.helpers.runs import QUICK, quick
from tests.helpers.tiny_vlms import tiny_llava

SETTINGS = {"rank": 2, "epochs": 2, "lr": 0.02, "batch_size": 6, "task_epochs": 1}
OTHER = ("dog", "forest")
DOMAINS = {"animals": "natural", "scenes": "satellite"}


@pytest.fixture(scope="session")
def folders(tmp_path_factory, picture_folder):
    """Two data sets with a class in common, whose images differ."""
    return [picture_folder, make_split_pictures(tmp_path_factory.mktemp("several") / "scenes", OTHER, noise=40.0)]


@pytest.fixture(scope="session")
def sets(folders):
    return [load_data(folder) for folder in folders]


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("several") / "llava")


@pytest.fixture(scope="session")
def vlm(vlm_folder):
    return load_vlm(vlm_folder)


@pytest.fixture(scope="session")
def joint(tmp_path_factory, sets, vlm, domain_folder):
    """A run of vitask on both sets, which makes its task-specific model first."""
    out = tmp_path_factory.mktemp("several") / "run"
    settings = {**SETTINGS, "task_encoder": str(domain_folder)}
    model = quick(sets, vlm, method="vitask", settings=settings, out=out, domain=DOMAINS)
    return SimpleNamespace(out=out, model=model, record=json.loads((out / "record.json").read_text()))


def probabilities(model, data):
    return np.stack([row.probabilities for row in model.predict(data)])


@pytest.mark.slow
def test_each_set_is_measured_on_its_own_test_images_among_its_own_classes(joint, sets):
    record = joint.record
    assert (record["metrics"], record["baselines"]) == (None, {})
    assert {name: found["class_names"] for name, found in record["tests"].items()} == {
        "animals": ["cat", "dog", "river"],
        "scenes": ["dog", "forest"],
    }
    for one in sets:
        of_set = record["sets"][one.name]
        assert record["tests"][one.name]["samples"] == len(one.test) == of_set["images"]["test"]
        assert of_set["domain"] == DOMAINS[one.name]
        assert set(of_set["baselines"]) == {"vlm-zero-shot", "linear-probe", "domain-linear-probe"}
        assert of_set["baselines"]["linear-probe"]["class_names"] == list(one.class_names)
        assert of_set["verdict"]["others"] == 3
    assert set(record["ablations"]["without exemplar"]["tests"]) == set(DOMAINS)


@pytest.mark.slow
def test_zero_shot_is_that_of_each_set_alone(joint, sets, vlm):
    for one in sets:
        alone = quick(one, vlm, method="vlm-zero-shot", settings={}, domain=DOMAINS[one.name]).record
        row = joint.record["sets"][one.name]["baselines"]["vlm-zero-shot"]
        assert {name: alone["metrics"][name] for name in row} == row


@pytest.mark.slow
def test_the_task_specific_model_has_a_slice_for_each_set(joint):
    (place,) = (path for path in (joint.out / "prerequisites").iterdir() if path.is_dir())
    heads = json.loads((place / "head.json").read_text())["sets"]
    assert {name: (row["first"], row["labels"]) for name, row in heads.items()} == {
        "animals": (0, ["cat", "dog", "river"]),
        "scenes": (3, ["dog", "forest"]),
    }
    assert set(joint.record["task_model"]["tests"]) == set(DOMAINS)
    assert "metrics" not in joint.record["task_model"]


@pytest.mark.slow
def test_loaded_it_measures_each_set_as_the_record_says(joint, sets, folders, vlm):
    loaded = acclimate.load(joint.out, vlm)
    for one, folder in zip(sets, folders, strict=True):
        assert loaded.evaluate(one.test) == joint.record["tests"][one.name]
        assert loaded.evaluate(folder) == joint.record["tests"][one.name]  # unseen images are the frozen ones
    assert loaded.class_names == ("cat", "dog", "forest", "river")
    assert "cat; dog; forest; river" in loaded.method.asked(training=False)


@pytest.mark.slow
def test_predictions_among_all_classes_or_those_of_a_set(joint, sets, vlm):
    images = sets[1].test
    loaded = acclimate.load(joint.out, vlm)
    assert probabilities(loaded, images).shape == (len(images), 4)
    scenes = acclimate.load(joint.out, vlm, classes_of="scenes")
    assert scenes.class_names == OTHER
    assert "satellite image. The possible answers are: dog; forest." in scenes.method.asked(training=False)
    found = probabilities(scenes, images)
    assert scenes.evaluate(images) == joint.record["tests"]["scenes"]
    for twin in (copy.deepcopy(scenes), pickle.loads(pickle.dumps(scenes))):
        np.testing.assert_allclose(probabilities(twin, images), found, atol=1e-6)
    with pytest.raises(ConfigError, match="`classes_of='sea'`: this run has learned from animals, scenes; name one"):
        acclimate.load(joint.out, vlm, classes_of="sea")


@pytest.mark.slow
def test_saved_again_it_knows_all_sets(joint, vlm, sets, tmp_path):
    acclimate.load(joint.out, vlm, classes_of="scenes").save(tmp_path / "again")
    again = acclimate.load(tmp_path / "again", vlm)
    assert again.class_names == ("cat", "dog", "forest", "river")
    assert again.evaluate(sets[0].test) == joint.record["tests"]["animals"]


@pytest.mark.slow
def test_the_split_of_a_set_is_kept(joint, folders, sets):
    """By the next run on one of them, or on both; each set has a split of its own in the file."""
    bare = load_data(folders[1]).with_splits([""] * len(sets[1]), "made")
    kept = load_data(bare, split_from=joint.out)
    assert dict(zip(kept.keys, kept.splits, strict=True)) == dict(zip(sets[1].keys, sets[1].splits, strict=True))


@pytest.mark.slow
def test_the_same_command_finds_the_run_and_another_domain_does_not(joint, sets, vlm, domain_folder):
    settings = {**SETTINGS, "task_encoder": str(domain_folder)}
    told = {"method": "vitask", "settings": settings, "out": joint.out}
    again = quick(sets, vlm, domain=DOMAINS, **told)
    assert again.record["identity"] == joint.record["identity"]
    with pytest.raises(RunError, match="a finished run of other data or settings"):
        quick(sets, vlm, domain="natural", **told)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear-probe", "coop", "fine-tune"])
def test_other_methods_learn_all_classes_and_are_measured_on_each_set(sets, tiny, method, tmp_path):
    settings = {"linear-probe": {}, "coop": QUICK, "fine-tune": {"epochs": 1}}[method]
    model = quick(sets, tiny, method=method, settings=settings, domain=None, out=tmp_path / "run")
    loaded = acclimate.load(tmp_path / "run", tiny)
    for one in sets:
        assert loaded.evaluate(one.test) == model.record["tests"][one.name]
        assert model.record["tests"][one.name]["class_names"] == list(one.class_names)
    own, union = acclimate.load(tmp_path / "run", tiny, classes_of="scenes"), probabilities(loaded, sets[1].test)
    if method != "coop":  # whose words for a class are those of each set
        wide = union[:, [loaded.class_names.index(name) for name in OTHER]]
        expected = wide / wide.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities(own, sets[1].test), expected, atol=1e-6)


@pytest.mark.slow
def test_each_set_is_a_domain_of_what_learns_from_several(sets, tiny):
    """Its prerequisites are runs on the images of one set, which are measured on validation images alone."""
    settings = {"label_epochs": 1, "epochs": 1, "warmup_epochs": 0}
    record = quick(sets, tiny, method="spg", settings=settings).record
    assert set(record["prerequisites"]) == set(DOMAINS) == set(record["tests"])


def test_a_list_of_one_is_that_set(pictures, tiny):
    assert quick([pictures], tiny).record["identity"] == quick(pictures, tiny).record["identity"]


def test_what_cannot_be_learned_from_together(sets, pictures, caption_folder, tiny):
    captions = load_captions(caption_folder)
    for data, message in (
        ([pictures, pictures], "two data sets are named 'animals', .* rename a folder"),
        ([pictures, captions], "animals is for classification and scenes is for image-text retrieval"),
        (
            [captions, dataclasses.replace(captions, name="other")],
            "scenes and other are for image-text retrieval, and several",
        ),
        ([], "`data` is empty"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            quick(data, tiny)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="`domain` names 'sea', and the data are animals, scenes"):
        quick(sets, tiny, domain={"sea": "natural"})


PREPARE = """
import acclimate
acclimate_settings = json.loads(inputs[3])
def train(out):
    acclimate.adapt(inputs[:2], "vitask", inputs[2], shots=4, domain="natural", device="cpu", out=out,
                    settings=acclimate_settings, checkpoint_seconds=0.0)
"""


@pytest.mark.slow
def test_killed_and_started_again(folders, vlm_folder, domain_folder, tmp_path):
    settings = {**SETTINGS, "task_encoder": str(domain_folder)}
    inputs = [*map(str, folders), str(vlm_folder), json.dumps(settings)]
    kill_often(PREPARE, inputs, [0, 1], tmp_path / "one", tmp_path / "two")
    one, two = (read_tensors(tmp_path / name / "adapter.safetensors")[0] for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
