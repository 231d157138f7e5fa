"""What masked pretraining is worth as it goes on: a linear probe on its encoder, on validation images.

Trains on the training images as `acclimate pretrain mae` does and, every few epochs, fits a logistic regression
(standardised features, C = 0.1) on training images and prints its balanced accuracy on the validation images, with
all training images and with 16 a class (mean of three draws). Test images are never opened.

    python benchmarks/mae_probe.py DATA/sar_acd --epochs 30 --every 10 --no-flips
    python benchmarks/mae_probe.py DATA/lithology --epochs 40 --every 20 --lr 1e-3
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from acclimate.backbones import load_domain_encoder
from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.data import Augmentation, ImageData, load_data, sample_shots
from acclimate.pretraining.config import MaeConfig
from acclimate.pretraining.mae import MaeLearner, measure_channels
from acclimate.pretraining.selection import choose_images
from acclimate.training.devices import make_accelerator
from acclimate.training.feeds import PixelFeed, evaluation_pixels
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal
from acclimate.training.progress import Silent
from acclimate.training.stages import GradientStage

SHOTS, DRAWS, STRENGTH = 16, (1, 2, 3), 0.1


def features(model: MaskedAutoencoder, data: ImageData) -> np.ndarray:
    """Return what the encoder gives as a domain encoder (N, F), evaluation views."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        encoder = load_domain_encoder(folder)
    parts = []
    for rows in torch.arange(len(data)).split(64):
        pixels = evaluation_pixels(data, rows.tolist(), encoder.transform)
        parts.append(encoder.encode_image(encoder.transform.normalise(pixels)))
    return torch.cat(parts).numpy()


def probe(model: MaskedAutoencoder, data: ImageData) -> tuple[float, float]:
    """Return the balanced accuracy on validation images in percent: all training images, and few."""
    train, val = data.train, data.val
    inputs, targets = features(model, train), features(model, val)

    def score(rows: np.ndarray) -> float:
        scaler = StandardScaler().fit(inputs[rows])
        fitted = LogisticRegression(C=STRENGTH, max_iter=300).fit(scaler.transform(inputs[rows]), train.labels[rows])
        return 100 * balanced_accuracy_score(val.labels, fitted.predict(scaler.transform(targets)))

    place = {key: row for row, key in enumerate(train.keys)}
    few = [np.array([place[key] for key in sample_shots(train, SHOTS, seed).keys]) for seed in DRAWS]
    return score(np.arange(len(train))), float(np.mean([score(rows) for rows in few]))


def main() -> None:
    """Train and probe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--patch-size", type=int)
    parser.add_argument("--no-flips", action="store_true")
    given = parser.parse_args()
    names = ("epochs", "lr", "batch_size", "image_size", "patch_size")
    config = MaeConfig(**{name: getattr(given, name) for name in names})
    data = load_data(given.data, split_rule="greedy")
    chosen = choose_images(data)
    model = MaskedAutoencoder(config.size, config.image_size, config.patch_size, config.mask_ratio, seed=1)
    model.transform = measure_channels(chosen.train, model.transform, Silent())
    started = time.process_time()

    def report(epoch: int, loss: float | None) -> None:
        everything, few = probe(model, data)
        shown = "" if loss is None else f"loss {loss:.3f}  "
        seconds = time.process_time() - started
        print(f"epoch {epoch:4}  {shown}all {everything:.1f}  {SHOTS} shots {few:.1f}  {seconds:.0f} s", flush=True)

    class Probing(Journal):
        def write(self, **entry: Any) -> None:
            super().write(**entry)
            if (entry["epoch"] + 1) % given.every == 0:
                report(entry["epoch"] + 1, entry["reconstruction"])

    report(0, None)
    learner = MaeLearner(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    stage = GradientStage("mae", config.recipe(), given.epochs, learner.loss, weights)
    views = Augmentation(min_scale=config.crop_scale, flip=not given.no_flips)
    feed = PixelFeed(chosen.train, cast(Any, model), views, seed=1)
    fit(learner, [stage], feed, context=FitContext(make_accelerator(torch.device("cpu"), "fp32"), 1, Probing()))


if __name__ == "__main__":
    main()
