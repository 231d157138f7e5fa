"""Models in other processes, and copies of them."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import acclimate
from acclimate.backbones import DualEncoder, load_backbone
from acclimate.backbones.families import FAMILIES
from acclimate.data import load_captions
from acclimate.prompts import PromptSet, ReferencePrompts
from tests.helpers.command import run_code
from tests.helpers.runs import QUICK, quick
from tests.helpers.tiny_backbones import tiny_clip


def same(one, two, images):
    for a, b in zip(one.predict(images), two.predict(images), strict=True):
        assert a.label == b.label
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
    assert one.class_names == two.class_names
    assert one.trained_classes == two.trained_classes
    assert one.describe() == two.describe()
    assert one.record == two.record
    assert one.journal == two.journal


@pytest.mark.parametrize(
    ("method", "domain"),
    [
        ("coop", None),
        ("linear-probe", None),
        ("domain-linear-probe", "folder"),
        ("zs-lp", None),
        ("gdpl", "self"),
        ("gdpl", "folder"),
        ("cocoop", None),
    ],
)
def test_a_pickled_model_is_the_same_and_small(method, domain, pictures, tiny, domain_folder):
    settings = {"coop": QUICK, "zs-lp": {"epochs": 2}, "gdpl": {"epochs": 1}, "cocoop": {"epochs": 1}}.get(method, {})
    encoder = domain_folder if domain == "folder" else domain
    model = quick(pictures, tiny, method=method, settings=settings, domain_encoder=encoder)
    content = pickle.dumps(model)
    learned = sum(tensor.nbytes for tensor in model.method.learned_state().values())
    assert len(content) < learned + 60_000  # without the backbone and without images
    found = pickle.loads(content)
    same(model, found, pictures.test)
    assert found.backbone is model.backbone  # one of each in a process
    assert found.splits is None
    assert found.evaluate(pictures) == model.record["metrics"]  # it still knows what it has seen


def test_a_copy_learns_for_itself(pictures, tiny):
    model = quick(pictures, tiny, method="zs-lp", settings={"epochs": 2})
    for copied in (copy.deepcopy(model), copy.copy(model)):
        same(model, copied, pictures.test)
        assert copied.splits is model.splits
        with torch.no_grad():
            copied.method.weight.zero_()
        copied.rebind(("mill", "cat"))
        copied.record["seed"] = "another"
    assert model.class_names == pictures.class_names
    assert model.record["seed"] == 1
    assert model.evaluate(pictures.test) == model.record["metrics"]


def test_a_model_that_is_bound_to_others(pictures, tiny, caption_folder):
    model = quick(pictures, tiny).rebind(("mill", "cat"))
    same(model, pickle.loads(pickle.dumps(model)), pictures.test)
    captions = acclimate.adapt(load_captions(caption_folder), "zero-shot", tiny, device="cpu")
    assert pickle.loads(pickle.dumps(captions)).evaluate(caption_folder) == captions.record["metrics"]
    captions.rebind(("mill", "cat"))
    found = pickle.loads(pickle.dumps(captions))
    same(captions, found, pictures.test)
    assert found.task is captions.task


def test_rebound_captions_are_saved_as_a_classifier(pictures, tiny, caption_folder, tmp_path):
    model = acclimate.adapt(caption_folder, "zero-shot", tiny, device="cpu").rebind(("mill", "cat"))
    model.save(tmp_path / "run")
    same(model, acclimate.load(tmp_path / "run", tiny), pictures.test)


@pytest.mark.slow
def test_a_backbone_made_in_memory_is_pickled_with_its_weights(pictures, tiny):
    assert copy.copy(tiny) is copy.deepcopy(tiny) is tiny
    processor = json.loads((Path(tiny.name) / "preprocessor_config.json").read_text())
    made = DualEncoder("mine", FAMILIES["clip"](tiny.model), tiny.tokenizer.tokenizer, processor)
    model = quick(pictures, made)
    found = pickle.loads(pickle.dumps(model))
    assert found.backbone is not made
    same(model, found, pictures.test)


ELSEWHERE = """
import pickle, sys
import torch
torch.set_num_threads(1)
model = pickle.loads(open(sys.argv[1], "rb").read())
sys.stdout.write(pickle.dumps([row.probabilities for row in model.predict(sys.argv[2])]).hex())
"""


@pytest.mark.slow
def test_another_process(run, tmp_path, picture_folder, one_thread):
    (tmp_path / "model").write_bytes(pickle.dumps(run.model))
    found = pickle.loads(bytes.fromhex(run_code(ELSEWHERE, tmp_path / "model", picture_folder / "test")))
    expected = [row.probabilities for row in run.model.predict(picture_folder / "test")]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_a_place_that_another_process_does_not_have(pictures, tmp_path):
    backbone = load_backbone(tiny_clip(tmp_path / "bb"))
    (tmp_path / "model").write_bytes(pickle.dumps(quick(pictures, backbone)))
    code = """
import pickle, sys
try:
    pickle.loads(open(sys.argv[1], "rb").read())
except Exception as error:
    print(type(error).__name__, error)
"""
    shutil.rmtree(tmp_path / "bb")
    told = run_code(code, tmp_path / "model")
    assert f"BackboneError this model was pickled on the encoder '{tmp_path / 'bb'}', which cannot be opened" in told
    tiny_clip(tmp_path / "bb", seed=3)
    assert "and here it has" in run_code(code, tmp_path / "model")


def test_what_is_printed(run, pictures, tiny, caption_folder):
    value = run.model.record["metrics"]["accuracy"]["value"]
    assert repr(run.model) == (
        f"AdaptedModel(coop on '{tiny.name}'; 3 classes: cat, dog, river; 128 learned numbers; "
        f"test accuracy (%) {100 * value:.1f})"
    )
    captions = acclimate.adapt(caption_folder, "zero-shot", tiny, device="cpu")
    assert "image-text retrieval; 0 learned numbers; test Recall@1, image to text (%) " in repr(captions)
    many = acclimate.load(run.folder, tiny).rebind([f"class {number}" for number in range(2000)])
    assert "2000 classes: class 0, class 1, class 2, class 3, class 4 and 1995 more; 128 learned numbers)" in repr(many)
    words = {f"class {number}": "word" for number in range(2000)}
    assert (
        repr(PromptSet("satellite", words))
        == "PromptSet('satellite', 'a satellite photo of {}.', words for 2000 classes)"
    )
    assert repr(ReferencePrompts({"a": ("x", "y"), "b": ("z",)})) == "ReferencePrompts('bank', 2 classes, 3 sentences)"
