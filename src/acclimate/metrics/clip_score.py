"""Figures of written captions by a dual encoder: CLIPScore, which needs no references, and RefCLIPScore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

WEIGHT = 2.5
PREFIX = "A photo depicts "
"""What stands before every caption and every reference, as in the code of the authors."""


def clip_score(images: ArrayLike, captions: ArrayLike) -> NDArray[np.float64]:
    """Return the CLIPScore (N,) of each caption, 0 to 2.5; their mean is the figure.

    2.5 max(cos(c, v), 0), where v is the feature of the image, and c that of `PREFIX` and the caption.
    Source: Hessel et al. 2021 (arXiv 2104.08718), section 3.

    Args:
        images: features (N, E).
        captions: features (N, E).

    >>> clip_score([[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [0.0, -1.0]]).round(6).tolist()
    [1.5, 0.0]
    """
    return WEIGHT * np.maximum((_directions(images) * _directions(captions)).sum(axis=1), 0.0)


def ref_clip_score(
    images: ArrayLike, captions: ArrayLike, references: ArrayLike, owners: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the RefCLIPScore (N,) of each caption; their mean is the figure.

    The harmonic mean of its CLIPScore and max(max_r cos(c, r), 0), where r are features of the references with
    `PREFIX`; 0 where both are 0. Source: Hessel et al. 2021 (arXiv 2104.08718), section 3.

    Args:
        images: features (N, E).
        captions: features (N, E).
        references: features (M, E).
        owners: (M,) which of the captions each reference belongs to; each has one or more.

    >>> ref_clip_score([[1.0, 0.0]], [[3.0, 4.0]], [[0.0, 1.0], [-1.0, 0.0]], [0, 0]).round(6).tolist()
    [1.043478]
    """
    score, owners = clip_score(images, captions), np.asarray(owners)
    cosines = (_directions(captions)[owners] * _directions(references)).sum(axis=1)
    best = np.zeros(len(score))
    np.maximum.at(best, owners, cosines)
    both = score + best
    return np.divide(2.0 * score * best, both, out=np.zeros(len(score)), where=both > 0)


def _directions(features: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(features, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
