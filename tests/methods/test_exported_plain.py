"""Every method that classifies, as a plain model of transformers, which says what it says; or it is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import CLIPModel, SiglipModel

from acclimate.errors import ConfigError
from acclimate.exporting.plain import EMBEDDINGS, compare_plain, plain_form, write_plain
from acclimate.methods import AnsweringClassifier, Classifier, get_method, list_methods
from acclimate.training.batch import Batch
from acclimate.training.encoding import encode
from tests.helpers.methods import FACTS, learn, make

SERVED = {
    "2sfs", "clap", "clip-lora", "coop", "cupl", "kgcoop", "linear-probe", "lp++", "prolip", "ss-text", "zero-shot",
    "zs-lp",
}  # fmt: skip
MODELS = {"clip": CLIPModel, "siglip": SiglipModel}
QUICK = {"clip-lora", "linear-probe", "prolip"}
METHODS = [one for one in list_methods() if issubclass(one, Classifier) and not issubclass(one, AnsweringClassifier)]


def taught(world, name):
    """A method that has learned for two epochs, where it descends gradients."""
    wanted = {"epochs": 2, "context_tokens": 4, "lr": 0.02, "warmup_epochs": 0}
    known = {field.name for field in dataclasses.fields(get_method(name).Config)}
    method = make(world, name, **{key: value for key, value in wanted.items() if key in known})
    learn(world, method, FACTS, world.val)
    return method.eval()


def assert_plain(method, folder, plain_class):
    """Compare the folder with the method by transformers and torch alone, and see that what was learned counts."""
    write_plain(method, plain_form(method), folder)
    size = method.backbone.image_size
    pixels = torch.randn(6, 3, size, size, generator=torch.Generator().manual_seed(1))
    told, model = load_file(folder / EMBEDDINGS), plain_class.from_pretrained(folder).eval()
    with torch.no_grad():
        images = model.get_image_features(pixel_values=pixels)
        images = F.normalize(getattr(images, "pooler_output", images), dim=-1)
        found = told["scale"] * images @ told["embeddings"].T + told["bias"]
        batch = Batch(method.reading) | encode(method.backbone, pixels, method.inputs.prediction)
        expected = method.of_bound(method.logits(batch))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert compare_plain(method, folder) < 1e-4
    return model


def in_time(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(names)]


@pytest.mark.parametrize("name", in_time(SERVED))
def test_clip(name, worlds, tmp_path):
    world = worlds("clip")
    model = assert_plain(taught(world, name), tmp_path, CLIPModel)
    changed = name in {"2sfs", "clip-lora", "prolip"}
    same = [torch.equal(own, model.state_dict()[key]) for key, own in world.backbone.model.state_dict().items()]
    assert all(same) != changed


@pytest.mark.parametrize("name", in_time(SERVED - {"prolip"}))
def test_siglip(name, worlds, tmp_path):
    assert_plain(taught(worlds("siglip"), name), tmp_path, SiglipModel)


def test_a_projection_that_siglip_does_not_have(worlds):
    with pytest.raises(ConfigError, match="write it with `acclimate export --to onnx`"):
        plain_form(make(worlds("siglip"), "prolip"))


def test_a_model_that_transformers_does_not_have(worlds):
    with pytest.raises(ConfigError, match="write it with `acclimate export --to onnx`"):
        plain_form(make(worlds("vit-bert-clip"), "zero-shot"))


@pytest.mark.parametrize("name", sorted({one.name for one in METHODS} - SERVED))
def test_what_a_plain_model_cannot_say_is_refused(name, worlds):
    with pytest.raises(ConfigError, match=f"{name.replace('+', '.')} on .* write it with `acclimate export --to onnx`"):
        plain_form(make(worlds("clip"), name))


def test_some_of_the_classes_and_the_text_tower(worlds, tmp_path):
    """Changes of the text tower are merged, too: a sentence of a class leads to its direction."""
    method = taught(worlds("clip"), "clip-lora")
    method.bind([*method.class_names[:1], "meadow"])
    model = assert_plain(method, tmp_path, CLIPModel)
    ids = method.backbone.tokenize(method.prompts.sentences(method.class_names))
    with torch.no_grad():
        texts = model.get_text_features(input_ids=ids)
    directions = F.normalize(getattr(texts, "pooler_output", texts), dim=-1)
    torch.testing.assert_close(directions, load_file(tmp_path / EMBEDDINGS)["embeddings"], atol=1e-5, rtol=1e-4)
    probe = taught(worlds("clip"), "linear-probe")
    probe.bind(probe.class_names[::-1][:2])
    (tmp_path / "probe").mkdir()
    assert_plain(probe, tmp_path / "probe", CLIPModel)
