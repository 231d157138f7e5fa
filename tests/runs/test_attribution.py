"""Prompt attribution: what a run tells of the reference prompts that it has learned from."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import acclimate
from acclimate.data import sample_shots
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.prompts import PromptSet
from acclimate.training.encoding import image_features, text_features

SENTENCES = {
    "cat": ["soft fur", "pointed ears", "long whiskers", "a round face", "sharp claws", "green eyes", "a thin tail"],
    "dog": ["a wet nose", "a wagging tail", "floppy ears"],
    "river": ["water that flows"],
}


@pytest.fixture(scope="module")
def learned(pictures, tiny, tmp_path_factory):
    run = tmp_path_factory.mktemp("attribution") / "run"
    options = {"reference_prompts": SENTENCES, "settings": {"epochs": 3, "aggregator_lr": 0.01}, "shots": 4}
    return run, acclimate.adapt(pictures, "aape", tiny, out=run, device="cpu", domain="natural", **options)


def test_the_least_canonical_image_of_each_class(learned, pictures, tiny):
    _, model = learned
    entries = model.record["reading"]
    assert {entry["class"] for entry in entries} == {"cat", "dog", "river"}
    train = sample_shots(pictures.train, 4, 1)
    x = F.normalize(image_features(tiny, train), dim=-1)
    w = F.normalize(tiny.encode_text(PromptSet("natural").sentences(train.class_names)), dim=-1)
    likeness = (x * w[torch.from_numpy(train.labels)]).sum(dim=1)
    for entry in entries:
        row = train.keys.index(entry["image"])
        same = [other for other in range(len(train)) if train.labels[other] == train.labels[row]]
        assert entry["template_cosine"] == pytest.approx(float(likeness[row]), abs=1e-5)
        assert likeness[row] == likeness[same].min()
    cosines = [entry["template_cosine"] for entry in entries]
    assert cosines == sorted(cosines)


def test_sentences_kept_and_dropped(learned):
    _, model = learned
    entries = {entry["class"]: entry for entry in model.record["reading"]}
    cat, dog, river = (entries[name] for name in ("cat", "dog", "river"))
    assert (len(cat["kept"]), len(cat["dropped"])) == (3, 3)
    shares = [share for _, share in [*cat["kept"], *cat["dropped"]]]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 1 > shares[-1]  # of seven sentences, one of which is not named
    assert {sentence for sentence, _ in [*cat["kept"], *cat["dropped"]]} < set(SENTENCES["cat"])
    assert (len(dog["kept"]), dog["dropped"]) == (3, [])
    assert river["kept"] == [["water that flows", pytest.approx(1.0)]]


def test_nearest_sentences(learned, pictures, tiny):
    _, model = learned
    told = [sentence for some in SENTENCES.values() for sentence in some]
    p = F.normalize(text_features(tiny, told), dim=-1)
    train = sample_shots(pictures.train, 4, 1)
    x = F.normalize(image_features(tiny, train), dim=-1)
    with torch.no_grad():
        h = F.normalize(model.method.generator(x), dim=-1)
    for entry in model.record["reading"]:
        cosines = p @ h[train.keys.index(entry["image"])]
        best = cosines.topk(3)
        assert [sentence for sentence, _ in entry["nearest"]] == [told[place] for place in best.indices]
        assert [cosine for _, cosine in entry["nearest"]] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_named_images(pictures, tiny, tmp_path):
    train = sample_shots(pictures.train, 4, 1)
    named = [train.keys[5], f"/somewhere/else/{train.keys[0]}"]
    options = {"settings": {"epochs": 1}, "shots": 4, "device": "cpu", "domain": "natural", "out": tmp_path / "run"}
    model = acclimate.adapt(pictures, "aape", tiny, look_at=named, **options)
    assert [entry["image"] for entry in model.record["reading"]] == [train.keys[5], train.keys[0]]
    with pytest.raises(RunError, match="other data or settings"):
        acclimate.adapt(pictures, "aape", tiny, look_at=named[:1], **options)


def test_named_images_that_have_no_attribution(pictures, tiny, caption_folder):
    options = {"shots": 2, "device": "cpu", "domain": "natural"}
    with pytest.raises(
        DataError, match=r"absent.png is not among the 6 images that are learned from, such as .*`shots='all'`"
    ):
        acclimate.adapt(pictures, "aape", tiny, look_at=["absent.png"], **options)
    with pytest.raises(
        ConfigError, match=r"coop reads no reference prompts .* leave out `look_at`, or use `method='aape'`"
    ):
        acclimate.adapt(pictures, "coop", tiny, look_at=["absent.png"], **options)
    with pytest.raises(DataError, match=r"absent.png is not among"):
        acclimate.adapt(caption_folder, "aape", tiny, look_at=["absent.png"], device="cpu")


def test_the_picture(learned):
    run, _ = learned
    with Image.open(run / "reading.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 800
        assert picture.size[1] > 600
    assert acclimate.load(run).class_names == ("cat", "dog", "river")


def test_without_attention(pictures, tiny):
    options = {"settings": {"epochs": 1, "aggregator": "mean"}, "shots": 2, "device": "cpu", "domain": "natural"}
    model = acclimate.adapt(pictures, "aape", tiny, **options)
    assert all(set(entry) == {"image", "class", "template_cosine", "nearest"} for entry in model.record["reading"])
    off = acclimate.adapt(pictures, "aape", tiny, **{**options, "settings": {"epochs": 1, "distillation_weight": 0}})
    assert "reading" not in off.record
    assert "reference_prompts" not in off.record


def test_captions(caption_folder, tiny, tmp_path):
    run = tmp_path / "run"
    model = acclimate.adapt(caption_folder, "aape", tiny, settings={"epochs": 1}, out=run, device="cpu")
    entries = model.record["reading"]
    assert len(entries) == 8
    assert all(set(entry) == {"image", "kept", "dropped", "nearest"} for entry in entries)
    assert all(len(entry["kept"]) == 3 for entry in entries)
    assert (run / "reading.png").exists()
