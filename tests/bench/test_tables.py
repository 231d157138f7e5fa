from __future__ import annotations

import ast
import math
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import acclimate
from acclimate.bench.scores import Score, read_scores, tidy, write_scores
from acclimate.bench.tables import make_tables
from acclimate.errors import ConfigError, RunError
from acclimate.protocols import Layout, contract, list_protocols
from tests.helpers.measured import score, seeds

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCORES = st.lists(
    st.builds(
        Score, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, st.integers(-(2**70), 2**70), TEXT, st.none() | FINITE
    ),
    max_size=8,
    unique_by=lambda score: score.key,
)
PLAUSIBLE = st.lists(
    st.builds(
        Score,
        st.sampled_from([*(kind.name for kind in list_protocols()), "of the past"]),
        st.sampled_from(["last-step", "training-domain-validation"]),
        st.just("mini-clip"),
        st.sampled_from(["aid", "pacs"]),
        st.sampled_from(["aid", "photo"]),
        st.sampled_from(["test", "base", "novel", "harmonic mean", "all classes", "aid", "sketch"]),
        st.sampled_from(["coop", "zero-shot"]),
        st.sampled_from(["16", "all"]),
        st.integers(1, 3),
        st.sampled_from(["accuracy", "ece"]),
        st.none() | st.floats(0, 1),
    ),
    max_size=40,
    unique_by=lambda score: score.key,
)


def one(tables):
    (table,) = tables
    return table


def means(table, method):
    row = next(row for row in table.rows if row.method == method)
    return dict(zip(table.columns, (cell.mean for cell in row.cells), strict=True))


# --- the file of scores


@given(scores=SCORES)
@settings(deadline=None, max_examples=60)
def test_scores_survive_the_file_in_full_precision(scores, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    write_scores(path, scores)
    back = read_scores(path)
    assert back == tidy(scores)
    assert {each.key: each.value for each in back} == {each.key: each.value for each in scores}


def test_the_file_does_not_depend_on_the_order_in_which_jobs_finish(tmp_path):
    scores = [score(s / 7, seed=s, method=m, shots=n) for s in (1, 2, 10) for m in "ba" for n in ("16", "4", "all")]
    write_scores(tmp_path / "a.csv", scores)
    random.Random(0).shuffle(scores)
    write_scores(tmp_path / "b.csv", scores + scores[:3])
    content = (tmp_path / "a.csv").read_text()
    assert content == (tmp_path / "b.csv").read_text()
    first, *rows = content.splitlines()
    assert first == "protocol,selection,backbone,data,trial,column,method,shots,seed,metric,value"
    assert rows[0] == f"few-shot,last-step,mini-clip,aid,aid,test,a,4,1,accuracy,{1 / 7!r}"
    assert [row.split(",")[7] for row in rows[::6]] == ["4", "16", "all"]
    assert [row.split(",")[8] for row in rows[:3]] == ["1", "2", "10"]


def test_numpy_numbers_and_counts_are_written_plainly(tmp_path):
    counts = [score(np.float64(0.1)), score(3, metric="learned_parameters"), score(None, metric="ece")]
    write_scores(tmp_path / "a.csv", counts)
    assert [each.value for each in read_scores(tmp_path / "a.csv")] == [0.1, None, 3.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_is_finite(value):
    with pytest.raises(RunError, match=r"accuracy of coop on aid, seed 1, is (nan|inf)"):
        score(value)


def test_two_values_for_one_measurement_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"two values, 0\.5 and 0\.6, .*coop.* label"):
        write_scores(tmp_path / "a.csv", [score(0.5), score(0.6)])
    assert not list(tmp_path.iterdir())


ROW = "few-shot,last-step,mini-clip,aid,aid,test,coop,16,1,accuracy,0.5"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "row 1: expected the columns protocol"),
        (b"path,label\n", "row 1: expected the columns protocol"),
        (b"\xff\xfe", "not a table of scores"),
        (b'HEAD\n"few', "not a table of scores"),
        (b"HEAD\nROW\nfew-shot,last-step\n", "row 3: 2 columns instead of 11"),
        (b"HEAD\nROWx\n", "row 2: seed '1' or value '0.5x'"),
        (b"HEAD\nROW\n" + ROW.replace(",1,", ",one,").encode(), "row 3: seed 'one'"),
        (b"HEAD\n" + ROW.replace("0.5", "nan").encode(), "row 2: .*'nan'"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path, content, words):
    write_scores(tmp_path / "a.csv", [])
    header = (tmp_path / "a.csv").read_bytes().strip()
    (tmp_path / "a.csv").write_bytes(content.replace(b"HEAD", header).replace(b"ROW", ROW.encode()))
    with pytest.raises(RunError, match=words) as caught:
        read_scores(tmp_path / "a.csv")
    assert "a.csv" in str(caught.value)
    assert "acclimate bench" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(RunError, match="cannot read"):
        read_scores(tmp_path / "none.csv")


