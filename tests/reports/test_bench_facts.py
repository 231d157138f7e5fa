"""Reports of a bench: its tables, and every method beside one of them."""

from __future__ import annotations

import html

import pytest

from acclimate.bench.scores import Score, write_scores
from acclimate.errors import RunError
from acclimate.reports import write_report
from acclimate.reports.bench_facts import describe_bench
from tests.helpers.command import acclimate as command

METHODS = {"linear-probe": 0.50, "<b>mine</b>": 0.62, "worse": 0.47}


@pytest.fixture
def bench(tmp_path):
    """Three methods on two data sets, two seeds each."""
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "results.md").write_text("## Three <i>methods</i>\n\n| a table |\n")
    scores = [
        Score("few-shot", "last-step", "mini-clip", data, data, "test", method, "16", seed, metric, value)
        for data, gain in (("one", 0.0), ("two", 0.1))
        for method, accuracy in METHODS.items()
        for seed in (1, 2)
        for metric, value in (("accuracy", accuracy + gain + 0.01 * seed), ("nll", 2.0 - accuracy))
    ]
    write_scores(folder / "results.csv", scores)
    return folder


def test_every_method_is_compared_with_the_linear_probe(bench):
    found = describe_bench(bench)
    assert (found["title"], found["reference"]) == ("Three <i>methods</i>", "linear-probe")
    rows = {row["name"]: row for row in found["against"]}
    assert {name: row["mean"] for name, row in rows.items()} == {"<b>mine</b>": "+12.0", "worse": "-3.0"}
    assert rows["<b>mine</b>"]["place"] == pytest.approx(1.0)
    assert rows["worse"]["place"] == pytest.approx(-0.25)
    assert (rows["<b>mine</b>"]["better"], rows["worse"]["better"]) == (True, False)
    assert rows["worse"]["counts"] == "0 / 0 / 2"
    (table,) = found["tables"]
    assert table["head"] == ["one", "two", "mean"]
    cells = {row["name"]: [cell["text"] for cell in row["cells"]] for row in table["rows"]}
    assert cells["linear-probe"] == ["51.5 ± 0.7", "61.5 ± 0.7", "56.5 ± 0.7"]
    assert [row["name"] for row in table["rows"] if row["cells"][0]["best"]] == ["<b>mine</b>"]


def test_of_losses_the_lower_one_is_better(bench):
    rows = {row["name"]: row for row in describe_bench(bench, "nll", "worse")["against"]}
    assert rows["<b>mine</b>"]["better"]
    assert rows["<b>mine</b>"]["place"] == pytest.approx(-1.0)


def test_the_page_shows_names_as_they_are(bench, tmp_path):
    text = write_report([bench], tmp_path / "bench.html").read_text()
    assert "<b>mine" not in text
    assert "<i>methods" not in text
    assert "<b>mine</b>" in html.unescape(text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--metric", "recall"), "has accuracy, nll; name one of these"),
        (("--against", "mine"), "has <b>mine</b>, linear-probe, worse; name one of these"),
    ],
)
def test_what_the_bench_does_not_have_is_refused(bench, words, told):
    done = command("report", bench, *words)
    assert done.code == 2
    assert told in " ".join(done.err.split())


def test_a_bench_without_results_is_refused(tmp_path):
    write_scores(tmp_path / "results.csv", [])
    with pytest.raises(RunError, match="no result yet"):
        write_report([tmp_path], tmp_path / "page.html")
