"""Questions behind in-context examples, whose prefix runs once, are answered as in one whole pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from acclimate.errors import BackboneError
from tests.helpers.tensors import close

EXAMPLES = (("what is it?", "a dog"), ("is there a river?", "no"))
ASKED = ["what is it?", "which kind of land use is it?", "a cat?", "x"]
SHOWN = [0, 1, 0, 0]


def several(pair):
    """The model, unless its family reads one image."""
    if pair.vlm.family == "paligemma":
        with pytest.raises(BackboneError, match="paligemma reads one image"):
            pair.vlm.conversation("x", examples=EXAMPLES)
        pytest.skip("reads one image")
    return pair.vlm


def fitting(vlm):
    """As many examples as the tiny context has room for."""
    return EXAMPLES[-1:] if vlm.image_tokens > 40 else EXAMPLES


def case(pair, k):
    vlm = several(pair)
    images = vlm.encode(pair.pixels(4), ["image_tokens"])["image_tokens"]
    more = torch.randn(4, k, vlm.token_width, generator=torch.Generator().manual_seed(1)) if k else None
    examples = fitting(vlm)
    told = [vlm.conversation(text, exemplars=k, examples=examples) for text in ASKED]
    first = slice(2 - len(examples), 2)
    opening = vlm.opening(examples, images[first], None if more is None else more[first])
    return vlm, told, opening, images[2:], None if more is None else more[2:]


@pytest.mark.parametrize("k", [0, 2])
def test_kept_equals_whole(pair, k):
    vlm, told, opening, images, more = case(pair, k)
    whole = replace(opening, prefix=None)  # what families do that cannot go on with an image
    answers = ["dog", "a large dog"]
    expected, _ = vlm.score(told, answers, images, more, SHOWN, whole)
    for _ in range(2):  # what is kept stays as it is
        found, _ = vlm.score(told, answers, images, more, SHOWN, opening)
        close(found, expected, 1e-5 * max(1.0, float(expected.abs().max())))
    how = {"max_new_tokens": 5, "shown": SHOWN}
    assert vlm.generate(told, images, more, behind=opening, **how) == vlm.generate(
        told, images, more, behind=whole, **how
    )
    plain = [vlm.conversation(text, exemplars=k) for text in ASKED]
    assert (vlm.score(plain, answers, images, more, SHOWN)[0] - expected).abs().max() > 1e-3


def test_logits_equal_those_of_transformers(llava):
    """Three images in one conversation."""
    vlm, told, opening, images, _ = case(llava, 0)
    pixels = llava.pixels(4)
    for number, text in enumerate(ASKED[:2]):
        whole = vlm.conversation(text, "a dog", examples=EXAMPLES)
        with torch.no_grad():
            shown = torch.stack([pixels[0], pixels[1], pixels[2 + SHOWN[number]]])
            logits = llava.plain(input_ids=whole.ids[None], pixel_values=shown).logits[0].float()
        states = vlm.prompt_states(told[number : number + 1], images[[SHOWN[number]]], behind=opening)
        prompt = int((~whole.response).sum())
        head = llava.plain.get_output_embeddings()
        close(head(states)[0].detach(), logits[prompt - 1], 1e-5 * max(1.0, float(logits.abs().max())))


def test_examples_run_once(llava):
    vlm, told, opening, images, _ = case(llava, 0)
    read = []
    hook = vlm.model.get_input_embeddings().register_forward_hook(lambda _, args, out: read.append(args[0].shape[1]))
    vlm.generate(told, images, max_new_tokens=1, shown=SHOWN, behind=opening)
    hook.remove()
    assert max(read) < len(told[0]) - 2 * vlm.image_tokens


def test_turns_and_vectors(pair):
    vlm = several(pair)
    examples = fitting(vlm)
    asked = vlm.conversation("which?", "a cat", exemplars=2, examples=examples)
    assert asked.exemplars == (1 + len(examples)) * 2
    assert int((asked.ids == pair.image_id).sum()) == (1 + len(examples)) * vlm.image_tokens
    text = vlm.tokenizer.tokenizer.decode(asked.ids[asked.ids >= 0])
    places = [text.index(word) for word in [*(word for pair in examples for word in pair), "which?", "a cat"]]
    assert places == sorted(places)


def test_too_many_examples_are_refused_with_their_tokens(llava):
    with pytest.raises(BackboneError, match=r"a conversation has \d+ tokens .*16 examples.*; take fewer examples"):
        llava.vlm.conversation("what is it?", examples=EXAMPLES * 8)
    with pytest.raises(BackboneError, match="the answer of an example '<image>' holds"):
        llava.vlm.conversation("what is it?", examples=[("x", "<image>")])
