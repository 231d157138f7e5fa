"""`pretrain_classifier`: a domain encoder from labelled images, a task-specific model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from acclimate import arguments
from acclimate.backbones import DomainEncoder, load_domain_encoder
from acclimate.backbones.saving import CONFIG, PROCESSOR, WEIGHTS
from acclimate.data import ImageData
from acclimate.data.shots import parse_shots
from acclimate.files import fingerprint, write_json
from acclimate.options import identifying, make_config
from acclimate.pretraining.classifier import ClassifierConfig, ClassifierLearner, MixedFeed
from acclimate.pretraining.labelled import LabelledSet, Slices
from acclimate.runs import folder
from acclimate.runs.heads import HEAD, HEAD_INFO, read_head, write_head
from acclimate.runs.labelled_sets import draw_sets
from acclimate.runs.orchestrator import Run, carry_out
from acclimate.runs.pretraining import reopen_encoder
from acclimate.runs.records import PRECISIONS
from acclimate.runs.run_files import RunFiles
from acclimate.runs.run_options import RunOptions
from acclimate.runs.seen import Seen, seen_by_encoder, write_images
from acclimate.training.devices import Precision, resolve_device
from acclimate.training.environment import environment, peak_memory
from acclimate.training.fine_tuning import VisionClassifier
from acclimate.training.fit import FitContext, fit
from acclimate.training.progress import Progress, Silent
from acclimate.training.seeding import seed_step

KIND = "classifier"


def pretrain_classifier(
    data: ImageData | Sequence[ImageData],
    out: str | os.PathLike[str],
    *,
    encoder: str | os.PathLike[str] | DomainEncoder = "mini-clip",
    shots: int | str = "all",
    settings: Mapping[str, Any] | None = None,
    domain: str | None = None,
    multi_label: bool = False,
    seed: int = 1,
    overwrite: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    progress: Progress | None = None,
    checkpoint_seconds: float = 30.0,
) -> dict[str, Any]:
    """Fine-tune a vision encoder with labels, on one or several data sets, and leave it in a folder.

    Several data sets share one head, in which each has a slice of outputs; those with the very same classes share one
    (`share_labels`). An image is learned from, and measured, among the outputs of its own set.

    Args:
        data: what `load_data` returns, each with its split; their names must differ.
        out: folder for config.json, model.safetensors, preprocessor_config.json, head.safetensors, head.json,
            record.json, images.txt and log.jsonl; a run that was killed goes on there, a finished one is not repeated.
        encoder: what it begins with: a folder, a Hub id, the name of an embedded backbone, whose image tower is taken,
            or a loaded domain encoder that came from such a place. A folder that this function has written is gone on
            from: data sets with the very same classes keep their part of the head.
        shots: training images of every class, "all", or "budget:N", of each data set; of validation images as many as
            in `acclimate.adapt`.
        settings: of `ClassifierConfig`.
        domain: of all data sets, says whether mirror images keep their meaning; none guesses it for each and says so.
        multi_label: whether images may have several labels, written with "|" between.
        seed: of the shots, the head, the views and the order.
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
    config, seed = make_config(ClassifierConfig, settings or {}), arguments.whole("seed", seed)
    some = [data] if isinstance(data, ImageData) else list(data)
    sets = draw_sets(some, shots, seed, config, domain, multi_label)
    arguments.encoder("encoder", encoder)
    start = encoder if isinstance(encoder, DomainEncoder) else load_domain_encoder(os.fspath(encoder))
    return carry_out(ClassifierPretraining(sets, start, config, seed, options, shots=shots)).record


@dataclass
class TrainedClassifier:
    """What a run of `ClassifierPretraining` gives.

    Attributes:
        record: what record.json holds.
        folder: where it lies; none where it was trained in memory.
        device: where the encoder is put.
        trained: the encoder, where there is no folder.
    """

    record: dict[str, Any]
    folder: Path | None
    device: torch.device
    trained: DomainEncoder | None = None

    @cached_property
    def encoder(self) -> DomainEncoder:
        """The domain encoder that it is."""
        return self.trained or load_domain_encoder(cast(Path, self.folder), device=self.device)


