"""What terminals of several widths show: every figure, no line that is too long, no word broken."""

from __future__ import annotations

import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from acclimate.backbones.catalogue import list_backbones
from acclimate.cli import layout, tables
from acclimate.cli.layout import Sheet
from acclimate.methods.cards import get_card, list_cards
from acclimate.tasks import get_task
from acclimate.telling.words import figure_text
from tests.helpers.command import acclimate
from tests.helpers.pictures import make_pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are Unix'")
WIDTHS = (60, 80, 120)
LONG = "domain-linear-probe"


@pytest.fixture
def screen(monkeypatch):
    """Set the width of standard output, and act as if it were a terminal."""

    def resize(width):
        monkeypatch.setattr(tables.out, "_width", width)
        monkeypatch.setattr(tables.out, "_force_terminal", True)
        monkeypatch.setattr(tables.out, "_color_system", None)

    return resize


def fits(text, width):
    """Whether all lines but commands, which are there to be copied, fit."""
    return [line for line in text.splitlines() if cell_len(line) > width and not line.startswith("  acclimate ")] == []


def metrics(value):
    names = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "nll")
    figures = {
        name: {"value": value + k / 100, "low": value - 0.05, "high": value + 0.05} for k, name in enumerate(names)
    }
    matrix = [[9, 1], [2, 8]]
    per_class = {name: {"support": 10, "precision": 0.8, "recall": 0.9, "f1": 0.85} for name in ("basalt", "gneiss")}
    return figures | {
        "samples": 20, "groups": 20, "confusion_matrix": matrix, "class_names": ["basalt", "gneiss"],
        "per_class": per_class,
    }  # fmt: skip


RECORD = {
    "method": "gdpl", "metrics": metrics(0.512), "shots": 16, "seed": 1, "data": {"name": "thin_section-seed1"},
    "baselines": {"zero-shot": metrics(0.113), "linear-probe": metrics(0.634), LONG: metrics(0.625)},
    "cost": {"seconds": {"gdpl": 1234.5, LONG: 17.3}},
    "verdict": {
        "metric": "accuracy", "against": "linear-probe", "others": 3, "p": 0.01, "differing": 9, "outcome": "worse",
        "difference": {"value": -0.122, "low": -0.2, "high": -0.05},
    },
}  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_run(capsys, screen, width):
    screen(width)
    tables.show_record(RECORD, get_task("classification"))
    text = capsys.readouterr().out
    assert fits(text, width)
    for row in (RECORD["metrics"], *RECORD["baselines"].values()):
        for name in ("accuracy", "balanced_accuracy"):
            assert figure_text(name, row) in text
        for name in ("macro_f1", "ece", "nll"):
            assert figure_text(name, row, interval=False) in text
    assert "1234.5" in text
    assert "gdpl is worse than the best baseline, linear-probe: -12.2 points" in " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_an_evaluation(capsys, screen, width):
    screen(width)
    shown = {**RECORD["metrics"], "baselines": {"zero-shot": metrics(0.113)}, "verdict": RECORD["verdict"]}
    tables.show_metrics(shown, "gdpl", get_task("classification"), "runs/gdpl on thin_section-seed1")
    text = capsys.readouterr().out
    assert fits(text, width)
    for row in (shown, shown["baselines"]["zero-shot"]):
        assert all(figure_text(name, row) in text for name in ("accuracy", "macro_f1", "ece", "nll"))


def words_of(content):
    return {word for text in content for word in str(text).split()}


@pytest.mark.parametrize("width", WIDTHS)
def test_listings_break_no_word(capsys, screen, width):
    screen(width)
    tables.show_methods()
    text = capsys.readouterr().out
    assert fits(text, width)
    shown = words_of([text])
    wanted = words_of(part for card in list_cards() for part in (card.name, card.title, card.learns, card.paper))
    assert wanted <= shown
    tables.show_backbones()
    text = capsys.readouterr().out
    assert fits(text, width)
    wanted = words_of(part for info in list_backbones() for part in (info.id, info.family, info.domain, info.licence))
    assert wanted <= words_of([text])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("method", ["coop", "gdpl", "aape"])
def test_settings_break_no_word(capsys, screen, width, method):
    screen(width)
    tables.show_settings(method)
    text = capsys.readouterr().out
    assert fits(text, width)
    for row in get_card(method).settings:
        assert words_of([row["name"], row["default"], row["help"]]) <= words_of([text])


cells = st.text(st.sampled_from("abcdefgh 0123456789.é\u6f22"), min_size=0, max_size=30).map(str.strip)


@given(st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=4), st.integers(20, 90))
def test_no_layout_loses_a_cell(rows, width):
    sheet = Sheet(["name", "one", "two", "three"])
    for row in rows:
        sheet.add(*row)
    figures = [line.plain for line in layout.figures(sheet, width)]
    assert all(any(cell in line for line in figures) for row in rows for cell in row)
    listed = words_of(line.plain for line in layout.words(sheet, width))
    assert words_of(cell for row in rows for cell in row) <= listed


def test_figures_that_do_not_fit_stand_in_blocks_with_their_names():
    sheet = Sheet(["method", "accuracy", "balanced"])
    sheet.add(LONG, "66.1 [60.2, 71.6]", "66.0 [60.4, 71.5]")
    lines = [line.plain for line in layout.figures(sheet, 40)]
    assert [re.sub(" +", " ", line) for line in lines] == [
        "method accuracy", f"{LONG} 66.1 [60.2, 71.6]", "", "method balanced", f"{LONG} 66.0 [60.4, 71.5]",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_rows_of_predict_stand_alone_in_a_terminal(run, tmp_path, width):
    """In a real one: no bar is drawn among them, and notes break between words."""
    from tests.helpers.terminals import in_terminal

    folder = make_pictures(tmp_path / "new", per_class=4)
    text = in_terminal(width, "predict", run, folder)
    lines = [line for line in text.splitlines() if line]
    notes, rows = lines[:-12], lines[-12:]
    assert all(re.fullmatch(r" *\d+\.\d%  \w+ +/.*\.png", row) for row in rows), text
    assert " ".join(" ".join(notes).split()).startswith("no image is called unknown: --known 0.05 needs 20 training")
    assert max(map(len, notes)) <= width


@pytest.mark.slow
def test_standard_output_goes_where_it_is_sent_while_bars_are_drawn(run, tmp_path):
    """The bars of a terminal on standard error must not catch what is written to a file."""
    from tests.helpers.terminals import in_terminal

    folder = make_pictures(tmp_path / "new", per_class=4)
    seen = in_terminal(80, "predict", run, folder, "--json", out=tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert "probabilities" not in seen


def test_commands_of_a_run_are_whole_lines(capsys, screen):
    screen(60)
    from acclimate.cli.verdicts import show_commands

    line = "acclimate adapt some/folder/with/a/long/name --method linear-probe --shots 4 --out runs/another/long/name"
    show_commands(line)
    assert capsys.readouterr().out == f"  {line}\n"


def test_help_fits_into_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = acclimate("adapt", "--help")
    assert fits(done.out, 80)
