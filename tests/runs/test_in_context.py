"""In-context examples: drawn from the training images of a run, kept with it, and shown before every question."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import acclimate
from acclimate.data import load_questions
from acclimate.errors import BackboneError, ConfigError
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.runs import quick


def learn(data, vlm, method="vlm-zero-shot", examples=2, seed=1, **options):
    settings = {"examples": examples} | options.pop("settings", {})
    return acclimate.adapt(data, method, vlm, settings=settings, shots="all", seed=seed, device="cpu", **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory, asked, vlm):
    out = tmp_path_factory.mktemp("examples") / "run"
    return out, learn(asked, vlm, out=out)


def test_they_are_training_images_with_their_answers(run, asked, vlm):
    method, train = run[1].method, load_questions(asked).train
    lessons = method.examples.lessons
    assert len(lessons) == 2
    known = {(question.lesson, path) for question, path in zip(train.questions, train.paths, strict=True)}
    tokens = method.examples.batch.image_tokens
    shown = []
    for lesson, row in zip(lessons, tokens, strict=True):
        for path in {path for own, path in known if own == lesson}:
            pixels = vlm.transform.normalise(vlm.transform(train.image(train.paths.index(path))))[None]
            if torch.allclose(vlm.encode(pixels, ["image_tokens"])["image_tokens"][0], row, atol=1e-5):
                shown.append(path)
    assert len(set(shown)) == 2
    again, other = learn(asked, vlm), learn(asked, vlm, seed=2)
    assert again.method.examples.lessons == lessons
    assert not torch.equal(other.method.examples.batch.image_tokens, tokens)


def test_answers_are_those_of_whole_conversations(run, asked, vlm):
    method, data = run[1].method, load_questions(asked).test
    batch = evaluation_feed(method.inputs.prediction, data, Given(vlm)).batch(torch.arange(6))
    texts, kept = [question.text for question in data.questions[:6]], method.examples
    told = [vlm.conversation(text, examples=kept.lessons) for text in texts]
    images = torch.cat([kept.batch.image_tokens.reshape(1, -1).expand(6, -1), batch.image_tokens], dim=1)
    assert method.generate(batch, texts, 5) == vlm.generate(told, images, max_new_tokens=5)
    assert method.generate(batch, texts, 5) != vlm.generate(
        [vlm.conversation(text) for text in texts], batch.image_tokens, max_new_tokens=5
    )


def test_loaded_elsewhere_it_predicts_the_same(run, asked, vlm):
    out, model = run
    assert model.method.learned_parameters() == 0
    assert {"examples.texts", "examples.image_tokens"} == load_file(out / "adapter.safetensors").keys()
    data, loaded = load_questions(asked).test, acclimate.load(out, vlm)
    assert loaded.method.examples.lessons == model.method.examples.lessons
    assert loaded.evaluate(data)["vqa_accuracy"] == model.record["metrics"]["vqa_accuracy"]
    assert loaded.ask(data.paths[0], "what is it?", 5) == model.ask(data.paths[0], "what is it?", 5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["instruct", "limber"])
def test_what_is_learned_stays_the_same(asked, vlm, method, tmp_path):
    """K changes prediction alone; examples pass through what was learned."""
    few = {"epochs": 2, "lr": 0.02, "batch_size": 8} | ({"rank": 2} if method == "instruct" else {})
    without, kept = (learn(asked, vlm, method, k, settings=few, out=tmp_path / str(k)) for k in (0, 2))
    state = kept.method.learned_state()
    for name, tensor in without.method.learned_state().items():
        assert torch.equal(tensor, state[name])
    assert kept.method.learned_parameters() == without.method.learned_parameters()
    data = load_questions(asked).test
    assert acclimate.load(tmp_path / "2", vlm).evaluate(data) == kept.evaluate(data)


@pytest.mark.slow
def test_captions(caption_folder, vlm):
    model = learn(caption_folder, vlm, examples=1)
    (lesson,) = model.method.examples.lessons
    assert lesson.asked == model.method.asks_for_captions
    assert model.record["metrics"]["samples"] == 6


def test_what_cannot_be_shown(asked, pictures, vlm):
    with pytest.raises(ConfigError, match="examples=64, and there are 12 training images"):
        learn(asked, vlm, examples=64)
    with pytest.raises(
        BackboneError, match=r"a conversation has \d+ tokens .* behind 12 examples .*take fewer examples"
    ):
        learn(asked, vlm, examples=12)
    with pytest.raises(ConfigError, match="examples=1 stand before questions and captions"):
        quick(pictures, vlm, method="vlm-zero-shot", settings={"examples": 1})
    with pytest.raises(ConfigError, match="image_shape=own and examples=1"):
        learn(asked, vlm, examples=1, settings={"image_shape": "own"})
