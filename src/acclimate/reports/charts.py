"""Charts of a report as SVG in a `data:` address: numbers alone, so that no name has to be drawn.

Colours are those of Okabe and Ito 2008, "Color Universal Design", which the colour-blind tell apart; none is needed to
read a chart.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
MARKS = "osD^vPX*"
SIGNS = "●■◆▲▼✚✖★"  # the same in text
INK, LIGHT = "#444444", "#BBBBBB"
BINS = 10
SIZE = (4.6, 3.4)  # inches


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> str:
    """Return a chart of how often answers are right, by how probable they are called; bins hold equally many images.

    Args:
        confidence: (N,) probability of the answer.
        right: (N,) whether it is the label.
    """
    order = confidence.argsort(kind="stable")
    parts = [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]
    figure, axes = _axes("probability of the answer", "share that is right")
    axes.plot([0, 1], [0, 1], color=LIGHT, linewidth=1)
    means, shares = ([float(of[part].mean()) for part in parts] for of in (confidence, right))
    axes.plot(means, shares, marker="o", color=PALETTE[0])
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return _address(figure)


def learning_curve(curve: dict[str, Any]) -> str:
    """Return a chart of what was reached with fewer images, and of what is expected, as in a record."""
    figure, axes = _axes("training images", "balanced accuracy")
    sizes = [part["images"] for part in curve["parts"]]
    axes.plot(sizes, [part["balanced_accuracy"] for part in curve["parts"]], marker="o", color=PALETTE[0])
    ahead = [curve["images"], curve["images"] * curve["factor"]]
    told = [curve["now"], curve["then"]]
    bars = [[one["value"] - one["low"] for one in told], [one["high"] - one["value"] for one in told]]
    axes.errorbar(ahead, [one["value"] for one in told], yerr=bars, marker="s", color=PALETTE[1], capsize=3)
    axes.set(ylim=(0, 1.02), xlim=(0, None))
    return _address(figure)


def points(places: NDArray[np.float64], kinds: Sequence[int], hollow: Sequence[bool]) -> str:
    """Return a map of images in the plane.

    Args:
        places: (N, 2).
        kinds: the class of each, whose colour and mark it has; those beyond the palette share the last of both.
        hollow: whether a point is drawn as a ring, such as that of a mistake.
    """
    figure, axes = _axes("", "")
    most = len(PALETTE) - 1
    numbers, rings = np.minimum(kinds, most), np.array(hollow, dtype=bool)
    for number in np.unique(numbers):
        for ring in (False, True):
            some = places[(numbers == number) & (rings == ring)]
            inside = "none" if ring else PALETTE[number]
            axes.scatter(
                some[:, 0], some[:, 1], s=18, marker=MARKS[number], facecolors=inside, edgecolors=PALETTE[number]
            )
    axes.set(xticks=[], yticks=[])
    return _address(figure)


def _axes(horizontal: str, vertical: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#EEEEEE")
    axes.set_axisbelow(True)
    return figure, axes


def _address(figure: Figure) -> str:
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "acclimate", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
