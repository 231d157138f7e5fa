"""`pretrain_mae`: a domain encoder from the user's own images, without labels."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.backbones.saving import CONFIG, PROCESSOR, WEIGHTS
from acclimate.data import Augmentation, ImageData
from acclimate.errors import RunError
from acclimate.files import fingerprint, read_json, replace_file, write_json
from acclimate.options import make_config
from acclimate.pretraining.config import MaeConfig
from acclimate.pretraining.mae import MaeLearner, held_out_loss, measure_channels, sheet_rows
from acclimate.pretraining.selection import Part, choose_images
from acclimate.pretraining.sheet import draw_sheet
from acclimate.prompts import Domain, get_domain, guess_domain
from acclimate.runs import folder
from acclimate.runs.orchestrator import Run, carry_out
from acclimate.runs.records import PRECISIONS
from acclimate.runs.run_files import RunFiles
from acclimate.runs.run_options import RunOptions
from acclimate.runs.seen import restore_images, write_images
from acclimate.training.devices import Precision, resolve_device
from acclimate.training.environment import environment, peak_memory
from acclimate.training.feeds import PixelFeed
from acclimate.training.fit import FitContext, fit
from acclimate.training.progress import Progress, Silent
from acclimate.training.stages import GradientStage

KIND = "mae"
SHEET = "reconstructions.png"

logger = logging.getLogger("acclimate.pretraining")


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
        out: folder for config.json, model.safetensors, preprocessor_config.json, record.json, images.txt, log.jsonl and
            reconstructions.png; a run that was killed goes on there, a finished one is not repeated.
        split: which images of data with a split are learned from, see `choose_images`.
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
    options = RunOptions(
        out=out,
        overwrite=overwrite,
        device=device,
        precision=precision,
        progress=progress or Silent(),
        checkpoint_seconds=checkpoint_seconds,
    )
    return carry_out(MaskedPretraining(data, split, make_config(MaeConfig, settings or {}), domain, seed, options))


class MaskedPretraining(Run[dict[str, Any]]):
    """The training of a masked autoencoder; arguments as in `pretrain_mae`."""

    layout = folder.Layout(
        (CONFIG, WEIGHTS, PROCESSOR, SHEET, folder.IMAGES, folder.LOG, folder.CHECKPOINT, folder.RECORD), kind=KIND
    )

    def __init__(
        self, data: ImageData, split: Part, config: MaeConfig, domain: str | None, seed: int, options: RunOptions
    ) -> None:
        self.data, self.config, self.seed, self.options = data, config, seed, options
        self.device = resolve_device(options.device)
        self.chosen = choose_images(data, split)
        self.augmentation = _augmentation(data, domain, config)
        self.epochs = config.passes(len(self.chosen.train))
        self.images = [self.chosen.train.digest(row) for row in range(len(self.chosen.train))]
        self.seconds: dict[str, float] = {"training": 0.0}

    def identity(self) -> str:
        """Return a fingerprint of everything that decides the weights."""
        return fingerprint(
            {
                "pretraining": KIND,
                "images": fingerprint(self.images),
                **({"bands": list(self.chosen.train.bands)} if self.chosen.train.bands else {}),
                "config": dict(vars(self.config)),
                "augmentation": self.augmentation.fingerprint,
                "seed": self.seed,
                "precision": self.options.precision,
            }
        )

    def reopen(self, path: Path, identity: str) -> dict[str, Any]:
        """Return the record of a finished encoder."""
        return reopen_encoder(path, identity, self.images)

    def learn(self, files: RunFiles, context: FitContext) -> None:
        """Measure the channels, make the model, and train it."""
        config = self.config
        model = MaskedAutoencoder(config.size, config.image_size, config.patch_size, config.mask_ratio, self.seed)
        model.transform = measure_channels(self.chosen.train, model.transform, self.options.progress)
        self.model = model.to(self.device)
        if self.epochs:
            learner, recipe = MaeLearner(model), config.recipe()
            weights = [weight for weight in model.parameters() if weight.requires_grad]
            stage = GradientStage(KIND, recipe, self.epochs, learner.loss, weights)
            feed = PixelFeed(self.chosen.train, cast(Any, model), self.augmentation, self.seed)
            self.seconds["training"] = fit(learner, [stage], feed, context=context).seconds
        model.eval()

    def describe(self, identity: str, context: FitContext) -> dict[str, Any]:
        """Return the record."""
        model, config, chosen, precision = self.model, self.config, self.chosen, context.accelerator.mixed_precision
        lines = context.journal.lines if context.journal else []
        return {
            "pretraining": KIND,
            "identity": identity,
            "settings": {**vars(config), "epochs": self.epochs, "lr": config.recipe().lr},
            "parameters": model.parameter_counts,
            "data": {
                "name": self.data.name,
                "split": self.data.split_origin,
                "split_made": self.data.split_made,
                "part": chosen.part,
                "images": len(chosen.train),
                "images_hash": fingerprint(self.images),
                "held_out": len(chosen.shown),
                "skipped": list(self.data.skipped),
            },
            "transform": model.transform.to_dict(),
            "augmentation": {"crop_scale": config.crop_scale, "flip": self.augmentation.flip},
            "seed": self.seed,
            "precision": PRECISIONS.get(precision, precision),
            "loss": {
                "train": lines[-1]["reconstruction"] if lines else None,
                "held_out": held_out_loss(model, chosen.shown, self.seed),
            },
            "cost": {"seconds": self.seconds, "peak_memory": peak_memory(self.device)},
            "environment": environment(self.device),
        }

    def finish(self, record: dict[str, Any], files: RunFiles) -> dict[str, Any]:
        """Write the encoder, the sheet and the record."""
        assert files.path is not None  # there is no pretraining without a folder
        write_images(files.path, self.images)  # first: nobody finds the weights without it
        self.model.save(files.path)
        replace_file(files.path / SHEET, draw_sheet(sheet_rows(self.model, self.chosen, self.seed)))
        write_json(files.path / folder.RECORD, record)
        return record


def _augmentation(data: ImageData, domain: str | None, config: MaeConfig) -> Augmentation:
    return Augmentation(crop=True, min_scale=config.crop_scale, flip=choose_domain(data, domain).flip)


def choose_domain(data: ImageData, domain: str | None) -> Domain:
    """Return the domain that is named, or the one that is guessed, which a note says: it allows mirror images or not.

    Raises:
        ConfigError: there is none of that name.
    """
    if domain is not None:
        return get_domain(domain)
    found, reason = guess_domain([name for name in data.class_names if name], data.name)
    mirrors = "mirror images are learned from too" if found.flip else "no mirror images"
    logger.info("domain '%s' (%s): %s; choose another with `domain`", found.id, reason, mirrors)
    return found


def reopen_encoder(path: Path, identity: str, images: list[str]) -> dict[str, Any]:
    """Return the record of a finished encoder, whose list of images is written again where it was lost.

    Raises:
        RunError: it is another one.
    """
    record: dict[str, Any] = read_json(path / folder.RECORD, "restore the file, or name a new folder with `out`")
    if record.get("identity") != identity:
        raise RunError(
            f"{path} holds a finished encoder of other images or settings; choose another `out`, or use "
            "`overwrite=True`"
        )
    logger.info("%s holds this very encoder, finished; nothing to do (`overwrite=True` repeats it)", path)
    if restore_images(path, images):
        logger.info("the list of its images was not there, and is in %s now", path / folder.IMAGES)
    return record
