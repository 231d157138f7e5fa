"""`pretrain_mae`: a domain encoder from the user's own pictures, without labels."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.data import Augmentation, Batch, ImageData, ImageTransform
from acclimate.errors import RunError
from acclimate.files import fingerprint, replace_file, write_json
from acclimate.options import make_config
from acclimate.pretraining import folder
from acclimate.pretraining.config import MaeConfig
from acclimate.pretraining.selection import Chosen, Part, choose_pictures
from acclimate.pretraining.sheet import HIDDEN, draw_sheet
from acclimate.prompts import get_domain, guess_domain
from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.devices import Precision, make_accelerator, resolve_device
from acclimate.training.environment import environment, peak_memory
from acclimate.training.feeds import PixelFeed, evaluation_pixels
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal
from acclimate.training.progress import Progress, Silent
from acclimate.training.stages import GradientStage

STATISTICS = 4096  # pictures that mean and standard deviation are measured on, evenly spread
SHEET_ROWS = 8
HELD_OUT = 1024  # pictures that the held-out loss is measured on, evenly spread
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
        assert batch.pixels is not None
        return {"reconstruction": self.model.loss(batch.pixels)}

    def logits(self, batch: Batch) -> Tensor:
        """Refuse: there are no classes."""
        raise NotImplementedError("a masked autoencoder knows no classes")

    def learned_state(self) -> dict[str, Tensor]:
        """Return all weights."""
        return dict(self.model.state_dict())

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put such weights back."""
        self.model.load_state_dict(state)


