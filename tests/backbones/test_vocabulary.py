"""The words of a text tower, nearest to vectors in their place."""

from __future__ import annotations

import pytest
import torch

from acclimate.backbones.vocabulary import Vocabulary


@pytest.mark.parametrize("family", ["clip", "siglip", "vit-bert-clip"])
def test_a_word_is_nearest_to_itself(family, tiny_backbones):
    backbone = tiny_backbones[family]
    vocabulary = Vocabulary.of(backbone)
    texts = [
        backbone.tokenizer.tokenizer.decode([token]).strip() for token in backbone.tokenizer.plain("cat dog river")
    ]
    found = vocabulary.nearest(backbone.word_embeddings("cat dog river") + 1e-4)
    assert [word for word, _ in found] == texts
    assert all(distance == pytest.approx(1e-4 * backbone.text_width**0.5, rel=0.01) for _, distance in found)


def test_distances_are_euclidean_and_special_tokens_are_no_words(tiny):
    vocabulary = Vocabulary(["one", "two", "three"], torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]))
    assert vocabulary.nearest(torch.tensor([[3.0, 4.4], [-3.0, -4.0]])) == [("two", pytest.approx(0.4)), ("one", 5.0)]
    assert vocabulary.spacing() == 1.0  # of 5, 1 and 1
    known = Vocabulary.of(tiny)
    assert not {*tiny.tokenizer.tokenizer.all_special_tokens} & {*known.words}
    assert all(word.strip() == word != "" for word in known.words)
