"""The words of a text tower, and which of them are nearest to vectors that were learned in their place.

Zhou et al. 2022, CoOp (arXiv 2109.01134), table 4: the Euclidean distance of embeddings. Where a learned vector lies
further from every word than words lie from each other, the nearest word says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from acclimate.backbones.dual_encoder import DualEncoder

SAMPLED = 500  # words whose distance to the nearest other word is measured


class Vocabulary:
    """The words that a tokenizer knows, special tokens and broken characters left out.

    Attributes:
        words: V texts.
        vectors: (V, D) their embeddings, without positions.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor) -> None:
        self.words, self.vectors = list(words), vectors.float()

    @classmethod
    def of(cls, encoder: DualEncoder) -> Vocabulary:
        """Return that of a dual encoder."""
        tokenizer = encoder.tokenizer.tokenizer
        left_out = set(tokenizer.all_special_ids)
        known = sorted(set(tokenizer.get_vocab().values()) - left_out)
        written = dict(zip(known, tokenizer.batch_decode([[token] for token in known]), strict=True))
        kept = {token: word.strip() for token, word in written.items() if word.strip() and "\ufffd" not in word}
        ids = torch.tensor(list(kept), dtype=torch.long, device=encoder.device)
        return cls(list(kept.values()), encoder._family.embed_tokens(ids).detach())

    def nearest(self, vectors: Tensor) -> list[tuple[str, float]]:
        """Return the nearest word to each vector (n, D), and its distance."""
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(vectors.detach().to(self.vectors), self.vectors, compute_mode=exact)
        least, places = distances.min(dim=1)
        return [(self.words[place], distance) for place, distance in zip(places.tolist(), least.tolist(), strict=True)]

    def spacing(self) -> float:
        """Return how far a word is from the nearest other one: the median of a sample, evenly chosen."""
        step = -(-len(self.words) // SAMPLED)
        between = torch.cdist(self.vectors[::step], self.vectors)
        between[torch.arange(len(between)), torch.arange(0, len(self.words), step)] = torch.inf
        return float(between.min(dim=1).values.median())
