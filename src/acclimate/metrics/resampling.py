"""Means over samples with a bootstrap interval over their groups, and the same draws for figures that are no means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate.metrics.evaluate import draws, group_index

CELLS = 4_000_000  # numbers of the draws that are worked on at once: 32 MB


class Resampled:
    """The draws of a percentile bootstrap over groups, as in `evaluate_classification`.

    Args:
        groups: (N,); `None`, or an empty name, makes a sample its own group.
        samples: N.
        resamples, seed: of the draws.
        confidence: of the intervals, in (0, 1).

    Attributes:
        index: (N,) which group each sample is of.
        groups: G.
        weights: (R, G) how often each group is drawn.
    """

    def __init__(
        self, groups: Sequence[str] | None, samples: int, resamples: int, seed: int, confidence: float
    ) -> None:
        self.index, self.groups = group_index(groups, samples)
        self.weights = np.concatenate(list(draws(self.groups, resamples, seed)))
        tail = (1 - confidence) / 2
        self._tails = (tail, 1 - tail)
        self._sizes = self.weights @ np.bincount(self.index, minlength=self.groups)

    def parts(self, cells: int) -> Iterator[NDArray[np.float64]]:
        """Yield the weights (r, G) of few draws at a time, so many that `cells` numbers for each are no burden."""
        rows = max(1, CELLS // max(cells, 1))
        yield from (self.weights[start : start + rows] for start in range(0, len(self.weights), rows))

    def mean(self, values: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean of values (N,), with its interval."""
        sums = np.bincount(self.index, weights=values, minlength=self.groups)
        return self.figure(values.mean(), (self.weights @ sums) / self._sizes)

    def figure(self, value: float, drawn: NDArray[np.float64]) -> dict[str, float]:
        """Return a value, with the interval of what it is in each draw (R,)."""
        low, high = np.quantile(drawn, self._tails)
        return {"value": float(value), "low": float(low), "high": float(high)}
