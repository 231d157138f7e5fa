from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.bench import rendering
from acclimate.bench.comparison import compare_all
from acclimate.bench.tables import make_tables
from acclimate.spreadsheets import from_text
from tests.helpers.measured import score, seeds

NASTY = r"a|b_c & 50% #1 $x$ {y} ~^\ <z> *bold* [w] `q`"


def one(scores, methods=(), planned=None):
    (table,) = make_tables(scores, methods, planned)
    return table


@pytest.fixture
def small():
    scores = [
        *seeds([0.7, 0.72, 0.74], method="coop"),
        *seeds([0.6, 0.62], method="probe"),
        *seeds([0.5, 0.5, 0.5], method="zero-shot"),
        *seeds([0.2, 0.3, 0.1], method="coop", data="pacs"),
        *seeds([None, None, None], method="probe", data="pacs"),
        *seeds([0.4, 0.4, 0.4], method="zero-shot", data="pacs"),
    ]
    return one(scores, ["zero-shot", "probe", "coop", "broken"])


def test_terminal_rows(small):
    assert rendering.terminal(small) == [
        ["method", "aid", "pacs", "mean"],
        ["zero-shot", "50.0 ± 0.0", "* 40.0 ± 0.0", "45.0 ± 0.0"],
        ["probe", "61.0 ± 1.4 (2 of 3)", "–", "–"],
        ["coop", "* 72.0 ± 2.0", "20.0 ± 10.0", "* 46.0 ± 4.6"],
        ["broken", "(0 of 3)", "(0 of 3)", "(0 of 3)"],
    ]


def test_the_legend_explains_what_is_there(small):
    assert rendering.legend(small, "with *") == (
        "mean ± sd over 3 seeds; best of each column with *; (k of n): only k of n seeds have a result, not in the "
        "running for best; –: the method cannot serve this column"
    )
    assert rendering.legend(one([score()]), "with *") == "one seed"


def test_what_was_not_planned_is_empty_and_seeds_may_differ():
    scores = [*seeds([0.5] * 2, method="a"), *seeds([0.5] * 3, method="b"), *seeds([0.5] * 3, method="a", data="pacs")]
    table = one(scores, planned=[])
    assert rendering.terminal(table)[1:] == [
        ["a", "* 50.0 ± 0.0", "50.0 ± 0.0", "50.0 ± 0.0"],
        ["b", "* 50.0 ± 0.0", "", ""],
    ]
    assert rendering.legend(table, "with *") == "mean ± sd over 2 to 3 seeds; best of each column with *"


def test_markdown(small):
    assert rendering.markdown(small).splitlines() == [
        "**few-shot, 16 shots, mini-clip, selection: last-step: accuracy (%)**",
        "",
        "| method | aid | pacs | mean |",
        "|---|---:|---:|---:|",
        "| zero-shot | 50.0 ± 0.0 | **40.0 ± 0.0** | 45.0 ± 0.0 |",
        "| probe | 61.0 ± 1.4 (2 of 3) | – | – |",
        "| coop | **72.0 ± 2.0** | 20.0 ± 10.0 | **46.0 ± 4.6** |",
        "| broken | (0 of 3) | (0 of 3) | (0 of 3) |",
        "",
        rendering.legend(small, "in bold"),
    ]


def test_each_metric_has_its_digits():
    shown = {
        metric: rendering.terminal(one(seeds([value, value], metric=metric)))[1][1]
        for metric, value in {
            "accuracy": 0.12345,
            "balanced_accuracy": 1.0,
            "macro_f1": 0.0,
            "ece": 0.01234,
            "nll": 2.34567,
            "seconds": 61.26,
            "learned_parameters": 12288,
        }.items()
    }
    assert shown == {
        "accuracy": "12.3 ± 0.0",
        "balanced_accuracy": "100.0 ± 0.0",
        "macro_f1": "0.0 ± 0.0",
        "ece": "0.012 ± 0.000",
        "nll": "2.346 ± 0.000",
        "seconds": "61.3 ± 0.0",
        "learned_parameters": "12,288 ± 0",
    }


def test_wide_csv_has_full_precision(small):
    rows = list(csv.DictReader(io.StringIO(rendering.csv(small))))
    assert [row["method"] for row in rows] == ["zero-shot", "probe", "coop", "broken"]
    assert list(rows[0]) == ["method", *(f"{c} {p}" for c in ("aid", "pacs", "mean") for p in ("mean", "sd", "n"))]
    cell = small.rows[2].cells[0]
    assert float(rows[2]["aid mean"]) == cell.mean
    assert float(rows[2]["aid sd"]) == cell.sd
    assert (rows[1]["aid n"], rows[1]["pacs mean"], rows[1]["pacs n"]) == ("2", "", "0")
    assert rows[3]["mean sd"] == ""


def test_a_single_seed_has_no_sd_anywhere():
    table = one([score(0.5)])
    assert rendering.terminal(table)[1] == ["coop", "50.0"]
    assert "±" not in rendering.markdown(table)
    assert rendering.csv(table).splitlines()[1] == "coop,0.5,,1"


