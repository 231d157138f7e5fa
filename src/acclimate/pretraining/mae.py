"""Masked autoencoding of the user's own images: what is learned, measured and shown; labels are not read."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.data import ImageData, ImageTransform
from acclimate.pretraining.selection import Chosen
from acclimate.pretraining.sheet import HIDDEN
from acclimate.training.batch import Batch
from acclimate.training.feeds import evaluation_pixels
from acclimate.training.progress import Progress

STATISTICS = 4096  # images that mean and standard deviation are measured on, evenly spread
SHEET_ROWS = 8
HELD_OUT = 1024  # images that the held-out loss is measured on, evenly spread
CHUNK = 64

logger = logging.getLogger("acclimate.pretraining")


class MaeLearner:
    """A masked autoencoder as the fit loop sees it."""

    def __init__(self, model: MaskedAutoencoder) -> None:
        self.model = model

    def train(self, mode: bool = True) -> MaeLearner:
        """Switch between training and evaluation."""
        self.model.train(mode)
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the reconstruction loss of a batch of pixels."""
        return {"reconstruction": self.model.loss(batch.pixels)}

    def learned_state(self) -> dict[str, Tensor]:
        """Return all weights."""
        return dict(self.model.state_dict())

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put such weights back."""
        self.model.load_state_dict(state)


def measure_channels(data: ImageData, transform: ImageTransform, progress: Progress) -> ImageTransform:
    """Return the transform with mean and standard deviation of the channels of these images.

    Nothing here was trained on ImageNet, so its figures have no claim, and radar or X-ray is far from them.

    Raises:
        DataError: an image that cannot be read.
    """
    raw = replace(transform, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    rows = _spread(len(data), STATISTICS)
    sums, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    progress.start("reading", len(rows))
    for first in range(0, len(rows), CHUNK):
        some = rows[first : first + CHUNK]
        pixels = raw.normalise(evaluation_pixels(data, some, raw)).double()
        sums += pixels.mean((2, 3)).sum(0)
        squares += pixels.square().mean((2, 3)).sum(0)
        progress.advance(len(some))
    progress.finish()
    mean = sums / len(rows)
    std = (squares / len(rows) - mean.square()).clamp(min=1e-4).sqrt()  # one colour alone must not divide by nothing
    return replace(transform, mean=_three(mean), std=_three(std))


def _three(values: Tensor) -> tuple[float, float, float]:
    red, green, blue = (round(value, 4) for value in values.tolist())
    return red, green, blue


def _spread(count: int, most: int) -> list[int]:
    """At most so many rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []


def held_out_loss(model: MaskedAutoencoder, data: ImageData, seed: int) -> float | None:
    """Return the mean loss on held-out images, each under one fixed mask; none where there are none."""
    rows = _spread(len(data), HELD_OUT)
    total = 0.0
    for first in range(0, len(rows), CHUNK):
        some = rows[first : first + CHUNK]
        pixels = model.transform.normalise(evaluation_pixels(data, some, model.transform)).to(model.device)
        total += model.reconstruct(pixels, seed + first)[2] * len(some)
    return total / len(rows) if rows else None


def sheet_rows(model: MaskedAutoencoder, chosen: Chosen, seed: int) -> list[list[np.ndarray]]:
    """Return a few images, each as it is, with its hidden patches, and as the model draws them (H, W, 3)."""
    data = chosen.shown if len(chosen.shown) else chosen.train
    grey = evaluation_pixels(data, _spread(len(data), SHEET_ROWS), model.transform)  # (B, 3, H, W) uint8
    hidden, drawn, _ = model.reconstruct(model.transform.normalise(grey).to(model.device), seed)
    mean, std = (
        torch.tensor(v, device=model.device).view(3, 1, 1) for v in (model.transform.mean, model.transform.std)
    )
    image = ((drawn * std + mean) / model.transform.rescale).round().clamp(0, 255).byte().cpu()
    masked = torch.where(hidden.cpu().unsqueeze(1), torch.tensor(HIDDEN, dtype=torch.uint8), grey)
    columns = [batch.permute(0, 2, 3, 1).numpy() for batch in (grey, masked, image)]
    return [[column[row] for column in columns] for row in range(len(grey))]
