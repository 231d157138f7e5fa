"""Loading generative models: what they are, what is refused, and that a pickle names their place."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch

from acclimate.backbones import load_backbone, load_vlm
from acclimate.errors import BackboneError
from tests.helpers.tensors import close
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_vlms import tiny_llava


@pytest.fixture(scope="module")
def mini():
    return load_vlm("mini-vlm")


@pytest.fixture
def folder(llava, tmp_path):
    return shutil.copytree(llava.folder, tmp_path / "vlm")


def test_the_embedded_model(mini):
    assert mini.describe() == {
        "name": "mini-vlm", "family": "llava", "image_size": 96, "image_tokens": 37, "token_width": 256,
        "vision_width": 256, "context_length": 512, "vocabulary": 6144, "parameters": 9667328,
    }  # fmt: skip
    assert mini.fingerprint == "2fbcd321c4aab5f556d63c1a0ce2d505"
    assert mini.transform.output_size == (96, 96)
    assert not mini.model.training
    tokens = {"image_tokens": 37 * 256, "vision_tokens": 37 * 256}
    assert dict(mini.widths) == {"image_features": 256, "connected_features": 256, **tokens}


def test_the_embedded_model_answers(mini):
    """A red disk on white, as in the scenes that it was trained on."""
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    pixels = torch.full((1, 3, 96, 96), 255, dtype=torch.uint8)
    disk = (rows - 48) ** 2 + (columns - 48) ** 2 < 28**2
    pixels[0, :, disk] = torch.tensor([[220], [20], [20]], dtype=torch.uint8)
    images = mini.encode(mini.transform.normalise(pixels), ["image_tokens"])["image_tokens"]
    asked = [mini.conversation("what color is the circle?")]
    assert mini.generate(asked, images) == ["red"]
    totals, counts = mini.score(asked, ["red", "blue", "green"], images)
    assert totals.argmax() == 0
    assert totals.exp().sum() <= 1
    assert counts.tolist() == [2, 2, 2]


@pytest.mark.slow
def test_sixteen_bits(llava):
    vlm = load_vlm(llava.folder, dtype=torch.bfloat16)
    assert vlm.dtype == torch.bfloat16
    assert vlm.fingerprint == llava.vlm.fingerprint
    images = vlm.encode(llava.pixels(2), ["image_tokens"])["image_tokens"]
    asked = [vlm.conversation("what is it?", answer, exemplars=1) for answer in ("a dog", "bare land, dry")]
    exemplars = torch.randn(2, 1, vlm.token_width, requires_grad=True)
    adapter = vlm.adapter(2, 4.0)
    with adapter.on():
        logits = vlm.response_logits(asked, images, exemplars)
    assert (images.dtype, logits.dtype) == (torch.bfloat16, torch.float32)
    logits.logsumexp(-1).mean().backward()
    assert exemplars.grad.abs().sum() > 0
    assert {weight.dtype for weight in adapter.parameters()} == {torch.float32}
    full = llava.vlm.response_logits(asked, images.float(), exemplars.detach())
    close(logits.detach(), full, 0.1 * float(full.abs().max()))
    assert torch.isfinite(vlm.score(asked, ["a dog", "x"], images, exemplars)[0]).all()
    assert len(vlm.generate(asked, images, exemplars.detach(), 3)) == 2


def test_a_dual_encoder_and_a_generative_model_name_each_other(tmp_path):
    with pytest.raises(BackboneError, match=r"model_type 'clip' is a dual encoder, .* such as mini-vlm"):
        load_vlm("mini-clip")
    with pytest.raises(BackboneError, match=r"model_type 'llava' is a generative model, .* such as mini-clip"):
        load_backbone("mini-vlm")
    with pytest.raises(BackboneError, match="is a dual encoder"):
        load_vlm(tiny_clip(tmp_path / "clip"))


def test_other_families_are_refused_by_name(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mllama"}))
    for load in (load_vlm, load_backbone):
        with pytest.raises(BackboneError, match="model_type 'mllama' is not supported; use a model of one of these"):
            load(folder)


def test_no_chat_template(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BackboneError, match=r"has no chat template \(chat_template.jinja\)"):
        load_vlm(folder)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ nothing.of.this }}", "the chat template cannot be followed"),
        ("{{ 'q' * messages | length }}", "leaves out responses"),
        ("{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}", "no place for the image"),
    ],
)
def test_a_template_that_cannot_be_followed(folder, template, said):
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(BackboneError, match=said):
        load_vlm(folder)


def test_images_of_another_size_than_the_tower_takes(folder):
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"crop_size": {"height": 8, "width": 8}}))
    with pytest.raises(BackboneError, match=r"makes images of 8x8 pixels, config.json says that the model takes 32x32"):
        load_vlm(folder)


def test_a_template_in_an_older_place(llava, folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert load_vlm(folder).tokenizer.fingerprint == llava.vlm.tokenizer.fingerprint


def test_the_template_counts_for_the_identity(llava, folder):
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|{{ m['role'] }}|>", "<|{{ m['role'] }}|>hm "))
    other = load_vlm(folder)
    assert other.fingerprint == llava.vlm.fingerprint
    assert other.identity != llava.vlm.identity


def test_a_pickle_is_its_place(llava, tmp_path):
    data = pickle.dumps(llava.vlm)
    assert len(data) < 2000
    assert pickle.loads(data) is llava.vlm
    in_memory = load_vlm(tiny_llava(tmp_path / "other", seed=3))
    in_memory.place = None
    other = pickle.loads(pickle.dumps(in_memory))
    assert other is not in_memory
    assert other.fingerprint == in_memory.fingerprint


def test_responses_that_merge_with_the_prompt_are_written_apart(folder):
    """Where a prompt ends in a letter: the response's ids do not depend on it, as what is generated does not."""
    template = (folder / "chat_template.jinja").read_text().replace("<|assistant|>", "<|assistant|>d")
    (folder / "chat_template.jinja").write_text(template.replace("<|{{ m['role'] }}|>", "<|{{ m['role'] }}|>d"))
    vlm = load_vlm(folder)
    prompt, whole = vlm.conversation("x"), vlm.conversation("x", "og")
    assert torch.equal(whole.prompt, prompt.ids)
    assert vlm.tokenizer.decode(whole.ids[whole.response].tolist()) == "og"