# --- cells


def test_mean_and_sd_over_seeds():
    cell = one(make_tables(seeds([0.6, 0.7, 0.83]))).rows[0].cells[0]
    assert cell.mean == pytest.approx(0.71)
    assert cell.sd == pytest.approx(np.std([0.6, 0.7, 0.83], ddof=1))
    assert (cell.n, cell.expected, cell.missing) == (3, 3, 0)
    assert dict(cell.values) == {1: 0.6, 2: 0.7, 3: 0.83}


def test_one_seed_has_no_sd():
    cell = one(make_tables([score(0.6)])).rows[0].cells[0]
    assert (cell.mean, cell.sd, cell.n) == (0.6, None, 1)


def test_missing_seeds_and_whole_methods_are_counted():
    scores = seeds([0.6, 0.7, 0.8], method="a") + seeds([0.9, 0.9], method="b")
    table = one(make_tables(scores, methods=["failed", "b", "a"]))
    assert [row.method for row in table.rows] == ["failed", "b", "a"]
    failed, partly, complete = (row.cells[0] for row in table.rows)
    assert (failed.n, failed.missing, failed.mean, failed.served) == (0, 3, None, True)
    assert (partly.n, partly.missing) == (2, 1)
    assert complete.missing == 0


def test_what_was_planned_decides_what_is_missing():
    scores = seeds([0.6, 0.7], method="a") + seeds([0.5], method="b", data="pacs")
    runs = [score(method=m, seed=s).run for m in ("a", "failed") for s in (1, 2, 3)]
    runs += [score(method="b", data="pacs", seed=s).run for s in (1, 2)]
    runs += [score(method="a", shots="4", seed=9).run, score(method="elsewhere", protocol="cross-dataset").run]
    table = one(make_tables(scores, ["failed", "b", "a", "elsewhere"], runs))
    assert [row.method for row in table.rows] == ["failed", "b", "a"]
    assert [[(cell.n, cell.expected) for cell in row.cells] for row in table.rows] == [
        [(0, 3), (0, 0), (0, 0)],
        [(0, 0), (1, 2), (0, 0)],
        [(2, 3), (0, 0), (0, 0)],
    ]
    unplanned = one(make_tables(scores, planned=[]))
    assert [[cell.expected for cell in row.cells] for row in unplanned.rows] == [[2, 0, 0], [0, 1, 0]]


def test_what_cannot_be_served_is_not_missing():
    scores = [
        *seeds([0.8, 0.8], column="base", protocol="base-to-novel"),
        *seeds([None, None], column="novel", protocol="base-to-novel"),
    ]
    base, novel = one(make_tables(scores)).rows[0].cells
    assert base.served
    assert (novel.served, novel.missing, novel.mean) == (False, 0, None)


# --- columns


