from __future__ import annotations

import io

import pytest
from rich.console import Console

from acclimate.cli import progress
from acclimate.cli.cell import CellBars
from acclimate.cli.console import THEME
from acclimate.cli.progress import Progress


def drawn(monkeypatch, terminal=True, quiet=False):
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=140, theme=THEME)
    monkeypatch.setattr(progress, "err", screen)
    with Progress(quiet) as bars:
        bars.start("coop", 40)
        for step in range(20):
            bars.advance(0, cross_entropy=1.5 - step / 100)
            bars.advance(1)
        bars.bars.refresh()
        bars.finish()
        bars.start("images", None)
        bars.advance(3)
    return screen.file.getvalue()


def test_rate_position_and_loss(monkeypatch):
    text = drawn(monkeypatch)
    assert "20/40" in text
    assert "cross entropy 1.31" in text
    assert "/s" in text
    assert "coop" in text
    assert "images" in text


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_nothing_without_a_terminal_or_when_quiet(monkeypatch, terminal, quiet):
    text = drawn(monkeypatch, terminal, quiet)
    assert "coop" not in text
    assert "20/40" not in text


def test_a_task_within_another_leaves_it_as_it_was(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=140, theme=THEME)
    monkeypatch.setattr(progress, "err", screen)
    with Progress() as bars:
        bars.start("gdpl", 40)
        bars.advance(7)
        bars.start("domain features", 64)
        bars.advance(64)
        bars.bars.refresh()
        bars.finish()
        bars.advance(5)
        bars.bars.refresh()
        (left,) = bars.bars.tasks
        assert (left.description, left.completed) == ("gdpl", 12)
    assert "64/64" in screen.file.getvalue()


def test_an_error_within_takes_the_bars_away(monkeypatch):
    monkeypatch.setattr(progress, "err", Console(file=io.StringIO(), force_terminal=True, theme=THEME))
    bars = Progress()
    bars.__enter__()
    bars.start("coop", 3)
    bars.__exit__(KeyError, KeyError(), None)
    assert not bars.bars.live.is_started


def test_bars_in_a_notebook_show_names_as_they_are(capsys):
    bars = CellBars()
    bars.start()
    number = bars.add_task("<b>coop</b>", total=40, rate="", figures="")
    bars.update(number, advance=7, rate="3/s", figures="loss < 1")
    endless = bars.add_task("images", total=None, rate="", figures="")
    assert [bar.drawn() for bar in bars.bars.values()] == [
        '<div><progress value="7" max="40"></progress> &lt;b&gt;coop&lt;/b&gt; &nbsp; 7/40 &nbsp; 3/s &nbsp; '
        "loss &lt; 1</div>",
        "<div><progress></progress> images &nbsp; 0</div>",
    ]
    bars.remove_task(endless)
    assert list(bars.bars) == [number]
    bars.stop()
    assert not bars.bars
