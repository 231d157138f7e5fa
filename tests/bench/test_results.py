"""What a bench leaves behind, from figures made by hand."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from acclimate.bench import Outcome, check_choice, write_results
from acclimate.bench.results import comparisons, main_tables
from acclimate.bench.scores import Score, read_scores
from acclimate.bench.spec import Contender, Spec, Suite
from acclimate.errors import ConfigError, RunError
from acclimate.protocols import FewShot
from tests.helpers.benches import make_job

METHODS = ("zero-shot", "coop", "linear-probe")


@pytest.fixture
def read():
    """A spec of three methods; nobody runs it."""
    suite = Suite(FewShot(), ("animals",), (16,), (1, 2), tuple(Contender(name, name) for name in METHODS))
    return Spec("By hand", ("mini-clip",), {}, (suite,), reference="zero-shot")


def outcome(*without, metric="balanced_accuracy"):
    """Two seeds of each method with a figure of their own, but for (method, seed)s that have none."""
    jobs = [make_job(method, seed) for method in METHODS for seed in (1, 2)]
    found = [
        Score(**job.run._asdict(), column="test", metric=metric, value=0.5 + number / 100)
        for number, job in enumerate(jobs)
        if (job.label, job.run.seed) not in without
    ]
    return Outcome(jobs, found)


def test_the_files(read, tmp_path):
    given = outcome()
    files = write_results(read, given, tmp_path)
    names = ["results.csv", "results.md", "results.tex", "tables/few-shot-last-step-mini-clip-16-balanced-accuracy.csv"]
    assert [str(file.relative_to(tmp_path)) for file in files] == names
    assert sorted(score.value for score in read_scores(files[0])) == sorted(score.value for score in given.scores)
    page = files[1].read_text()
    assert page.startswith("## By hand\n\n**few-shot, 16 shots, mini-clip")
    assert "| linear-probe | **54.5 ± 0.7** |" in page
    assert "Against zero-shot" in page
    assert r"\textbf{54.5 $\pm$ 0.7}" in files[2].read_text()
    rows = list(csv.reader(files[3].open()))
    assert rows[0] == ["method", "animals mean", "animals sd", "animals n"]
    assert [row[0] for row in rows[1:]] == list(METHODS)
    assert not list(tmp_path.rglob(".*"))


def test_a_missing_job_shows_in_its_cell(read, tmp_path):
    """Also where a seed, or a method, has no result at all."""
    (table,) = main_tables(read, outcome(("coop", 2), ("linear-probe", 1), ("linear-probe", 2)), "balanced_accuracy")
    cells = {row.method: row.cells[0] for row in table.rows}
    assert {name: (cell.n, cell.expected) for name, cell in cells.items()} == {
        "zero-shot": (2, 2),
        "coop": (1, 2),
        "linear-probe": (0, 2),
    }
    nobody_has_seed_2 = outcome(*((method, 2) for method in METHODS))
    (table,) = main_tables(read, nobody_has_seed_2, "balanced_accuracy")
    assert {(row.cells[0].n, row.cells[0].expected) for row in table.rows} == {(1, 2)}


def test_nothing_is_done_yet(read, tmp_path):
    files = write_results(read, Outcome(outcome().jobs, []), tmp_path)
    assert [file.name for file in files] == ["results.csv", "results.md", "results.tex"]
    assert files[1].read_text() == "## By hand\n\nNo job is done yet.\n"
    assert read_scores(files[0]) == []


def test_another_metric_and_reference(read, tmp_path):
    both = outcome()
    both.scores += outcome(metric="ece").scores
    files = write_results(read, both, tmp_path, "ece", "coop")
    assert files[3].name == "few-shot-last-step-mini-clip-16-ece.csv"
    page = files[1].read_text()
    assert page.index("ECE") < page.index("balanced accuracy")
    assert "Against coop: ECE" in page
    assert [each.a for each in comparisons(read, both, "ece", "coop")] == ["zero-shot", "linear-probe"]


def test_what_was_asked_for_or_what_the_spec_says(read):
    assert check_choice(read, None, None) == ("balanced_accuracy", "zero-shot")
    assert check_choice(read, "nll", "coop") == ("nll", "coop")
    with pytest.raises(ConfigError, match="no metric 'acuracy'"):
        check_choice(read, "acuracy", None)
    with pytest.raises(
        ConfigError, match=r"no method is labelled 'copo'; did you mean 'coop'\? \(methods: zero-shot, "
    ):
        check_choice(read, None, "copo")


def test_no_comparison_without_figures_that_count(read, tmp_path):
    assert comparisons(read, outcome(), "balanced_accuracy", None) == []
    none = outcome(("zero-shot", 1), ("zero-shot", 2))
    assert comparisons(read, none, "balanced_accuracy", "zero-shot") == []
    oracle = Outcome(none.jobs, [replace(score, selection="oracle") for score in outcome().scores])
    assert comparisons(read, oracle, "balanced_accuracy", "zero-shot") == []
    write_results(read, oracle, tmp_path)
    assert "Against" not in (tmp_path / "results.md").read_text()


def test_each_table_has_a_file_of_its_own(read, tmp_path):
    """Whatever the backbones are called, and however long."""
    names = ["models/a", "other/a", "x" * 300 + "/b"]
    scores = [replace(score, backbone=name) for score in outcome().scores for name in names]
    files = write_results(replace(read, backbones=tuple(names)), Outcome([], scores), tmp_path)[3:]
    assert len({file.name for file in files}) == len(files) == 3
    assert all("models" not in file.name and len(file.name) < 250 for file in files)
    long = [replace(score, data="d" * 300, protocol="base-to-novel", trial="d") for score in outcome().scores]
    write_results(read, Outcome([], long), tmp_path)


def test_results_that_cannot_be_written(read, tmp_path):
    (tmp_path / "results.md").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*results\.md"):
        write_results(read, outcome(), tmp_path)


def test_the_same_results_give_the_same_files(read, tmp_path):
    """In whatever order jobs finish."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    given = outcome()
    one = write_results(read, given, tmp_path / "a")
    two = write_results(read, Outcome(given.jobs[::-1], given.scores[::-1]), tmp_path / "b")
    assert [file.read_text() for file in one] == [file.read_text() for file in two]
    assert json.dumps([file.name for file in one]) == json.dumps([file.name for file in two])
