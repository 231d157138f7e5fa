"""Figures of written answers: VQA accuracy with the official normalisation, and exact matches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import DataError
from acclimate.metrics.resampling import Resampled

AGREE = 3  # people who must have given an answer for it to count as fully right

_MARKS = ";:/'[]\"()=+\\_><@`,?"
_ARTICLES = frozenset(("a", "an", "the"))
_COUNTED = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED)} | {"none": "0"}
_CONTRACTIONS = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't it'd
it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't somebody'll
somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd they'll
they're they've wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's
who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_WRITTEN_OUT = {word.replace("'", ""): word for word in _CONTRACTIONS.split()} | {"twas": "'twas"}
"""What a contraction without its apostrophe reads, as far as the official table has it and text can hold it: that of
two apostrophes is never met, since these are removed before."""


def normalise_answer(text: str) -> str:
    """Return an answer as the official evaluation of VQA compares it.

    Punctuation goes, or becomes a blank within a word; so do full stops, except before a digit; words are in lower
    case, numbers up to ten are digits, articles go, and contractions get their apostrophe.
    Source: Antol et al. 2015 (arXiv 1505.00468), section 3, and its evaluation code at https://visualqa.org.

    >>> normalise_answer("The two red-brick houses.")
    '2 red-brick houses'
    >>> normalise_answer("isnt 1,000 a/b")
    "isn't 1000 ab"
    """
    words = _without_punctuation(" ".join(text.split("\n")).replace("\t", " ").strip()).lower().split()
    kept = [word for word in (_NUMBERS.get(word, word) for word in words) if word not in _ARTICLES]
    return " ".join(_WRITTEN_OUT.get(word, word) for word in kept)


def _without_punctuation(text: str) -> str:
    thousands = re.search(r"\d,\d", text) is not None
    changed = text
    for mark in _MARKS:
        apart = f"{mark} " in text or f" {mark}" in text
        changed = changed.replace(mark, "" if apart or thousands else " ")
    return re.sub(r"\.(?!\d)", "", changed)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Return how right an answer is, 0 to 1.

    Of several references, the mean over all ways to leave one of them out of min(matches / 3, 1), as in the official
    evaluation, which has ten and drops the punctuation of references that differ. With fewer than four, an answer need
    match only as many as are left. One reference is matched or not, both sides normalised.

    Args:
        answer: what was written.
        references: one answer, or one of each person who was asked.

    >>> round(vqa_accuracy("Red.", ["red"] * 2 + ["blue"] * 8), 3), vqa_accuracy("the red", ["Red"])
    (0.6, 1.0)
    """
    own = normalise_answer(answer)
    if len(references) == 1:
        return float(own == normalise_answer(references[0]))
    known = [_without_punctuation(text) for text in references] if len(set(references)) > 1 else references
    matches = np.array([text == own for text in known])
    others = matches.sum() - matches
    return float(np.minimum(others / min(AGREE, len(matches) - 1), 1.0).mean())


def exact_match(answer: str, references: Sequence[str]) -> bool:
    """Return whether an answer is one of the references, both sides normalised."""
    return normalise_answer(answer) in {normalise_answer(text) for text in references}


def evaluate_answers(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return VQA accuracy and exact match of written answers with intervals, as JSON values.

    Args:
        answers: (N,) what was written.
        references: (N,) for each of them one answer, or one of each person who was asked.
        groups: (N,); `None`, or an empty name, makes a question its own group; else questions of one image are one.
        resamples, seed, confidence: of the percentile bootstrap over groups, as in `evaluate_classification`.

    Returns:
        `vqa_accuracy` and `exact_match`, each `{"value", "low", "high"}`; `samples`; `groups`; and `most_frequent`, the
        VQA accuracy of always giving the answer that most first references have.

    Raises:
        DataError: there is no answer.

    >>> found = evaluate_answers(["red", "two"], [["Red"], ["3"]])
    >>> found["exact_match"]["value"], found["most_frequent"]
    (0.5, 0.5)
    """
    if not len(answers):
        raise DataError("there are no questions to measure answers to; give a split or a data set that has some")
    scores = {
        "vqa_accuracy": right_answers(answers, references),
        "exact_match": np.array([exact_match(*pair) for pair in zip(answers, references, strict=True)], dtype=float),
    }
    drawn = Resampled(groups, len(answers), resamples, seed, confidence)
    found: dict[str, Any] = {"samples": len(answers), "groups": drawn.groups}
    found |= {name: drawn.mean(values) for name, values in scores.items()}
    return found | {"most_frequent": _most_frequent(references)}


def right_answers(answers: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return (N,) how right each answer is, see `vqa_accuracy`; their mean is the headline."""
    return np.array([vqa_accuracy(*pair) for pair in zip(answers, references, strict=True)])


def _most_frequent(references: Sequence[Sequence[str]]) -> float:
    firsts = [normalise_answer(several[0]) for several in references]
    usual = max(sorted(set(firsts)), key=firsts.count)
    return float(right_answers([usual] * len(references), references).mean())
