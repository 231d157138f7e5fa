"""Figures of written captions beside references: CIDEr-D, BLEU and ROUGE-L, as the evaluation code of COCO has them.

COCO's code cuts sentences by Stanford's PTB tokenizer, which needs Java. `words` cuts them as it does for what captions
are made of: lower case, no punctuation, hyphenated words whole, and `n't`, `'s` and the like apart. Rarer things, such
as abbreviations with full stops and brackets, may be cut otherwise.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import DataError
from acclimate.metrics.resampling import Resampled

ORDER = 4  # words of the longest n-grams
SIGMA = 6.0  # of CIDEr-D's penalty of other lengths
BETA = 1.2  # weight of recall in ROUGE-L

Words = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+(?:[-./&'’][^\W_]+)*")
_APART = re.compile(r"(?i)(.+?)(n['’]t|['’](?:s|m|d|ll|re|ve))")


def words(sentence: str) -> Words:
    """Return the words of a sentence as they are counted.

    >>> words("A man's dog doesn't look at the half-open door.")
    ('a', 'man', "'s", 'dog', 'does', "n't", 'look', 'at', 'the', 'half-open', 'door')
    """
    found: list[str] = []
    for word in _WORD.findall(sentence.lower().replace("’", "'")):
        parted = _APART.fullmatch(word)
        found += parted.groups() if parted else (word,)
    return tuple(found)


def _ngrams(sentence: Words, most: int = ORDER) -> list[Counter[Words]]:
    """Return how often each n-gram stands in a sentence, for n = 1 to `most`."""
    return [Counter(zip(*(sentence[k:] for k in range(n)), strict=False)) for n in range(1, most + 1)]


def cider_d(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> NDArray[np.float64]:
    """Return the CIDEr-D (N,) of each caption; their mean is the figure.

    10 times the mean, over n = 1 to 4 and over the references, of the cosine of tf-idf vectors of n-grams, where those
    of the caption are clipped to those of the reference, times exp(-(difference in length)² / 72). Lengths are numbers
    of bigrams, and n-grams are rare that stand in the references of few images, so the figure depends on which images
    are measured together.
    Source: Vedantam et al. 2015 (arXiv 1411.5726), section 4; lengths and logarithms as in COCO's evaluation code.

    Args:
        candidates: (N,) captions, in words.
        references: (N,) several for each.

    >>> captions, others = [words("a red dog")], [[words("a red dog"), words("the cat")]]
    >>> float(cider_d(captions * 2, [others[0], [words("a bird sings")]])[0].round(3))
    3.75
    """
    told = [[_ngrams(one) for one in several] for several in references]
    frequency: Counter[Words] = Counter()
    for several in told:
        frequency.update({ngram for one in several for counts in one for ngram in counts})
    rarest = math.log(len(references))

    def weighed(counts: Counter[Words]) -> dict[Words, float]:
        return {ngram: count * (rarest - math.log(max(1, frequency[ngram]))) for ngram, count in counts.items()}

    found = []
    for caption, several in zip(candidates, told, strict=True):
        own = [weighed(counts) for counts in _ngrams(caption)]
        total = 0.0
        for one in several:
            penalty = math.exp(-((_bigrams(caption) - sum(one[1].values())) ** 2) / (2 * SIGMA**2))
            total += penalty * sum(_clipped(vector, weighed(counts)) for vector, counts in zip(own, one, strict=True))
        found.append(10.0 * total / ORDER / len(several))
    return np.array(found)


def _bigrams(sentence: Words) -> int:
    return max(len(sentence) - 1, 0)


def _clipped(own: dict[Words, float], other: dict[Words, float]) -> float:
    """Return the cosine of two vectors, the first clipped to the second."""
    product = sum(min(value, other[ngram]) * other[ngram] for ngram, value in own.items() if ngram in other)
    size = math.sqrt(sum(v * v for v in own.values())) * math.sqrt(sum(v * v for v in other.values()))
    return product / size if size else 0.0


def rouge_l(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> NDArray[np.float64]:
    """Return the ROUGE-L (N,) of each caption; their mean is the figure.

    With the longest common subsequence as a share P of the caption and R of a reference, the best of each over the
    references: (1 + 1.44) P R / (R + 1.44 P).
    Source: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, section 3; as in COCO's evaluation code.

    >>> float(rouge_l([words("a dog runs")], [[words("a brown dog runs"), words("it runs")]])[0].round(3))
    0.836
    """
    found = []
    for caption, several in zip(candidates, references, strict=True):
        common = [(_common(caption, one), len(one)) for one in several]
        p = max(length for length, _ in common) / max(len(caption), 1)
        r = max(length / max(size, 1) for length, size in common)
        found.append((1 + BETA**2) * p * r / (r + BETA**2 * p) if p and r else 0.0)
    return np.array(found)


def _common(first: Words, second: Words) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]


def bleu_counts(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> NDArray[np.float64]:
    """Return what BLEU sums for each caption (N, 2 * 4 + 2).

    Matched n-grams, clipped to the most that one reference has, and n-grams, for n = 1 to 4; then its length, and that
    of the reference nearest to it.
    """
    rows = []
    for caption, several in zip(candidates, references, strict=True):
        matched, made = [], []
        others = [_ngrams(one) for one in several]
        for n, counts in enumerate(_ngrams(caption)):
            most: Counter[Words] = Counter()
            for one in others:
                most |= one[n]
            matched.append(sum((counts & most).values()))
            made.append(sum(counts.values()))
        near = min((abs(len(one) - len(caption)), len(one)) for one in several)[1]
        rows.append([*matched, *made, len(caption), near])
    return np.array(rows, dtype=np.float64)


def bleu(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return BLEU-1 to BLEU-4 (..., 4) of sums (..., 10) of `bleu_counts` over captions.

    The geometric mean of the shares of n-grams up to n that match, times exp(1 - reference length / length) where the
    captions are shorter. Source: Papineni et al. 2002, BLEU, section 2.3.

    >>> counts = bleu_counts([words("a dog runs on grass")], [[words("a dog runs on the grass")]])
    >>> bleu(counts.sum(0)).round(3).tolist()
    [0.819, 0.709, 0.65, 0.579]
    """
    matched, made, length, wanted = sums[..., :ORDER], sums[..., ORDER : 2 * ORDER], sums[..., -2], sums[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(made > 0, matched / made, 0.0))
        short = np.where(length < wanted, np.where(length > 0, 1.0 - wanted / length, -np.inf), 0.0)
    return np.exp(np.cumsum(logs, axis=-1) / np.arange(1, ORDER + 1) + short[..., None])


