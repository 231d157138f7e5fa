"""Every family equals transformers' own forward with pixels, and its passes over many equal those over one."""

from __future__ import annotations

import pytest
import torch

from acclimate.errors import BackboneError
from tests.helpers.tensors import close

ASKED = [("what is it? cat; dog", "a dog"), ("which kind of land use does this scene show?", "bare land, dry")]


def conversations(vlm, exemplars=0):
    return [vlm.conversation(*words, exemplars=exemplars) for words in ASKED]


def tokens(pair, count=2, seed=0):
    return pair.vlm.encode(pair.pixels(count, seed), ["image_tokens"])["image_tokens"]


def exemplars(vlm, count=2, k=1, seed=1):
    return torch.randn(count, k, vlm.token_width, generator=torch.Generator().manual_seed(seed))


def test_logits_equal_those_of_transformers(pair):
    pixels, asked = pair.pixels(2), conversations(pair.vlm)
    plain = []
    for conversation, image in zip(asked, pixels, strict=True):
        places = conversation.response.nonzero()[:, 0]
        plain.append(pair.plain_logits(conversation, image)[places - 1])
    ours = pair.vlm.response_logits(asked, tokens(pair))
    assert ours.dtype == torch.float32
    assert ours.abs().max() > 0.1
    close(ours, torch.cat(plain), 1e-5 * max(1.0, float(ours.abs().max())))


@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_batch_equals_separate_passes(pair, k):
    vlm, images, asked = pair.vlm, tokens(pair), conversations(pair.vlm, k)
    assert len(asked[0]) != len(asked[1])
    more = exemplars(vlm, k=k) if k else None
    one_by_one = [
        vlm.response_logits([asked[i]], images[i : i + 1], None if more is None else more[i : i + 1]) for i in (0, 1)
    ]
    close(vlm.response_logits(asked, images, more), torch.cat(one_by_one), 1e-5)


def test_an_exemplar_changes_the_logits_and_another_one_changes_them_again(pair):
    vlm, images = pair.vlm, tokens(pair)
    none = vlm.response_logits(conversations(vlm), images)
    first, second = (vlm.response_logits(conversations(vlm, 1), images, exemplars(vlm, seed=s)) for s in (1, 2))
    assert (first - none).abs().max() > 1e-3
    assert (first - second).abs().max() > 1e-3
    assert torch.equal(none, vlm.response_logits(conversations(vlm), images))


def test_an_image_changes_the_logits(pair):
    asked = conversations(pair.vlm)
    first, second = (pair.vlm.response_logits(asked, tokens(pair, seed=s)) for s in (0, 1))
    assert (first - second).abs().max() > 1e-3


def test_gradients_reach_exemplars_and_image_tokens_alone(pair):
    vlm = pair.vlm
    images, more = tokens(pair).requires_grad_(), exemplars(vlm).requires_grad_()
    vlm.response_logits(conversations(vlm, 1), images, more).square().mean().backward()
    assert images.grad.abs().sum(1).min() > 0
    assert more.grad.abs().sum(-1).min() > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in vlm.model.parameters())


def test_scores_equal_those_of_full_passes(pair):
    vlm, images, more = pair.vlm, tokens(pair), exemplars(pair.vlm, k=2)
    answers = ["dog", "a large dog", "bare land", "x"]
    for k, extra in ((0, None), (2, more)):
        asked = [vlm.conversation(words, exemplars=k) for words, _ in ASKED]
        totals, counts = vlm.score(asked, answers, images, extra)
        for column, answer in enumerate(answers):
            full = [vlm.conversation(words, answer, exemplars=k) for words, _ in ASKED]
            logits = vlm.response_logits(full, images, extra).log_softmax(-1)
            targets = torch.cat([c.ids[c.response] for c in full])
            found = logits.gather(1, targets[:, None])[:, 0].view(2, -1)
            assert found.shape[1] == counts[column]
            close(totals[:, column], found.sum(1).detach(), 1e-4)


def test_scores_in_many_chunks(pair, monkeypatch):
    vlm, images = pair.vlm, tokens(pair)
    asked, answers = conversations(vlm), ["dog", "a large dog", "bare land", "x"]
    whole, _ = vlm.score(asked, answers, images)
    monkeypatch.setattr("acclimate.backbones.generative.answering.LOGITS", 1)
    close(vlm.score(asked, answers, images)[0], whole, 1e-4)


