"""Images in their own shapes, as tiles or grids, through training, negatives and prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import acclimate
from acclimate.backbones import load_vlm
from acclimate.backbones.generative.images import pack, unpack
from acclimate.data import load_data
from acclimate.errors import ConfigError
from tests.helpers.runs import quick
from tests.helpers.tiny_vlms import tiny_internvl, tiny_llava, tiny_qwen

SETTINGS = {"rank": 2, "epochs": 2, "lr": 0.02, "batch_size": 4, "image_shape": "own"}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Pictures of two classes, wide and tall."""
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for label, tint in (("red", 0), ("blue", 2)):
            for number in range(count):
                place = folder / split / label
                place.mkdir(parents=True, exist_ok=True)
                height, width = ((56, 112), (112, 56), (64, 64))[number % 3]
                pixels = random.integers(0, 100, (height, width, 3), dtype=np.uint8)
                pixels[..., tint] += 150
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return load_vlm(tiny_qwen(tmp_path_factory.mktemp("vlm") / "qwen"))


def test_packed_and_unpacked(qwen, shapes):
    data = load_data(shapes).test
    images = qwen.encode_images([data.image(row) for row in range(len(data))])
    assert len({len(image.tokens) for image in images}) > 1
    for before, after in zip(images, unpack(*pack(images)), strict=True):
        assert torch.equal(before.tokens, after.tokens)
        assert (before.grid, before.tiles) == (after.grid, after.tiles)


@pytest.mark.slow
def test_learned_from_and_predicted(qwen, shapes, domain_folder, tmp_path):
    """Prediction sees what training saw, from a file or in memory, saved and loaded."""
    how = {"settings": SETTINGS, "domain_encoder": domain_folder, "shots": "all"}
    model = quick(shapes, qwen, method="vitask", out=tmp_path / "run", **how)
    assert model.method.inputs.prediction == {"own_tokens", "domain_features"}
    log = [entry for entry in model.journal if "contrast" in entry]
    assert log
    loaded = acclimate.load(tmp_path / "run", qwen)
    data = load_data(shapes).test
    assert loaded.evaluate(data) == model.record["metrics"]
    from_files = np.stack([row.probabilities for row in loaded.predict(data.paths)])
    in_memory = np.stack([row.probabilities for row in loaded.predict([data.image(row) for row in range(len(data))])])
    assert from_files == pytest.approx(in_memory, abs=1e-6)
    square = quick(shapes, qwen, method="vlm-zero-shot", settings={}, shots="all")
    own = quick(shapes, qwen, method="vlm-zero-shot", settings={"image_shape": "own"}, shots="all")
    assert own.record["metrics"]["nll"] != square.record["metrics"]["nll"]


@pytest.mark.slow
def test_tiles(shapes, tmp_path_factory):
    internvl = load_vlm(tiny_internvl(tmp_path_factory.mktemp("vlm") / "internvl"))
    model = quick(shapes, internvl, method="instruct", settings=SETTINGS, shots="all")
    assert model.journal[-1]["vanilla"] < model.journal[0]["vanilla"]


@pytest.mark.slow
def test_of_one_shape_it_is_the_square(shapes, tmp_path_factory):
    llava = load_vlm(tiny_llava(tmp_path_factory.mktemp("vlm") / "llava"))
    models = [
        quick(shapes, llava, method="instruct", settings={**SETTINGS, "image_shape": shape}, shots="all")
        for shape in ("own", "square")
    ]
    states = [model.method.learned_state() for model in models]
    for name, tensor in states[0].items():
        assert torch.allclose(tensor, states[1][name], atol=1e-4), name


@pytest.mark.parametrize("other", [{"augment": "crop"}, {"vlm_connector": "trained"}])
def test_what_they_do_not_have(other, qwen, shapes):
    with pytest.raises(ConfigError, match=r"image_shape=own and .* cannot be had together"):
        quick(shapes, qwen, method="instruct", settings=SETTINGS | other)