def test_few_shot_has_the_data_sets_and_their_mean_over_complete_seeds():
    scores = [
        *seeds([0.6, 0.8], data="aid"),
        *seeds([0.2, 0.6], data="pacs"),
        *seeds([0.5, 0.5], data="aid", method="b"),
        *seeds([0.9], data="pacs", method="b"),
    ]
    table = one(make_tables(scores, ["coop", "b"]))
    assert table.columns == ("aid", "pacs", "mean")
    assert table.data == ""
    mean = table.rows[0].cells[2]
    assert mean.values == pytest.approx({1: 0.4, 2: 0.7})
    assert mean.mean == pytest.approx(0.55)
    assert mean.sd == pytest.approx(0.3 / math.sqrt(2))
    lacking = table.rows[1].cells[2]
    assert lacking.values == pytest.approx({1: 0.7})
    assert lacking.missing == 1


def test_one_data_set_is_named_and_has_no_mean():
    assert one(make_tables([score(data="sar_acd")])).columns == ("sar_acd",)


def test_a_mean_over_what_cannot_be_served_cannot_be_served():
    scores = [*seeds([0.5], protocol="cross-dataset", column="x"), *seeds([None], protocol="cross-dataset", column="y")]
    mean = one(make_tables(scores)).rows[0].cells[-1]
    assert not mean.served


def test_base_to_novel_has_one_table_a_data_set_in_the_fields_order():
    columns = ["all classes", "novel", "harmonic mean", "base"]
    scores = [score(protocol="base-to-novel", data=data, column=column) for data in ("b", "a") for column in columns]
    tables = make_tables(scores)
    assert [table.data for table in tables] == ["a", "b"]
    assert {table.columns for table in tables} == {("base", "novel", "harmonic mean", "all classes")}


@pytest.mark.parametrize("protocol", ["leave-one-domain-out", "single-source"])
def test_domains_are_columns_with_a_mean(protocol):
    scores = [
        score(value, protocol=protocol, data="pacs", trial=t) for t, value in zip("psc", (0.1, 0.2, 0.6), strict=True)
    ]
    scores += [score(0.9, protocol=protocol, data="other", trial="only")]
    other, pacs = make_tables(scores)
    assert (pacs.data, pacs.columns) == ("pacs", ("c", "p", "s", "mean"))
    assert means(pacs, "coop") == pytest.approx({"p": 0.1, "s": 0.2, "c": 0.6, "mean": 0.3})
    assert (other.data, other.columns) == ("other", ("only",))


def test_single_targets_of_single_source_stand_only_where_there_is_no_union():
    common = {"protocol": "single-source", "data": "pacs"}
    parts = [score(0.1, trial=a, column=b, **common) for a in "pq" for b in "pqr" if a != b]
    assert one(make_tables(parts)).columns == ("p / q", "p / r", "q / p", "q / r", "mean")
    union = [score(0.7, trial=a, **common) for a in "pq"]
    assert one(make_tables(parts + union)).columns == ("p", "q", "mean")


def test_a_cost_is_that_of_the_run_whichever_column_it_came_with():
    common = {"data": "pacs", "metric": "seconds"}
    runs = {
        "base-to-novel": [score(2.0, protocol="base-to-novel", column="base", **common)],
        "cross-dataset": [score(2.0, protocol="cross-dataset", column="pacs", **common)],
        "single-source": [
            score(t, protocol="single-source", trial=n, column=c, **common) for t, n, c in ((1, *"ab"), (3, *"bc"))
        ],
        "leave-one-domain-out": [score(2.0, protocol="leave-one-domain-out", trial="a", column="a", **common)],
    }
    columns = {"base-to-novel": ("run",), "cross-dataset": ("run",), "leave-one-domain-out": ("a",)}
    columns["single-source"] = ("a", "b", "mean")
    for protocol, scores in runs.items():
        accuracy = [
            replace(each, metric="accuracy", value=0.5, column=c) for each in scores for c in ("test", "d", "e")
        ]
        table = make_tables(scores + accuracy)[-1]
        assert (table.metric, table.columns) == ("seconds", columns[protocol])
        assert table.rows[0].cells[-1].mean == 2.0


def test_a_domain_that_is_trial_and_column_is_named_once():
    scores = [score(protocol="leave-one-domain-out", data="pacs", trial=name, column=name) for name in ("b", "a")]
    assert one(make_tables(scores)).columns == ("a", "b", "mean")