def test_answers_written_together_equal_those_written_alone(pair):
    vlm, images, more = pair.vlm, tokens(pair, 3), exemplars(pair.vlm, 3)
    asked = [vlm.conversation(words, exemplars=1) for words in ("what is it?", "which of them: cat, dog, land?", "x")]
    together = vlm.generate(asked, images, more, max_new_tokens=5)
    alone = [vlm.generate([asked[i]], images[i : i + 1], more[i : i + 1], 5)[0] for i in range(3)]
    assert together == alone
    assert any(together)


def test_the_first_written_token_is_the_most_probable_one(pair):
    vlm, images = pair.vlm, tokens(pair)
    asked = [vlm.conversation(words) for words, _ in ASKED]
    states = vlm.prompt_states(asked, images)
    assert states.shape == (2, vlm.token_width)
    close(states, vlm.prompt_states(conversations(vlm), images), 0)
    for row, conversation in enumerate(asked):
        logits = pair.plain_logits(conversation, pair.pixels(2)[row])[-1]
        written = vlm.generate([conversation], images[row : row + 1], max_new_tokens=1)[0]
        first = int(logits.argmax())
        assert written == ("" if first in vlm.tokenizer.ends else vlm.tokenizer.decode([first]))


def test_features(pair):
    vlm, pixels = pair.vlm, pair.pixels(2)
    found = vlm.encode(pixels, vlm.widths)
    assert {kind: value.shape[1] for kind, value in found.items()} == dict(vlm.widths)
    assert not any(value.requires_grad for value in found.values())
    rows = found["image_tokens"].view(2, vlm.image_tokens, -1)[..., : vlm.token_width]
    close(found["connected_features"], rows.mean(1), 1e-5)
    assert vlm.encode(pixels[:0], vlm.widths)["image_tokens"].shape == (0, vlm.widths["image_tokens"])
    with pytest.raises(BackboneError, match="takes pixels of shape"):
        vlm.encode(torch.zeros(1, 3, 7, 7), ["image_features"])
    with pytest.raises(BackboneError, match="gives no 'pooled_features'"):
        vlm.encode(pixels, ["pooled_features"])


def test_the_vision_tower_runs_once_whatever_is_asked_for(pair):
    inner = pair.vlm.model.model
    tower = next(getattr(inner, name) for name in ("vision_tower", "vision_model", "visual") if hasattr(inner, name))
    runs = []
    hook = tower.register_forward_hook(lambda *_: runs.append(1))
    images = pair.vlm.encode(pair.pixels(2), pair.vlm.widths)["image_tokens"]
    asked = conversations(pair.vlm)
    pair.vlm.response_logits(asked, images)
    pair.vlm.score(asked, ["a", "b"], images)
    hook.remove()
    assert len(runs) == 1


def test_other_vectors_in_place_of_the_image(pair):
    vlm = pair.vlm
    asked = [vlm.conversation(*words, image_tokens=3) for words in ASKED]
    vectors = torch.randn(2, 3, vlm.token_width)
    logits = vlm.response_logits(asked, vectors)
    close(logits[: int(asked[0].response.sum())], vlm.response_logits(asked[:1], vectors[:1]), 1e-5)
    assert (logits - vlm.response_logits(asked, vectors.flip(0))).abs().max() > 1e-3


def test_what_does_not_fit_is_refused(pair):
    vlm, images, asked = pair.vlm, tokens(pair), conversations(pair.vlm)
    with pytest.raises(BackboneError, match="1 images for 2 conversations"):
        vlm.response_logits(asked, images[:1])
    with pytest.raises(BackboneError, match="image tokens for the"):
        vlm.response_logits([vlm.conversation("x", "y", image_tokens=1)], images[:1])
    with pytest.raises(BackboneError, match=r"places for \[0\] exemplars"):
        vlm.response_logits(asked, images, exemplars(vlm))
    with pytest.raises(BackboneError, match=r"places for \[1\] exemplars"):
        vlm.response_logits(conversations(vlm, 1), images)
    with pytest.raises(BackboneError, match=r"and .* reads 256; shorten"):
        vlm.generate(asked, images, max_new_tokens=250)


def test_nothing_of_nothing(pair):
    vlm, images = pair.vlm, tokens(pair)[:0]
    assert vlm.response_logits([], images).shape == (0, vlm.vocabulary)
    assert vlm.generate([], images) == []
    assert vlm.score([], ["a"], images)[0].shape == (0, 1)
    assert vlm.prompt_states([], images).shape == (0, vlm.token_width)
