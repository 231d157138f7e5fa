"""`pretrain_classifier`: a domain encoder from labelled images."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch

from acclimate.backbones import load_domain_encoder
from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.pretraining.classifier import ClassifierConfig, ClassifierLearner, MixedFeed
from acclimate.pretraining.labelled import LabelledSet, Slices
from acclimate.prompts import get_domain
from acclimate.protocols import Trial
from acclimate.runs.classifiers import ClassifierPretraining, pretrain_classifier
from acclimate.runs.heads import read_head
from acclimate.runs.labelled_sets import draw_sets, sets_of_trial
from acclimate.runs.orchestrator import carry_out
from acclimate.runs.run_options import RunOptions
from acclimate.training.fine_tuning import VisionClassifier
from tests.helpers.killing import kill_at_files, kill_often
from tests.helpers.pictures import make_split_pictures
from tests.helpers.runs import quick
from tests.helpers.tensors import close
from tests.helpers.tiny_mae import tiny_mae

ONE = {"epochs": 1, "batch_size": 8}
LEARN = {"epochs": 12, "batch_size": 8, "lr": 5e-3}


def train(data, out, encoder, settings=ONE, **options):
    return pretrain_classifier(data, out, encoder=encoder, settings=settings, **{"device": "cpu", **options})


@pytest.fixture(scope="session")
def animals(picture_folder):
    return load_data(picture_folder)


@pytest.fixture(scope="session")
def weather(tmp_path_factory):
    """Two other classes."""
    return load_data(make_split_pictures(tmp_path_factory.mktemp("sets") / "weather", ("rain", "sun"), noise=15.0))


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """A table of pictures with several labels."""
    folder = make_split_pictures(tmp_path_factory.mktemp("sets") / "several", ("a", "b", "c", "d"))
    labels = {"a": "rain", "b": "rain | night", "c": "night", "d": "|"}
    rows = [f"{path.relative_to(folder)},{labels[path.parts[-2]]},{path.parts[-3]}" for path in folder.rglob("*.png")]
    (folder / "labels.csv").write_text("path,label,split\n" + "\n".join(sorted(rows)))
    return load_data(folder)


@pytest.fixture(scope="session")
def made(tmp_path_factory, animals, weather, domain_folder):
    """The folder of a classifier of two data sets, and its record."""
    out = tmp_path_factory.mktemp("tsm") / "tsm"
    return out, train([animals, weather], out, domain_folder, LEARN)


def probabilities(folder, name, data):
    """What a folder says of images: the head on what its domain encoder gives, with the softmax over a slice alone."""
    encoder, head = load_domain_encoder(folder), read_head(folder)
    pixels = torch.stack([encoder.transform(data.image(row)) for row in range(len(data))])
    outputs = encoder.encode_image(encoder.transform.normalise(pixels)) @ head.weight.T + head.bias
    own = head.sets[name]
    return outputs[:, own["first"] : own["first"] + len(own["labels"])].softmax(-1)


def test_the_encoder_gives_what_the_head_reads(made, animals, weather):
    out, record = made
    assert sorted(path.name for path in out.iterdir()) == [
        *("config.json", "head.json", "head.safetensors", "images.txt", "log.jsonl", "model.safetensors"),
        *("preprocessor_config.json", "record.json"),
    ]
    assert record == json.loads((out / "record.json").read_text())
    for name, data in (("animals", animals), ("weather", weather)):
        found = probabilities(out, name, data.test)
        labels = torch.from_numpy(data.test.labels)
        metrics = record["tests"][name]
        assert metrics["accuracy"]["value"] == pytest.approx((found.argmax(1) == labels).float().mean().item())
        nll = -found.gather(1, labels[:, None]).log().mean()
        assert metrics["nll"]["value"] == pytest.approx(nll.item(), abs=1e-4)
        assert metrics["accuracy"]["value"] > 0.6
        assert record["validation"][name]["samples"] == len(data.val)


def test_the_epoch_is_the_best_on_validation_images(made):
    out, record = made
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    values = [line["val_accuracy"] for line in lines[:-1]]
    assert lines[-1]["kept_epoch"] == record["kept_epoch"] == int(np.argmax(values))
    measured = [metrics["accuracy"]["value"] for metrics in record["validation"].values()]
    assert max(values) == pytest.approx(np.mean(measured), abs=2e-6)


@pytest.mark.slow
def test_the_images_that_it_has_learned_from_and_was_chosen_by(made, animals, weather, tiny, caplog):
    """Neither may be measured; that its epoch was chosen by validation images is no reason to warn of them."""
    out, record = made
    listed = (out / "images.txt").read_text().split()
    learned = [part.digest(row) for part in (animals.train, weather.train) for row in range(len(part))]
    chosen = [part.digest(row) for part in (animals.val, weather.val) for row in range(len(part))]
    assert listed == learned + chosen
    assert record["data"]["chosen_by"] == len(chosen)
    probe = {"method": "domain-linear-probe", "settings": {}, "domain_encoder": out}
    quick(animals, tiny, **probe)
    assert "has learned from" not in caplog.text
    for part, count in (("train", 18), ("val", 9)):
        swapped = animals.with_splits(
            [{part: "test", "test": part}.get(name, name) for name in animals.splits], "given"
        )
        with pytest.raises(DataError, match=f"has learned from {count} of the {count} test images"):
            quick(swapped, tiny, **probe)
    with pytest.raises(DataError, match=r"`encoder=.* has learned from 9 of the 9 test images"):
        train(swapped, out.parent / "never", out)


@pytest.mark.slow
def test_goes_on_from_an_earlier_one(made, animals, weather, domain_folder, tmp_path):
    """With its images, and with its part of the head for the very same classes."""
    out, _ = made
    other = load_data(make_split_pictures(tmp_path / "other", noise=60.0))  # cat, dog and river again
    record = train([weather, other], tmp_path / "next", out, {**ONE, "lr": 0.0, "warmup_epochs": 0})
    assert record["head_kept"] == ["weather", "other"]
    before, after = read_head(out), read_head(tmp_path / "next")
    assert torch.equal(after.weight[:2], before.weight[3:])
    assert torch.equal(after.weight[2:], before.weight[:3])
    first = json.loads((out / "record.json").read_text())
    assert record["tests"]["weather"]["nll"]["value"] == pytest.approx(first["tests"]["weather"]["nll"]["value"])
    seen = {*(tmp_path / "next/images.txt").read_text().split()}
    assert {*(out / "images.txt").read_text().split()} < seen
    assert train(animals, tmp_path / "new", domain_folder)["head_kept"] == []
    for damage in ('{"sets": 3}', '{"sets": {"x": {"first": 9, "labels": ["a"], "several": false}}}', "{"):
        copy = shutil.copytree(out, tmp_path / "copy", dirs_exist_ok=True)
        (copy / "head.json").write_text(damage)
        with pytest.raises(RunError, match=r"head\.json.*restore the file"):
            train(animals, tmp_path / "never", copy)


def parts(data, several=False):
    return LabelledSet(data.name, data.train, data.val, data.test, None, several)


def test_each_image_is_learned_by_the_slice_of_its_own_set(animals, weather, several, domain_encoder):
    sets = [parts(animals), parts(weather), parts(several, True)]
    slices = Slices.of(sets)
    assert slices.places == {"animals": (0, 3), "weather": (3, 5), "several": (5, 7)}
    assert sets[2].labels == ("night", "rain")
    targets = dict(zip(several.train.label_names, sets[2].targets(several.train).tolist(), strict=True))
    assert targets == {"rain": [0, 1], "rain | night": [1, 1], "night": [1, 0], "|": [0, 0]}
    network = VisionClassifier(domain_encoder, 7)
    learner = ClassifierLearner(network, sets, slices, ClassifierConfig(label_smoothing=0.0))
    feed = MixedFeed(sets, "train", slices, network)
    index = torch.tensor([0, 17, 18, 29, 30, 53])  # two of each set
    batch = feed.batch(index)
    outputs, nn = network(batch.pixels), torch.nn.functional
    animal, sky = animals.train.labels[[0, 17]], weather.train.labels[[0, 11]]
    wanted = sets[2].targets(several.train)[[0, 23]]
    softmax = nn.cross_entropy(outputs[:2, :3], torch.from_numpy(animal), reduction="sum")
    softmax = softmax + nn.cross_entropy(outputs[2:4, 3:5], torch.from_numpy(sky), reduction="sum")
    binary = nn.binary_cross_entropy_with_logits(outputs[4:, 5:], wanted, reduction="sum") / 2
    terms = learner.loss(batch)
    close(terms["cross_entropy"], softmax / 6, 1e-5)
    close(terms["binary_cross_entropy"], binary / 6, 1e-5)
    for row, (data, place) in enumerate([(animals, 0), (animals, 17), (weather, 0), (weather, 11)]):
        transform = domain_encoder.transform
        image = transform.normalise(transform(data.train.image(place)).unsqueeze(0))[0]
        assert torch.equal(batch.pixels[row], image)


def test_sets_with_the_very_same_classes_share_their_outputs(animals, weather, tmp_path):
    twin = load_data(make_split_pictures(tmp_path / "twin", noise=60.0))
    sets = [parts(animals), parts(weather), parts(twin)]
    assert Slices.of(sets).places == {"animals": (0, 3), "weather": (3, 5), "twin": (0, 3)}
    assert Slices.of(sets, share=False).places["twin"] == (5, 8)
    with pytest.raises(ConfigError, match="two data sets are named 'animals'"):
        Slices.of([sets[0], sets[0]])


@pytest.mark.slow
def test_several_labels_of_an_image(several, domain_folder, tmp_path):
    record = train(several, tmp_path / "tsm", domain_folder, LEARN, multi_label=True)
    figures = record["tests"]["several"]
    assert {*figures["per_label"]} == {"night", "rain"}
    assert figures["mean_average_precision"]["value"] > 0.6
    assert record["data"]["images"] == 24
    with pytest.raises(ConfigError, match=r"`shots=4` counts images of every class.*use `shots='all'`"):
        train(several, tmp_path / "never", domain_folder, multi_label=True, shots=4)


def test_a_copy_that_is_tested_in_another_set_is_not_learned_from(animals, domain_folder, tmp_path, caplog):
    folder = make_split_pictures(tmp_path / "other", ("rain", "sun"), noise=15.0)
    shutil.copy(animals.test.paths[0], folder / "train/sun/copy.png")
    sets = draw_sets([animals, load_data(folder)], "all", 1, ClassifierConfig())
    assert "train/sun/copy.png" not in sets[1].train.keys
    assert len(sets[1].train) == 12
    assert "not learned from, as copies are tested" in caplog.text


def test_a_validation_image_that_is_learned_from_in_another_set_chooses_nothing(animals, tmp_path, caplog):
    folder = make_split_pictures(tmp_path / "other", ("rain", "sun"), noise=15.0)
    shutil.copy(animals.train.paths[0], folder / "val/sun/copy.png")
    sets = draw_sets([animals, load_data(folder)], "all", 1, ClassifierConfig())
    assert "val/sun/copy.png" not in sets[1].val.keys
    assert [len(one.val) for one in sets] == [9, 6]
    assert "1 validation image chooses nothing: a copy is learned from" in caplog.text


@pytest.mark.slow
def test_in_memory_it_is_the_same_encoder(made, animals, weather, domain_encoder):
    """As a run makes it that builds on one."""
    out, record = made
    config = ClassifierConfig(**LEARN)
    sets = draw_sets([animals, weather], "all", 1, config)
    result = carry_out(ClassifierPretraining(sets, domain_encoder, config, 1, RunOptions(device="cpu")))
    assert result.encoder.fingerprint == load_domain_encoder(out).fingerprint
    assert result.record["identity"] == record["identity"]
    assert result.record["tests"] == record["tests"]


def test_a_run_makes_one_of_its_own_images_in_a_folder(animals, domain_encoder, tmp_path):
    config = ClassifierConfig(**ONE)
    trial = Trial(animals.train, animals.val, {"test": animals.test})
    (own,) = sets_of_trial(trial, config, {trial.train.name: get_domain("natural")})
    drawn = draw_sets([animals], "all", 1, config, "natural")[0]
    assert (own.describe(), own.augmentation) == (drawn.describe(), drawn.augmentation)
    options = RunOptions(device="cpu").of_part(tmp_path / "part")
    result = carry_out(ClassifierPretraining([own], domain_encoder, config, 1, options))
    assert result.encoder.place.folder == tmp_path / "part"
    again = carry_out(ClassifierPretraining([own], domain_encoder, config, 1, options))
    assert (again.record, again.encoder.fingerprint) == (result.record, result.encoder.fingerprint)


def test_a_finished_run_is_not_repeated(made, animals, weather, domain_folder, tmp_path, caplog):
    caplog.set_level("INFO", "acclimate")
    out, record = made
    assert train([animals, weather], out, domain_folder, LEARN) == record
    assert "nothing to do" in caplog.text
    for other in ({"seed": 2}, {"shots": 4}, {"settings": {**LEARN, "lr": 1e-4}}):
        with pytest.raises(RunError, match="other images or settings"):
            train([animals, weather], out, domain_folder, **{"settings": LEARN, **other})
    with pytest.raises(RunError, match="other images or settings"):
        train([weather, animals], out, domain_folder, LEARN)
    with pytest.raises(RunError, match="other images or settings"):
        train([animals, weather], out, tiny_mae(tmp_path / "mae", seed=1), LEARN)


def test_without_validation_or_test_images(domain_folder, tmp_path):
    data = load_data(make_split_pictures(tmp_path / "data", splits={"train": 4, "test": 2}))
    data = data.with_splits(["train"] * len(data), "given")
    record = train(data, tmp_path / "out", domain_folder)
    assert (record["validation"], record["tests"], record["kept_epoch"]) == ({"data": None}, {"data": None}, None)


PREPARE = """
from acclimate.backbones import load_domain_encoder
from acclimate.data import load_data
from acclimate.runs.classifiers import pretrain_classifier
import sklearn.metrics