def test_the_source_of_cross_dataset_stands_apart():
    scores = [
        score(value, protocol="cross-dataset", data="aid", trial="aid", column=column)
        for column, value in {"sar_acd": 0.2, "test": 0.9, "eurosat": 0.4}.items()
    ]
    table = one(make_tables(scores))
    assert table.columns == ("aid (source)", "eurosat", "sar_acd", "mean")
    assert means(table, "coop")["mean"] == pytest.approx(0.3)


def test_cross_dataset_with_two_sources_names_both_sides():
    scores = [score(protocol="cross-dataset", data=a, column=b) for a in ("x", "y") for b in ("u", "x") if a != b]
    scores += [score(protocol="cross-dataset", data="x", column="x")]
    assert one(make_tables(scores)).columns == ("x (source)", "x / u", "y / u", "y / x", "mean")


def test_a_protocol_that_is_no_longer_there_still_has_tables():
    scores = [score(protocol="of the past", data=data, column=c) for data in ("x", "y") for c in ("a", "test")]
    tables = make_tables([*scores, score(protocol="single-source", data="pacs", trial="photo")])
    assert [table.protocol for table in tables] == ["single-source", "of the past", "of the past"]
    assert [table.data for table in tables[1:]] == ["x", "y"]
    assert {table.columns for table in tables[1:]} == {("test", "a", "mean")}


def test_what_a_protocol_of_ones_own_says_of_its_tables_holds(monkeypatch):
    monkeypatch.setattr(contract, "_PROTOCOLS", dict(contract._PROTOCOLS))

    @contract.protocol
    class Own(contract.Protocol):
        name, title = "own", "One of one's own"
        layout = Layout(order=0, joint=True, columns=("z", "b"), derived=("b",), union="all")

    columns = [score(protocol="own", data=data, column=column) for data in "xy" for column in ("b", "a", "z")]
    first, _ = make_tables([*columns, score()])
    assert (first.protocol, first.data) == ("own", "")
    assert first.columns == ("x / z", "x / b", "x / a", "y / z", "y / b", "y / a", "mean")
    united = [score(protocol="own", data=data, column="all") for data in "xy"]
    assert one(make_tables(columns + united)).columns == ("x", "y", "mean")
    assert [each.column for each in columns if each.derived] == ["b", "b"]


def test_recalls_stand_in_tables_like_any_other_figure():
    way = "image_to_text.recall@"
    at_1, at_10, costs = make_tables(
        [score(0.25, metric=f"{way}1"), score(0.5, metric=f"{way}10"), score(3.0, metric="seconds", column="run")]
    )
    assert [table.metric for table in (at_1, at_10, costs)] == [f"{way}1", f"{way}10", "seconds"]
    assert at_1.title.endswith(": Recall@1, image to text (%)")
    assert at_1.measure.show(0.25) == "25.0"


# --- tables


def test_settings_never_share_a_table_and_shots_are_in_order():
    scores = [
        score(shots=shots, selection=rule, backbone=backbone, metric=metric)
        for shots in ("all", "16", "budget:64", "4", "budget:8")
        for rule in ("oracle", "last-step")
        for backbone in ("b", "a")
        for metric in ("ece", "accuracy")
    ]
    tables = make_tables(scores)
    assert len(tables) == 40
    shown = [(table.backbone, table.shots, table.selection, table.metric) for table in tables]
    assert shown[:5] == [
        ("a", "4", "last-step", "accuracy"),
        ("a", "4", "last-step", "ece"),
        ("a", "4", "oracle", "accuracy"),
        ("a", "4", "oracle", "ece"),
        ("a", "16", "last-step", "accuracy"),
    ]
    assert list(dict.fromkeys(table.shots for table in tables)) == ["4", "16", "budget:8", "budget:64", "all"]


