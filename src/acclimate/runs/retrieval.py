"""`adapt_captions`: from images with captions to an adapter that finds captions for images, and images for captions."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acclimate.data import CaptionData, parse_budget, sample_shots
from acclimate.data.frozen import assignment_hash, split_table
from acclimate.files import fingerprint
from acclimate.methods import Method, TrainingFacts, get_method
from acclimate.options import identifying, make_config
from acclimate.prompts import PromptSet
from acclimate.runs.conditions import Conditions
from acclimate.runs.encoders import open_backbone
from acclimate.runs.evaluation import evaluate_captions, refuse_captions
from acclimate.runs.model import AdaptedModel, reopen
from acclimate.runs.reading import check_named, look
from acclimate.runs.records import run_record
from acclimate.runs.run_files import RunFiles
from acclimate.runs.starting import read_start
from acclimate.training.devices import make_accelerator, resolve_device
from acclimate.training.fit import FitContext, fit
from acclimate.training.progress import Timed
from acclimate.training.seeding import seed_step
from acclimate.training.serving import caption_feed

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder

logger = logging.getLogger("acclimate.runs")

BASELINE = "zero-shot"
TASK = "retrieval"


def adapt_captions(
    data: CaptionData,
    method: str,
    backbone: str | os.PathLike[str] | DualEncoder,
    how: Conditions,
    *,
    budget: int | str = "all",
    seed: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> AdaptedModel:
    """Adapt a backbone to images with captions: learn from the training split, measure on the test split.

    Args:
        data: images with captions.
        method: one that learns from captions.
        backbone: Hub id, folder or catalogue name, or a loaded backbone.
        how: where and how.
        budget: "budget:N" for N training images; anything else takes all of them.
        seed: of the budget, the initial values and the training.
        settings: as in `adapt`.

    Returns:
        The model; its `record` holds Recall@1, @5 and @10 in both directions, beside those of the backbone itself.

    Raises:
        AcclimateError: one of its subclasses, for anything that the caller can mend.
    """
    kind, torch_device = get_method(method), resolve_device(how.device)
    refuse_captions(kind, data)
    config: Any = make_config(kind.Config, settings or {})
    accelerator, encoder = make_accelerator(torch_device, how.precision), open_backbone(backbone, torch_device)
    shots = parse_budget(budget)
    train, test = _few(data.split("train"), shots, seed), data.split("test")
    logger.info("%s: captions of %d images are learned from (--shots budget:N takes N)", data.name, len(train))
    splits = {"train": train.images, "test": test.images}
    hashed = assignment_hash(split_table(splits, digests=True))
    begin = read_start(how.start, method, encoder, [test.images])
    identity = fingerprint(
        {
            "task": TASK,
            "method": method,
            "config": identifying(config),
            "backbone": encoder.fingerprint,
            "transform": encoder.transform.fingerprint,
            "splits": hashed,
            "captions": [train.fingerprint, test.fingerprint],
            "seed": seed,
            "precision": how.precision,
            **({} if begin is None else {"start": begin.sha256}),
            **how.named(),
        }
    )
    check_named(how.look_at, train.images, kind, config)
    files = RunFiles(how.out, identity, how.overwrite)
    if files.finished:
        return reopen(files.finished, identity, encoder, None, how.cache_dir)
    files.begin(splits, data.name, seed, shots)

    started, seconds = time.monotonic(), dict[str, float]()
    shown = Timed(how.progress, seconds)
    learner = _make(kind, config, encoder, seed)
    if begin is not None:
        learner.load_learned_state(begin.state)
    stages = learner.retrieval_stages(TrainingFacts(len(train), len(train)))
    if stages:
        feed = caption_feed(encoder, train, how.cache_dir, shown)
        context = FitContext(accelerator, seed, files.journal, files.checkpoints, how.progress, how.checkpoint_seconds)
        seconds[method] = fit(learner, stages, feed, context=context).seconds
    baseline = get_method(BASELINE)
    plain = _make(baseline, make_config(baseline.Config, {}), encoder, seed)
    measured = [evaluate_captions(one, test, how.cache_dir, shown) if len(test) else None for one in (learner, plain)]
    seconds["total"] = time.monotonic() - started
    record = run_record(
        learner,
        identity,
        metrics=measured[0],
        tests={},
        baselines={BASELINE: measured[1]},
        splits=splits,
        splits_hash=hashed,
        shots=shots,
        seed=seed,
        precision=accelerator.mixed_precision,
        seconds=seconds,
    )
    record["task"] = TASK
    record["data"]["captions"] = {"train": sum(map(len, train.captions)), "test": sum(map(len, test.captions))}
    if learner.reading is not None:
        record["reading"] = look(
            learner.reading, encoder, train.images, train.captions, files.path, how.cache_dir, how.look_at
        )
    if begin is not None:
        record["start"] = begin.describe()
    return files.end(AdaptedModel(learner, record, splits, files.journal.lines, how.cache_dir))


def _make(kind: type[Method], config: object, backbone: DualEncoder, seed: int) -> Method:
    """Return a method that knows no classes, with initial values drawn from the seed."""
    method = kind(backbone, config, PromptSet())
    seed_step(seed, "init", kind.name)
    method.bind(())
    return method


def _few(data: CaptionData, budget: str, seed: int) -> CaptionData:
    """Return so many images, the same on every machine, or all of them."""
    if budget == "all":
        return data
    return replace(data, images=sample_shots(data.images, budget, seed))
