"""A dual encoder and a language model as one generative model, and the map between them."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

import acclimate
from acclimate.backbones import load_vlm
from acclimate.backbones.kinds import GENERATIVE, kind_of
from acclimate.errors import BackboneError
from tests.helpers.runs import quick
from tests.helpers.tiny_language_model import tiny_language_model
from tests.helpers.tiny_vlms import tiny_llava, tiny_qwen

SETTINGS = {"epochs": 6, "lr": 0.02, "batch_size": 6}


@pytest.fixture(scope="module")
def names(tmp_path_factory, tiny_folders):
    """Composed models by what their language model is."""
    folder = tmp_path_factory.mktemp("language")
    plain = tiny_language_model(folder / "plain")
    llava = tiny_llava(folder / "llava")
    return {"plain": f"{tiny_folders['clip']}+{plain}", "llava": f"{tiny_folders['siglip']}+{llava}"}


@pytest.fixture(scope="module", params=["plain", "llava"])
def composed(request, names):
    return load_vlm(names[request.param])


def test_what_it_is(composed, names):
    assert kind_of(composed.name) == GENERATIVE
    pixels = torch.randn(2, 3, composed.image_size, composed.image_size)
    found = composed.encode(pixels, {"vision_tokens", "image_tokens"})
    patches = found["vision_tokens"].unflatten(1, (composed.image_tokens, -1))
    mapped = patches @ composed.model.connector.weight.T
    assert torch.allclose(found["image_tokens"], mapped.flatten(1), atol=1e-5)
    again = load_vlm(composed.name)
    assert (again.fingerprint, again.identity) == (composed.fingerprint, composed.identity)
    assert pickle.loads(pickle.dumps(composed)).name == composed.name


def test_the_image_tower_of_a_vit_beside_a_bert(tiny_folders, tiny_backbones, tmp_path):
    """It has no pooler of its own; the joint space is reached as the dual encoder reaches it."""
    dual = tiny_backbones["vit-bert-clip"]
    composed = load_vlm(f"{tiny_folders['vit-bert-clip']}+{tiny_language_model(tmp_path)}")
    pixels = torch.randn(2, 3, 32, 32)
    found = composed.encode(pixels, {"image_features", "image_tokens"})
    assert torch.allclose(found["image_features"], dual.encode_image(pixels), atol=1e-5)
    assert found["image_tokens"].shape[1] % composed.image_tokens == 0
    assert composed.image_tokens == 16


def test_the_image_is_read_where_the_text_says(composed):
    """The same question and answer about another image have other logits; both see as many tokens."""
    conversation = composed.conversation("what is it?", "a stone")
    placeholder = conversation.ids.mode().values
    assert (conversation.ids == placeholder).sum() == composed.image_tokens
    pixels = torch.randn(2, 3, composed.image_size, composed.image_size)
    tokens = composed.encode(pixels, {"image_tokens"})["image_tokens"]
    logits = composed.response_logits([conversation] * 2, tokens).chunk(2)
    assert not torch.allclose(*logits, atol=1e-4)
    (scores,), _ = composed.score([composed.conversation("what is it?")], ["a stone", "fur"], tokens[:1])
    given = logits[0].log_softmax(-1).gather(1, conversation.ids[conversation.response][:, None])
    assert scores[0] == pytest.approx(float(given.sum()), abs=1e-4)


def test_examples_stand_before_the_question(names):
    """Of a language model without a chat template as questions and answers, each behind an image of its own."""
    composed = load_vlm(names["plain"])
    examples = [("what is it?", "fur"), ("what is this?", "a stone")]
    side = composed.image_size
    tokens = composed.encode(torch.randn(3, 3, side, side), {"image_tokens"})["image_tokens"]
    asked = composed.conversation("what?", examples=examples)
    text = composed.tokenizer.tokenizer.decode(asked.ids).replace("<image>", "").split()
    alone = ["Q: what is it?\nA: fur\n", "Q: what is this?\nA: a stone\n", "Q: what?\nA:"]
    decode = composed.tokenizer.tokenizer.decode
    assert text == decode([token for part in alone for token in composed.tokenizer.plain(part)]).split()
    opening = composed.opening(examples, tokens[:2])
    whole = dataclasses.replace(opening, prefix=None)
    kept, plain = (composed.score([asked], ["a stone", "fur"], tokens[2:], behind=each)[0] for each in (opening, whole))
    assert torch.allclose(kept, plain, atol=1e-4)


@pytest.mark.slow
def test_the_map_alone_is_learned(names, pictures, caption_folder, tmp_path):
    model = quick(pictures, names["llava"], method="limber", settings=SETTINGS, out=tmp_path / "run")
    assert {name.partition(".")[0] for name in model.method.learned_state()} == {"map"}
    assert model.journal[-1]["cross_entropy"] < model.journal[0]["cross_entropy"]
    loaded = acclimate.load(tmp_path / "run")
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    told = acclimate.adapt(caption_folder, "limber", names["llava"], settings=SETTINGS, device="cpu")
    assert told.task.name == "captioning"


def test_what_cannot_be_composed(tiny_folders, tmp_path):
    qwen = tiny_qwen(tmp_path / "qwen")
    with pytest.raises(BackboneError, match=r"the language model of .* cannot be taken out of it"):
        load_vlm(f"{tiny_folders['clip']}+{qwen}")
    with pytest.raises(BackboneError, match="no language model folder 'nowhere'"):
        load_vlm(f"{tiny_folders['clip']}+nowhere")
