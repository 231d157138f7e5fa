"""Scores for tests, from what matters in each."""

from __future__ import annotations

from acclimate.bench.scores import Score

USUAL = {
    "protocol": "few-shot",
    "selection": "last-step",
    "backbone": "mini-clip",
    "data": "aid",
    "column": "test",
    "method": "coop",
    "shots": "16",
    "seed": 1,
    "metric": "accuracy",
}


def score(value=0.5, **given):
    known = {**USUAL, **given}
    return Score(**{"trial": known["data"], **known}, value=value)


def seeds(values, **given):
    """One score for each value; the seeds count from 1."""
    return [score(value, seed=seed, **given) for seed, value in enumerate(values, start=1)]
