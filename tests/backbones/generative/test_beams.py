"""Beam search equals transformers' own, alone and in batches, and behind a prefix that is shared."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.tiny_vlms import VLMPair, load_vlm_pair, tiny_llava

ASKED = ["what is it?", "which kind of land use does this scene show: bare; forest?", "x", "a cat or a dog?"]


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """One whose answers end at every eighth id, so that some end early."""
    folder = tiny_llava(tmp_path_factory.mktemp("beams") / "llava")
    pair = load_vlm_pair(folder, "LlavaForConditionalGeneration", lambda *_: {})
    pair.vlm.tokenizer.ends = set(range(2, 6144, 8))
    return pair


def plain(pair: VLMPair, conversation, pixels, beams, tokens):
    """transformers' answer."""
    prompt = conversation.prompt[None]
    with torch.no_grad():
        made = pair.plain.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            pixel_values=pixels[None],
            num_beams=beams,
            do_sample=False,
            max_new_tokens=tokens,
            length_penalty=1.0,
            early_stopping=False,
            eos_token_id=sorted(pair.vlm.tokenizer.ends),
            pad_token_id=0,
        )
    return made[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize(("beams", "tokens"), [(2, 6), (3, 12), (5, 1), (5, 9)])
def test_equal_to_transformers(llava, beams, tokens):
    vlm, pixels = llava.vlm, llava.pixels(len(ASKED))
    images = vlm.encode(pixels, ["image_tokens"])["image_tokens"]
    asked = [vlm.conversation(text) for text in ASKED]
    expected = [plain(llava, one, image, beams, tokens) for one, image in zip(asked, pixels, strict=True)]
    ends = vlm.tokenizer.ends
    written = [vlm.tokenizer.decode(ids[:-1] if ids[-1] in ends else ids) for ids in expected]
    assert vlm.generate(asked, images, max_new_tokens=tokens, beams=beams) == written
    if tokens > 1:
        assert vlm.generate(asked, images, max_new_tokens=tokens) != written
        assert {ids[-1] in ends for ids in expected} == {True, False}


def test_shared_equals_alone(pair):
    """Of every family, with windows, positions and layers of its own."""
    vlm, shown = pair.vlm, [0, 1, 0, 0]
    images = vlm.encode(pair.pixels(2), ["image_tokens"])["image_tokens"]
    asked = [vlm.conversation(text) for text in ASKED]
    alone = [
        vlm.generate([one], images[i : i + 1], max_new_tokens=6, beams=3)[0]
        for one, i in zip(asked, shown, strict=True)
    ]
    assert vlm.generate(asked, images, max_new_tokens=6, shown=shown, beams=3) == alone