def test_titles_say_everything_and_shout_at_an_oracle():
    table = one(make_tables([score(protocol="leave-one-domain-out", data="pacs", trial="photo")]))
    assert table.title == "leave-one-domain-out on pacs, 16 shots, mini-clip, selection: last-step: accuracy (%)"
    oracle = one(make_tables([score(selection="oracle", shots="budget:64", metric="nll")]))
    assert "ORACLE, which sees labels of the tested domain" in oracle.title
    assert "a budget of 64 images" in oracle.title
    assert oracle.title.endswith(": NLL")
    assert "1 shot," in one(make_tables([score(shots="1")])).title
    assert "all images" in one(make_tables([score(shots="all")])).title


def test_an_unknown_metric_is_refused():
    with pytest.raises(ConfigError, match="no metric 'bleu'; choose one of accuracy"):
        make_tables([score(metric="bleu")])


def test_no_scores_make_no_tables():
    assert make_tables([], methods=["coop"]) == []


@given(scores=PLAUSIBLE, order=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_tables_do_not_depend_on_the_order_of_scores_and_show_each_value_once(scores, order):
    tables = make_tables(scores, ["zero-shot", "coop"])
    shuffled = list(scores)
    order.shuffle(shuffled)
    assert make_tables(shuffled, ["zero-shot", "coop"]) == tables
    for table in tables:
        assert all(row.method in ("zero-shot", "coop") for row in table.rows)
        assert all(len(row.cells) == len(table.columns) for row in table.rows)
        assert len(set(table.columns)) == len(table.columns)
    if all(each.protocol != "single-source" for each in scores):
        cells = [
            cell
            for table in tables
            for row in table.rows
            for name, cell in zip(table.columns, row.cells, strict=True)
            if name != "mean"
        ]
        shown = sorted(value for cell in cells for value in cell.values.values())
        assert shown == sorted(each.value for each in scores if each.value is not None)


# --- the best


def best(scores, **settings):
    table = one(make_tables(scores, **settings))
    return [[row.method for row in table.rows if row.cells[place].best] for place in range(len(table.columns))]


def test_the_best_of_each_column_is_marked_alone_however_close_the_others_are():
    scores = [
        *seeds([0.60, 0.70], method="a"),
        *seeds([0.61, 0.70], method="b"),
        *seeds([0.90, 0.90], method="a", data="pacs"),
        *seeds([0.10, 0.10], method="b", data="pacs"),
    ]
    assert best(scores) == [["b"], ["a"], ["a"]]


def test_the_lowest_error_is_best_and_a_cost_never():
    for metric, marked in {
        "ece": ["a"],
        "nll": ["a"],
        "accuracy": ["b"],
        "seconds": [],
        "learned_parameters": [],
    }.items():
        assert best([score(0.2, method="a", metric=metric), score(0.3, method="b", metric=metric)]) == [marked]


def test_equal_bests_are_all_marked():
    assert best([score(0.1 + 0.2, method="a"), score(0.3, method="b"), score(0.2, method="c")]) == [["a", "b"]]


def test_an_incomplete_cell_does_not_compete_and_one_method_has_no_rival():
    scores = seeds([0.5, 0.5], method="a") + seeds([0.6, 0.6], method="b") + seeds([0.9], method="c")
    assert best(scores) == [["b"]]
    assert best(seeds([0.5, 0.5], method="a")) == [[]]
    assert best(seeds([0.5, 0.5], method="a") + seeds([None, None], method="b")) == [[]]


@pytest.mark.parametrize("name", ["scores", "tables", "comparison", "rendering"])
def test_results_are_plain_data(name):
    """Only the standard library, each other and the measures when they are imported: no torch, rich or scipy."""
    tree = ast.parse((Path(acclimate.__file__).parent / "bench" / f"{name}.py").read_text())
    modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    own = {f"acclimate.{each}" for each in ("counting", "errors", "files", "metrics", "spreadsheets")}
    own |= {f"acclimate.bench.{each}" for each in ("scores", "tables", "comparison")}
    assert {each for each in modules - own if each.split(".")[0] not in sys.stdlib_module_names} == set()
