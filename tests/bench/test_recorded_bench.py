"""Figures of the baselines under results/ come out again, on the real data sets, where these are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.bench import collect, plan_bench, read_spec, run_bench
from acclimate.bench.scores import read_scores
from acclimate.data.cache import default_cache_dir
from tests.helpers.real_data import DATA, needs_real_data

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/baselines-mini.yaml"
RECORDED = ROOT / "results/baselines/results.csv"
AGAIN = {"zs-lp", "tip-adapter", "maple"}  # from features, by search, and through both towers

pytestmark = [needs_real_data, pytest.mark.slow]


class Failures:
    """Remembers what failed."""

    def __init__(self):
        self.lines = []

    def started(self, job):
        pass

    def progressed(self, job, share):
        pass

    def finished(self, job, seconds):
        pass

    def repeated(self, job, lines):
        pass

    def failed(self, job, lines):
        self.lines.append((job.describe(), lines))


def test_recorded_figures_come_out_again(tmp_path):
    """Another machine may round differently, which a few images of the test part may feel."""
    spec = read_spec(RECIPE, DATA)
    jobs = [job for job in plan_bench(spec) if job.run.data == "lithology" and job.run.seed == 1 and job.label in AGAIN]
    assert {job.label for job in jobs} == AGAIN
    failures = Failures()
    run_bench(spec, jobs, tmp_path, failures, cache_dir=default_cache_dir() / "features")
    assert not failures.lines
    recorded = {score.key: score.value for score in read_scores(RECORDED)}
    fresh = [score for score in collect(jobs, tmp_path) if score.metric in ("accuracy", "balanced_accuracy")]
    assert len(fresh) == 2 * len(jobs)
    for score in fresh:
        assert score.value == pytest.approx(recorded[score.key], abs=0.02), score


def test_the_record_is_that_of_the_recipe():
    spec = read_spec(RECIPE, DATA)
    scores = read_scores(RECORDED)
    assert {score.method for score in scores} == set(spec.labels)
    planned = {job.run for job in plan_bench(spec)}
    assert {score.run for score in scores} == planned
