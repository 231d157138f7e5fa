"""From numbers of any kind to the 256 levels of an 8-bit image, by the rules at the top of `acclimate.data.images`."""

from __future__ import annotations

import numpy as np

GREY, COLOURS = (0.1, 99.9), (2.0, 98.0)
"""Percentiles of the values of an image that become 0 and 255."""


def grey_levels(values: np.ndarray, no_data: float | None = None) -> np.ndarray:
    """Scale wide grey (H, W) to uint8.

    Args:
        values: integers or floats.
        no_data: the value of pixels without data, which become black as those that are not finite do.
    """
    wide, valid = values.astype(np.float64), valid_of(values, no_data)
    if not valid.any():
        return np.zeros(values.shape, np.uint8)
    if is_eight_bit(values, valid):
        return np.where(valid, values, 0).astype(np.uint8)
    if not is_stretched(values, valid):
        return np.rint(np.where(valid, wide, 0) / 257).astype(np.uint8)
    return _stretched(wide, valid, GREY)


def colour_levels(values: np.ndarray, no_data: float | None = None, seen: np.ndarray | None = None) -> np.ndarray:
    """Scale several bands (H, W, C) to uint8, all by the same two values, so that the relations of the bands are kept.

    Args:
        values: integers or floats.
        no_data: the value of pixels without data.
        seen: which pixels (H, W) are looked at to find the two values, such as those that are not transparent.
    """
    valid = valid_of(values, no_data)
    judged = valid if seen is None else valid & seen[..., None]
    if is_eight_bit(values, valid):
        return np.where(valid, values, 0).astype(np.uint8)
    return _stretched(values.astype(np.float32 if values.itemsize <= 2 else np.float64), valid, COLOURS, judged)


def valid_of(values: np.ndarray, no_data: float | None) -> np.ndarray:
    """Return which values are finite and not the one that means no data."""
    valid = np.isfinite(values)
    if no_data is None:
        return valid
    with np.errstate(over="ignore"):  # of a value that numbers of this kind do not reach
        return valid & (values != no_data)


def is_stretched(values: np.ndarray, valid: np.ndarray) -> bool:
    """Return whether `grey_levels` stretches these values, beside dividing them by the range of 16 bits."""
    full = values.dtype.kind in "iu" and valid.any() and values[valid].min() >= 0
    return not is_eight_bit(values, valid) and not (full and 2**15 <= values[valid].max() < 2**16)


def is_eight_bit(values: np.ndarray, valid: np.ndarray) -> bool:
    """Return whether these are whole numbers of which all valid ones fit into 8 bits."""
    whole = values.dtype.kind in "iu"
    return bool(whole and (not valid.any() or (values[valid].min() >= 0 and values[valid].max() <= 255)))


def _stretched(
    wide: np.ndarray, valid: np.ndarray, percentiles: tuple[float, float], judged: np.ndarray | None = None
) -> np.ndarray:
    """Stretch floats linearly between two percentiles; changes `wide`."""
    seen = wide[valid if judged is None else judged]
    if not seen.size:
        return np.zeros(wide.shape, np.uint8)
    low, high = (float(value) for value in np.percentile(seen, percentiles))
    if high <= low:
        low, high = float(seen.min()), float(seen.max())
    if high <= low:
        return np.zeros(wide.shape, np.uint8)
    wide[~valid] = low
    return np.rint(np.clip((wide - low) / (high - low), 0, 1) * 255).astype(np.uint8)