# --- names that would break a table


def test_markdown_escapes_names():
    table = one([score(method=NASTY, data="x|y\nz"), score(method="tip_adapter_f", data="x|y\nz")])
    lines = rendering.markdown(table).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "| tip_adapter_f |" in rows[3]
    assert r"a\|b_c &amp; 50% #1 $x$ {y} ~^\\ &lt;z&gt; \*bold\* \[w\] \`q\`" in rows[2]
    assert rows[0] == r"| method | x\|y z |"


def read_latex(text):
    """Check what LaTeX would check, and return the cells of the table."""
    bare = re.sub(r"\\.", "", re.sub(r"(?m)^%.*\n", "", text))  # without comments, escapes, and names' first letters
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert not set(re.sub(r"\$\w+\$", "", bare)) & set("#_^~%<>|\\±–")
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", text) == ["table", "tabular", "tabular", "table"]
    specification = re.search(r"\\begin\{tabular\}\{(l r*|lr*)\}", text)[1]
    inner = text[text.index("\\toprule") : text.index("\\bottomrule")]
    rows = [line for line in inner.splitlines() if line not in ("\\toprule", "\\midrule")]
    assert all(row.endswith(r" \\") for row in rows)
    cells = [re.split(r" (?<!\\)& ", row.removesuffix(r" \\")) for row in rows]
    assert {len(row) for row in cells} == {len(specification)}
    assert not any(row[0].startswith(("[", "*")) for row in cells)
    return cells


def test_latex(small):
    text = rendering.latex(small)
    cells = read_latex(text)
    assert cells[0] == ["method", "aid", "pacs", "mean"]
    assert cells[1] == ["zero-shot", r"50.0 $\pm$ 0.0", r"\textbf{40.0 $\pm$ 0.0}", r"45.0 $\pm$ 0.0"]
    assert cells[2] == ["probe", r"61.0 $\pm$ 1.4 (2 of 3)", "--", "--"]
    assert text.count(r"\midrule") == text.count(r"\bottomrule") == 1
    assert r"accuracy (\%). mean $\pm$ sd over 3 seeds" in text.split(r"\caption")[1].splitlines()[0]


def test_latex_escapes_names():
    cells = read_latex(rendering.latex(one([score(method=NASTY), score(method="[w]"), score(method="*")])))
    assert cells[1][0] == "{*}"
    assert cells[2][0] == "{[}w{]}"
    assert cells[3][0].startswith(r"a\textbar{}b\_c \& 50\% \#1 \$x\$ \{y\} \textasciitilde{}\textasciicircum{}")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
@settings(deadline=None, max_examples=100)
def test_any_name_keeps_the_shape(name):
    table = one([score(method=name, data="x"), score(method=name, data=name + "y")])
    read_latex(rendering.latex(table))
    rows = [line for line in rendering.markdown(table).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {5}
    assert from_text(list(csv.reader(io.StringIO(rendering.csv(table))))[1][0]) == name


# --- comparisons


def compared(metric="accuracy", count=6):
    gains = {"coop": 0.1, "tip_a|b": -0.002}
    scores = [score(0.5, method="zero-shot", data=str(number), metric=metric) for number in range(count)]
    scores += [
        score(0.5 + gain + number / 500, method=name, data=str(number), metric=metric)
        for name, gain in gains.items()
        for number in range(count)
    ]
    return compare_all(scores, "zero-shot", metric)


def test_comparison_rows():
    heading, coop, tip = rendering.terminal_comparison(compared())
    assert heading == ["method", "n", "wins", "ties", "losses", "mean difference", "median difference", "p", "p (Holm)"]
    assert coop == ["coop", "6", "6", "0", "0", "+10.5", "+10.5", "0.031", "0.062"]
    assert tip == ["tip_a|b", "6", "4", "1", "1", "+0.3", "+0.3", "0.188", "0.188"]


def test_comparison_markdown_tells_units_from_runs():
    text = rendering.markdown_comparison(compared())
    assert text.startswith("**Against zero-shot: accuracy (%)** (higher is better; differences in points)\n")
    assert text.index("Over data sets, trials and columns") < text.index("Over single runs, which are not independent")
    assert r"| tip_a\|b | 6 |" in text
    assert "No p" not in text
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")} == {10}


def test_comparison_markdown_gives_the_reason_for_a_missing_p():
    text = rendering.markdown_comparison(compared("ece", 3))
    assert "(lower is better)" in text
    assert "| coop | 3 | 0 | 0 | 3 | +0.102 | +0.102 | – | – |" in text
    assert text.count("No p: 3 pairs: fewer than 6 cannot reach p &lt; 0.05 (all won: p = 0.25).") == 2
    assert rendering.markdown_comparison([]) == ""


def test_a_tiny_p_is_not_zero():
    scores = [
        score(0.5 + 0.1 * (method == "coop"), method=method, data=str(number))
        for method in ("coop", "zero-shot")
        for number in range(20)
    ]
    assert rendering.terminal_comparison(compare_all(scores, "zero-shot"))[1][-1] == "< 0.001"