class ClassifierPretraining(Run[TrainedClassifier]):
    """The training of a classifier.

    Without a folder in the options it stays in memory.

    Args:
        sets: what is learned from, of different names.
        start: the encoder whose weights it begins with; it stays as it is.
        config: its settings.
        seed: of the head, the views and the order.
        options: where and how it is carried out.
        shots: what was drawn, for the record.

    Raises:
        ConfigError: two sets of one name.
        DataError: a set with nothing to learn from, or `start` has seen test images.
    """

    layout = folder.Layout(
        (
            *(CONFIG, WEIGHTS, PROCESSOR, HEAD, HEAD_INFO),
            *(folder.IMAGES, folder.LOG, folder.CHECKPOINT, folder.RECORD),
        ),
        kind=KIND,
    )

    def __init__(
        self,
        sets: Sequence[LabelledSet],
        start: DomainEncoder,
        config: ClassifierConfig,
        seed: int,
        options: RunOptions,
        *,
        shots: int | str = "all",
    ) -> None:
        self.sets, self.start, self.config, self.seed, self.options = list(sets), start, config, seed, options
        self.shots, self.device = parse_shots(shots), resolve_device(options.device)
        for one in self.sets:
            one.check()
        self.slices = Slices.of(self.sets, config.share_labels)
        before = seen_by_encoder(start, "encoder") or Seen("", "", frozenset())
        before.refuse(one.test for one in self.sets if len(one.test))
        self.learned = [*dict.fromkeys([*sorted(before.learned), *_digests(one.train for one in self.sets)])]
        chosen = dict.fromkeys([*sorted(before.chosen_by), *_digests(one.val for one in self.sets)])
        self.chosen_by = [digest for digest in chosen if digest not in {*self.learned}]
        self.known = read_head(start.place.folder) if start.place is not None else None
        self.processor = start.processor() if options.out is not None else {}
        self.seconds: dict[str, float] = {"training": 0.0}

    @property
    def images(self) -> list[str]:
        """The sha256 of all images that it sees, those that it is only chosen by at the end."""
        return [*self.learned, *self.chosen_by]

    def identity(self) -> str:
        """Return a fingerprint of everything that decides the weights and what is measured."""
        views = [one.augmentation.fingerprint if one.augmentation else None for one in self.sets]
        return fingerprint(
            {
                "pretraining": KIND,
                "encoder": [self.start.identity, self.start.transform.fingerprint],
                "head": self.known and self.known.fingerprint,
                "sets": [[one.name, one.describe()] for one in self.sets],
                "views": views,
                "config": identifying(self.config),
                "seed": self.seed,
                "precision": self.options.precision,
            }
        )

    def reopen(self, path: Path, identity: str) -> TrainedClassifier:
        """Return the finished encoder of a folder."""
        return TrainedClassifier(reopen_encoder(path, identity, self.images), path, self.device)

    def learn(self, files: RunFiles, context: FitContext) -> None:
        """Copy the encoder, draw a head, and train both."""
        seed_step(self.seed, "init", KIND)
        network = VisionClassifier(self.start, len(self.slices.columns)).to(self.device)
        self.kept = self.known.fill(network, self.slices) if self.known else []
        self.network, self.learner = network, ClassifierLearner(network, self.sets, self.slices, self.config)
        train, val = (
            MixedFeed(self.sets, part, self.slices, network, self.seed if part == "train" else 0)
            for part in ("train", "val")
        )
        stage = self.config.stage(KIND, network, len(train), self.learner.loss, len(val))
        self.epochs = stage.epochs
        position = fit(cast(Any, self.learner), [stage], train, val, context=context, score=self.learner.score)
        self.seconds["training"] = position.seconds

    def describe(self, identity: str, context: FitContext) -> dict[str, Any]:
        """Measure it on the validation and test images of each set, and return the record."""
        lines, precision = context.journal.lines if context.journal else [], context.accelerator.mixed_precision
        weights = {
            name: sum(weight.numel() for weight in part.parameters()) for name, part in self.network.named_children()
        }
        start, place = self.start, self.start.place
        return {
            "pretraining": KIND,
            "identity": identity,
            "from": {"id": start.name, "fingerprint": start.fingerprint, "local": bool(place and place.local)},
            "head_kept": self.kept,
            "settings": {**vars(self.config), "epochs": self.epochs},
            "kept_epoch": next((line["kept_epoch"] for line in reversed(lines) if "kept_epoch" in line), None),
            "parameters": weights,
            "data": {
                "name": "+".join(one.name for one in self.sets),
                "part": "train",
                "images": sum(len(one.train) for one in self.sets),
                "images_hash": fingerprint(self.images),
                "chosen_by": len(self.chosen_by),
                **self._split_made(),
                "sets": {one.name: self._of(one) for one in self.sets},
            },
            "transform": start.transform.to_dict(),
            "shots": self.shots,
            "seed": self.seed,
            "precision": PRECISIONS.get(precision, precision),
            "validation": self.learner.measure("val"),
            "tests": self.learner.measure("test"),
            "cost": {"seconds": self.seconds, "peak_memory": peak_memory(self.device)},
            "environment": environment(self.device),
        }

    def _split_made(self) -> dict[str, Any]:
        """Return how the split was made, for messages, where it is that of a single set."""
        made = self.sets[0].train.split_made
        return {"split_made": dict(made)} if made and len(self.sets) == 1 else {}

    def _of(self, one: LabelledSet) -> dict[str, Any]:
        views = one.augmentation and {"crop": one.augmentation.crop, "flip": one.augmentation.flip}
        made = dict(one.train.split_made) if one.train.split_made else None
        told = {"split": one.train.split_origin, "split_made": made, "augmentation": views}
        return {**one.describe(), **told, "skipped": list(one.train.skipped)}

    def finish(self, record: dict[str, Any], files: RunFiles) -> TrainedClassifier:
        """Write the encoder, its head and the record, if there is a folder."""
        path = files.path
        if path is None:
            name = f"{KIND} on {record['data']['name']}"
            return TrainedClassifier(record, None, self.device, self.network.encoder.frozen(name))
        write_images(path, self.images)  # first: nobody finds the weights without it
        self.network.encoder.save(path, self.processor)
        write_head(path, self.network, self.slices)
        write_json(path / folder.RECORD, record)
        return TrainedClassifier(record, path, self.device)


def _digests(parts: Any) -> list[str]:
    return [part.digest(row) for part in parts for row in range(len(part))]