def pretrain_mae(
    data: ImageData,
    out: str | os.PathLike[str],
    *,
    split: Part = "train",
    settings: Mapping[str, Any] | None = None,
    domain: str | None = None,
    seed: int = 1,
    overwrite: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    checkpoint_seconds: float = 30.0,
) -> dict[str, Any]:
    """Train a masked autoencoder (He et al. 2022, arXiv 2111.06377) and leave its encoder in a folder.

    Args:
        data: what `load_unlabelled` returns; labels are not used.
        out: folder for config.json, model.safetensors, preprocessor_config.json, record.json, log.jsonl and
            reconstructions.png; a run that was killed goes on there, a finished one is not repeated.
        split: which pictures of data with a split are learned from, see `choose_pictures`.
        settings: of `MaeConfig`.
        domain: says whether mirror images keep their meaning; none guesses it and says so.
        seed: of the initial weights, the views, the masks and the order.
        overwrite: forget what `out` holds.
        device, precision: as in `acclimate.adapt`.
        progress: told of every step.
        checkpoint_seconds: least time between two checkpoints; a killed run loses at most that much.

    Returns:
        The record.

    Raises:
        AcclimateError: one of its subclasses, for anything that the caller can mend.
    """
    config = make_config(MaeConfig, settings or {})
    torch_device = resolve_device(device)
    accelerator = make_accelerator(torch_device, precision)
    progress = progress or Silent()
    chosen = choose_pictures(data, split)
    augmentation = _augmentation(data, domain, config)
    path = Path(out)
    record = folder.open_folder(path, overwrite)
    identity = _identity(chosen, config, augmentation, seed, precision)
    if record is not None:
        return _finished(record, path, identity)

    started = time.monotonic()
    model = MaskedAutoencoder(config.size, config.image_size, config.patch_size, config.mask_ratio, seed)
    model.transform = measure_channels(chosen.train, model.transform, progress)
    model.to(torch_device)
    checkpoints = CheckpointFile(path / folder.CHECKPOINT, identity)
    checkpoint = checkpoints.load()
    if checkpoint is not None:
        logger.info("going on with the run in %s", path)
    journal = Journal(path / folder.LOG, checkpoint.position.journal if checkpoint else 0)
    seconds = 0.0
    epochs = config.passes(len(chosen.train))
    if epochs:
        learner, recipe = MaeLearner(model), config.recipe()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        stage = GradientStage(folder.KIND, recipe, epochs, learner.loss, weights)
        feed = PixelFeed(chosen.train, cast(Any, model), augmentation, seed)
        context = FitContext(accelerator, seed, journal, checkpoints, progress, checkpoint_seconds)
        seconds = fit(learner, [stage], feed, context=context).seconds
    model.eval()
    model.save(path)
    replace_file(path / folder.SHEET, draw_sheet(_sheet_rows(model, chosen, seed)))
    record = {
        "pretraining": folder.KIND,
        "identity": identity,
        "settings": {**vars(config), "epochs": epochs, "lr": config.recipe().lr},
        "parameters": model.parameter_counts,
        "data": {
            "name": data.name,
            "split": data.split_origin,
            "part": chosen.part,
            "images": len(chosen.train),
            "images_hash": _images_hash(chosen.train),
            "held_out": len(chosen.shown),
            "skipped": list(data.skipped),
        },
        "transform": model.transform.to_dict(),
        "augmentation": {"crop_scale": config.crop_scale, "flip": augmentation.flip},
        "seed": seed,
        "precision": {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        "loss": {
            "train": journal.lines[-1]["reconstruction"] if journal.lines else None,
            "held_out": _held_out_loss(model, chosen.shown, seed),
        },
        "cost": {
            "seconds": {"training": seconds, "total": time.monotonic() - started},
            "peak_memory": peak_memory(torch_device),
        },
        "environment": environment(torch_device),
    }
    write_json(path / folder.RECORD, record)
    checkpoints.delete()
    return record


def measure_channels(data: ImageData, transform: ImageTransform, progress: Progress) -> ImageTransform:
    """Return the transform with mean and standard deviation of the channels of these pictures.

    Nothing here was trained on ImageNet, so its figures have no claim, and radar or X-ray is far from them.

    Raises:
        DataError: a picture that cannot be read.
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


def _augmentation(data: ImageData, domain: str | None, config: MaeConfig) -> Augmentation:
    if domain is None:
        found, reason = guess_domain([name for name in data.class_names if name], data.name)
        mirrors = "mirror images are learned from too" if found.flip else "no mirror images"
        logger.info("domain '%s' (%s): %s; choose another with --domain", found.id, reason, mirrors)
    else:
        found = get_domain(domain)
    return Augmentation(crop=True, min_scale=config.crop_scale, flip=found.flip)


def _images_hash(data: ImageData) -> str:
    return fingerprint([data.digest(row) for row in range(len(data))])


def _identity(chosen: Chosen, config: MaeConfig, augmentation: Augmentation, seed: int, precision: str) -> str:
    """Return a fingerprint of everything that decides the weights."""
    return fingerprint(
        {
            "pretraining": folder.KIND,
            "images": _images_hash(chosen.train),
            "config": dict(vars(config)),
            "augmentation": augmentation.fingerprint,
            "seed": seed,
            "precision": precision,
        }
    )


def _finished(record: dict[str, Any], path: Path, identity: str) -> dict[str, Any]:
    if record.get("identity") != identity:
        raise RunError(
            f"{path} holds a finished encoder of other pictures or settings; choose another --out, or use --overwrite"
        )
    logger.info("%s holds this very encoder, finished; nothing to do (--overwrite repeats it)", path)
    return record


def _held_out_loss(model: MaskedAutoencoder, data: ImageData, seed: int) -> float | None:
    """Return the mean loss on held-out pictures, each under one fixed mask; none where there are none."""
    rows = _spread(len(data), HELD_OUT)
    total = 0.0
    for first in range(0, len(rows), CHUNK):
        some = rows[first : first + CHUNK]
        pixels = model.transform.normalise(evaluation_pixels(data, some, model.transform)).to(model.device)
        total += model.reconstruct(pixels, seed + first)[2] * len(some)
    return total / len(rows) if rows else None


def _sheet_rows(model: MaskedAutoencoder, chosen: Chosen, seed: int) -> list[list[np.ndarray]]:
    data = chosen.shown if len(chosen.shown) else chosen.train
    grey = evaluation_pixels(data, _spread(len(data), SHEET_ROWS), model.transform)  # (B, 3, H, W) uint8
    hidden, drawn, _ = model.reconstruct(model.transform.normalise(grey).to(model.device), seed)
    mean, std = (
        torch.tensor(v, device=model.device).view(3, 1, 1) for v in (model.transform.mean, model.transform.std)
    )
    picture = ((drawn * std + mean) / model.transform.rescale).round().clamp(0, 255).byte().cpu()
    masked = torch.where(hidden.cpu().unsqueeze(1), torch.tensor(HIDDEN, dtype=torch.uint8), grey)
    columns = [batch.permute(0, 2, 3, 1).numpy() for batch in (grey, masked, picture)]
    return [[column[row] for column in columns] for row in range(len(grey))]