def caption_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return the CIDEr-D (N,) of each of some captions, of sentences as they were written."""
    return cider_d([words(text) for text in captions], [[words(text) for text in several] for several in references])


def evaluate_captions(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str] | None = None,
    *,
    judged: Mapping[str, NDArray[np.float64]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return CIDEr-D, BLEU-1 to BLEU-4 and ROUGE-L of captions with intervals, as JSON values.

    Args:
        captions: (N,) what was written about each image.
        references: (N,) one or more sentences about each.
        groups: (N,); `None`, or an empty name, makes an image its own group.
        judged: what a dual encoder says of each caption (N,), see `clip_score` and `ref_clip_score`, by name.
        resamples, seed, confidence: of the percentile bootstrap over groups, as in `evaluate_classification`; how rare
            n-grams are is taken from all images.

    Returns:
        `cider_d`, `bleu_1` to `bleu_4` and `rouge_l`, and means of what is `judged`, each
        `{"value", "low", "high"}`; `samples`; `groups`; and `words`, the mean length of a caption.

    Raises:
        DataError: there is no image, or one without a reference.
    """
    if not len(captions):
        raise DataError("there are no images to measure captions of; give a split or a data set that has some")
    if not all(len(several) for several in references):
        raise DataError("an image has no reference to measure its caption by; give it one, or leave it out")
    own, told = [words(text) for text in captions], [[words(text) for text in several] for several in references]
    drawn, length = Resampled(groups, len(own), resamples, seed, confidence), np.mean([len(one) for one in own])
    found: dict[str, Any] = {"samples": len(own), "groups": drawn.groups, "words": float(length)}
    found |= {"cider_d": drawn.mean(cider_d(own, told)), "rouge_l": drawn.mean(rouge_l(own, told))}
    found |= {name: drawn.mean(values) for name, values in (judged or {}).items()}
    counts = bleu_counts(own, told)
    by_group = np.zeros((drawn.groups, counts.shape[1]))
    np.add.at(by_group, drawn.index, counts)
    all_at_once, several = bleu(by_group.sum(0)), bleu(drawn.weights @ by_group)
    found |= {f"bleu_{n + 1}": drawn.figure(all_at_once[n], several[:, n]) for n in range(ORDER)}
    return found