data, settings = [load_data(inputs[0]), load_data(inputs[1])], json.loads(inputs[3])
encoder = load_domain_encoder(inputs[2])

def train(out):
    pretrain_classifier(data, out, encoder=encoder, settings=settings, device="cpu", checkpoint_seconds=0.0)
"""
WRITTEN = [
    *("config.json", "head.json", "head.safetensors", "images.txt", "model.safetensors", "preprocessor_config.json"),
    *("record.json", "remove checkpoint.safetensors"),
]


@pytest.fixture
def inputs(tmp_path, picture_folder, domain_folder):
    other = make_split_pictures(tmp_path / "weather", ("rain", "sun"))
    return lambda **settings: (picture_folder, other, domain_folder, json.dumps({"batch_size": 8, **settings}))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_many_times(tmp_path, inputs):
    outputs = (tmp_path / "unbroken", tmp_path / "killed")
    killed = kill_often(PREPARE, inputs(epochs=8), [0, 1, 3, 3, 6], *outputs)
    assert all(row[2] for row in killed)
    assert len({row[1] for row in killed}) >= 3  # at really different moments
    names = [sorted(path.name for path in folder.iterdir()) for folder in outputs]
    assert names[0] == names[1]
    for name in {*names[0]} - {"record.json"}:
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes(), name
    left, right = (json.loads((folder / "record.json").read_text()) for folder in outputs)
    assert {**left, "cost": None} == {**right, "cost": None}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_each_file_that_is_written_in_the_end(tmp_path, inputs):
    assert kill_at_files(PREPARE, inputs(epochs=1), WRITTEN, tmp_path / "runs") == []
