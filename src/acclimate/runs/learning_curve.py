"""What twice the labels would bring: a learning curve from the training images alone, and a power law through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.parts import kernels, ridge

FRACTIONS = (0.125, 0.25, 0.5, 0.75)  # of the units of each class, that are learned from
DRAWS, FEW_DRAWS = 16, 4  # of each fraction; the second of more images than MANY
MANY, MOST = 500, 2000  # of more images than MOST, no curve is made: it would take long, and they are many already
RESAMPLES = 500
CONFIDENCE = 0.95
LEAST = 1e-3  # of errors, whose logarithms are fitted

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Errors of a kernel ridge regression that has learned from parts of some images, on the rest of them.

    Attributes:
        sizes: (J,), images learned from.
        misses: (R, J, N), which images draw r of size j got wrong.
        counts: (R, J, N), which images draw r of size j has left for this.
        classes: (N, C), 1 in the column of the class of an image.
        units: (N,), numbers of what was learned from or left as one.
    """

    sizes: Array
    misses: Array
    counts: Array
    classes: Array
    units: NDArray[np.int64]

    def errors(self, images: Array, draws: Array) -> Array:
        """Return the balanced error (B, J) where images (B, N) and draws (B, R) count so often."""

        def summed(of: Array) -> Array:
            each = np.tensordot(draws, of, axes=1)  # (B, J, N)
            return (each * images[:, None]) @ self.classes  # (B, J, C)

        missed, judged = summed(self.misses), summed(self.counts)
        share = np.divide(missed, judged, out=np.zeros_like(missed), where=judged > 0)
        total: Array = share.sum(-1) / np.maximum(1, (judged > 0).sum(-1))
        return total


def learning_curve(
    points: Sequence[Tensor], shares: Sequence[float], labels: Tensor, units: Sequence[str]
) -> Curve | None:
    """Learn from nested parts of some images, several times, and return how often the rest is got wrong.

    Args:
        points: (N, F_k) in several spaces k, in double precision.
        shares: of their kernels.
        labels: (N,).
        units: (N), names of what is learned from or left as one, such as images of a patient.

    Returns:
        A `Curve`; none where fewer than two classes have three units, or of very many images.
    """
    _, number = np.unique(np.array(units), return_inverse=True)
    known = [len(np.unique(number[labels.numpy() == label])) for label in labels.unique().tolist()]
    if sum(count > 2 for count in known) < 2 or len(labels) > MOST:
        return None
    choice = ridge.usual_settings(points, shares)
    kernel = kernels.kernel_of(points, points, choice.betas, choice.shares)
    values = F.one_hot(labels).double()
    inside = np.stack(
        [_parts(labels.numpy(), number, draw) for draw in range(DRAWS if len(labels) <= MANY else FEW_DRAWS)]
    )
    misses = np.stack([[_misses(kernel, values, some, choice.strength) for some in draw] for draw in inside])
    sizes = inside.sum(-1).mean(0)
    kept = np.flatnonzero(np.diff(sizes, prepend=0) > 0)
    return Curve(sizes[kept], misses[:, kept].astype(float), (~inside)[:, kept].astype(float), values.numpy(), number)


def _parts(labels: NDArray[np.int64], units: NDArray[np.int64], draw: int) -> NDArray[np.bool_]:
    """Return which images are learned from (J, N): of each class those shares of its units, one at least, nested."""
    order = np.random.default_rng(draw).permutation(units.max() + 1)
    inside = np.zeros((len(FRACTIONS), len(labels)), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        found, rank = np.unique(order[units[rows]], return_inverse=True)
        for place, fraction in enumerate(FRACTIONS):
            inside[place, rows] = rank < max(1, np.floor(fraction * len(found) + 0.5))
    return inside


def _misses(kernel: Tensor, values: Tensor, inside: NDArray[np.bool_], strength: float) -> NDArray[np.bool_]:
    """Return which of the images outside a part are got wrong by what is learned from it (N,)."""
    part = torch.from_numpy(inside)
    found = ridge.solve(kernel[part][:, part], ridge.uniform_targets(values[part]), strength)
    wrong = (kernel[:, part] @ found.coefficients).argmax(1) != values.argmax(1)
    return wrong.numpy() & ~inside


def power_law(sizes: Array, errors: Array, whole: float, size: float) -> Array:
    """Return a n^-b at another size (B,), b at least 0, fitted to the logarithms of errors (B, J).

    Parts count by n (N - n): more where much is learned from, and where much is left to measure on.

    Args:
        sizes: (J,) n.
        errors: (B, J).
        whole: N, all images.
        size: where it is wanted.
    """
    x, y = np.log(sizes), np.log(np.maximum(errors, LEAST))
    weights = sizes * (whole - sizes)
    weights = weights / weights.sum()
    x = x - weights @ x
    slope = np.minimum(0.0, y @ (weights * x) / (weights @ x**2))
    at = np.log(size) - weights @ np.log(sizes)
    found: Array = np.exp(y @ weights + slope * at)
    return found


def expectation(curve: Curve, factor: float = 2.0) -> dict[str, Any]:
    """Return the balanced accuracy to expect from so many times the labels, with 95 % intervals, as JSON values.

    The intervals are those of a percentile bootstrap over units and draws, widened by what another draw of the images
    changes: the variance between draws of half of them, less that of measuring on the other half, e (1 - e) / 2n. (Two
    such draws share half of their images, which halves their variance; so does learning from twice as many.)
    Where nothing is got wrong, drawing again says nothing, and the lower end is 1 - 3 / N at most (rule of three).
    Source: Figueroa et al. 2012 (BMC Medical Informatics and Decision Making 12:8) for an inverse power law, fitted
    with weights to a curve from parts of the labelled data.

    Args:
        curve: of the images.
        factor: how many times as many.
    """
    random, (draws, _, images) = np.random.default_rng(0), curve.misses.shape
    groups = int(curve.units.max()) + 1

    def drawn(count: int) -> Array:
        picks = random.integers(0, count, (RESAMPLES, count))
        return np.stack([np.bincount(row, minlength=count) for row in picks]).astype(float)

    one = curve.errors(np.ones((1, images)), np.ones((1, draws)))
    resampled = curve.errors(drawn(groups)[:, curve.units], drawn(draws))
    half = int(np.argmin(np.abs(curve.sizes - images / 2)))
    each = curve.errors(np.ones((draws, images)), np.eye(draws))[:, half]
    measured = each.mean() * (1.0 - each.mean()) / (2.0 * (images - curve.sizes[half]))
    noise = max(0.0, each.var(ddof=1) - measured) ** 0.5

    def at(errors: Array, times: float) -> Array:
        return 1.0 - np.clip(power_law(curve.sizes, errors, images, times * images), 0.0, 1.0)

    most = 1.0 if curve.misses[:, -1].any() else 1.0 - 3.0 / images

    def told(times: float) -> dict[str, float]:
        spread = at(resampled, times) + random.normal(0, noise, RESAMPLES)
        low, high = np.clip(np.quantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]), 0.0, 1.0)
        return {"value": float(at(one, times)[0]), "low": min(float(low), most), "high": float(high)}

    return {
        "images": images,
        "factor": factor,
        "now": told(1.0),
        "then": told(factor),
        "parts": [
            {"images": float(size), "balanced_accuracy": 1.0 - float(error)}
            for size, error in zip(curve.sizes, one[0], strict=True)
        ],
    }
