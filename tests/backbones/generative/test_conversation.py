"""Conversations: the same ids with and without exemplars and responses, and exactly the response marked."""

from __future__ import annotations

import pytest
import torch

from acclimate.errors import BackboneError

EXEMPLAR = -1


def test_exemplars_stand_behind_the_image_and_change_no_other_id(pair):
    vlm = pair.vlm
    plain, more = (vlm.conversation("what is it?", "a dog", exemplars=k) for k in (0, 3))
    assert torch.equal(more.ids[more.ids != EXEMPLAR], plain.ids)
    assert (plain.exemplars, more.exemplars) == (0, 3)
    image = pair.image_id
    places, last = (more.ids == EXEMPLAR).nonzero()[:, 0], int((more.ids == image).nonzero().max())
    assert (places[1:] - places[:-1] == 1).all()
    assert 1 <= places[0] - last <= 2  # a token may close the image
    assert int((plain.ids == image).sum()) == vlm.image_tokens


@pytest.mark.parametrize("answer", ["dog", "a large dog, brown", "x.", "no finding"])
def test_the_response_and_its_end_are_marked_and_nothing_else(pair, answer):
    vlm = pair.vlm
    prompt, whole = vlm.conversation("what is it?"), vlm.conversation("what is it?", answer)
    assert not prompt.response.any()
    assert torch.equal(whole.prompt, prompt.ids)
    assert torch.equal(whole.ids[: len(prompt)], prompt.ids)
    assert torch.equal(whole.response.nonzero()[:, 0], torch.arange(len(prompt), len(whole)))
    marked = whole.ids[whole.response].tolist()
    assert vlm.tokenizer.decode(marked) == answer
    assert marked[-1] in vlm.tokenizer.ends
    assert not set(marked[:-1]) & vlm.tokenizer.ends


def test_too_long(pair):
    with pytest.raises(BackboneError, match=r"has \d{3,} tokens \(.* the response\), and .* reads 256"):
        pair.vlm.conversation("what is it?", "land " * 300)
    with pytest.raises(BackboneError, match=r"and .* reads 256; shorten"):
        pair.vlm.conversation("what is it? " * 200)


def test_words_of_the_template_itself_are_refused(pair):
    end = pair.vlm.tokenizer.tokenizer.eos_token
    with pytest.raises(BackboneError, match=r"the instruction .* holds .* which has a meaning of its own"):
        pair.vlm.conversation(f"what {end} is it?")
    with pytest.raises(BackboneError, match=r"the response .* holds"):
        pair.vlm.conversation("what is it?", f"dog{end}")


def test_the_tokenizer_is_identified_by_what_it_does(pair):
    assert len(pair.vlm.tokenizer.fingerprint) == 32
    assert pair.vlm.identity != pair.vlm.fingerprint
