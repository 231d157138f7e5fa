"""`adapt`: from labelled images to an adapted model with a record of what it is worth."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data import CaptionData, ImageData, find_captions, load_captions, load_data, parse_shots
from acclimate.methods import Method, Prerequisite, get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet, ReferencePrompts
from acclimate.protocols import FewShot, Trial
from acclimate.runs import folder
from acclimate.runs.conditions import Conditions
from acclimate.runs.encoders import open_backbone, open_domain_encoder
from acclimate.runs.model import AdaptedModel, reopen
from acclimate.runs.prerequisites import Learned, given_files, learn_prerequisites
from acclimate.runs.prompting import choose_prompts, references_of
from acclimate.runs.reading import check_named, look
from acclimate.runs.records import run_record
from acclimate.runs.retrieval import adapt_captions
from acclimate.runs.run_files import RunFiles
from acclimate.runs.starting import Start, read_start
from acclimate.runs.task import Task
from acclimate.training.devices import Precision, make_accelerator, resolve_device
from acclimate.training.fit import FitContext
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder

logger = logging.getLogger("acclimate.runs")

BASELINES = ("zero-shot", "linear-probe", "domain-linear-probe")


def adapt(
    data: ImageData | CaptionData | str | os.PathLike[str],
    method: str = "coop",
    backbone: str | os.PathLike[str] | DualEncoder = "mini-clip",
    *,
    shots: int | str = 16,
    seed: int = 1,
    domain: str | None = None,
    names: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    checkpoint_seconds: float = 5.0,
    domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
    reference_prompts: str | os.PathLike[str] | Mapping[str, Sequence[str]] | None = None,
    start: str | os.PathLike[str] | None = None,
    look_at: Sequence[str] = (),
) -> AdaptedModel:
    """Adapt a backbone to labelled images, or to images with captions (see `adapt_captions`).

    Args:
        data: what `load_data` or `load_captions` returns or reads. Training, validation and test images are its splits.
        method: name of a method, see `acclimate methods`.
        backbone: Hub id, folder or catalogue name, or a loaded backbone.
        shots: training images per class, `all`, or `budget:64` for 64 in all; validation uses at most 4 per class
            unless `all`.
        seed: of the shots, the initial values and the training; the split itself does not depend on it.
        domain: domain of the templates, see `acclimate.prompts.list_domains`; none guesses it and says so.
        names: words for class names, where the names themselves read badly.
        settings: of the method, as in `--set`.
        out: run folder; a run that was killed goes on there, a finished one is loaded. None keeps everything in memory.
        overwrite: forget what `out` holds.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every step.
        checkpoint_seconds: least time between two checkpoints in `out`; a killed run loses at most that much.
        domain_encoder: Hub id or folder of a frozen vision encoder, "self" for the backbone's own image features, or a
            loaded one, for methods that read its features.
        reference_prompts: sentences that describe the classes, for methods that learn from them: a mapping of class to
            sentences, or a file as `acclimate.prompts.read_reference_prompts` reads it; none composes some.
        start: folder of an earlier run of the same method and backbone, from whose learned tensors this one goes on; it
            may not have seen the test images.
        look_at: training images, by their keys, whose reading the record shows; none chooses some.

    Returns:
        The model; its `record` holds the test metrics beside those of zero-shot and a linear probe, and of a linear
        probe on the domain encoder where the method reads one.

    Raises:
        AcclimateError: one of its subclasses, for anything that the caller can mend.
    """
    conditions = Conditions(
        out=out,
        overwrite=overwrite,
        device=device,
        precision=precision,
        cache_dir=cache_dir,
        progress=progress or Silent(),
        checkpoint_seconds=checkpoint_seconds,
        start=start,
        look_at=look_at,
    )
    if isinstance(data, CaptionData) or find_captions(data) is not None:
        captions = load_captions(data)  # type: ignore[arg-type]
        return adapt_captions(captions, method, backbone, conditions, budget=shots, seed=seed, settings=settings)
    data = load_data(data)
    shots = parse_shots(shots)
    trial = FewShot().draw(data.name, {data.name: data}, shots, seed)
    if len(data.test) == 0:
        logger.warning("%s has no test images: the adapter is made, but nothing is measured", data.name)
    return adapt_trial(
        trial,
        method,
        backbone,
        conditions,
        prompts=choose_prompts(data, domain, names),
        baselines=BASELINES,
        shots=shots,
        seed=seed,
        settings=settings,
        domain_encoder=domain_encoder,
        reference_prompts=reference_prompts,
    )


def adapt_trial(
    trial: Trial,
    method: str,
    backbone: str | os.PathLike[str] | DualEncoder,
    conditions: Conditions | None = None,
    *,
    prompts: PromptSet,
    test_prompts: Mapping[str, PromptSet] | None = None,
    baselines: Sequence[str] = (),
    shots: int | str,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
    reference_prompts: str | os.PathLike[str] | Mapping[str, Sequence[str]] | ReferencePrompts | None = None,
    shared: Path | None = None,
) -> AdaptedModel:
    """Adapt a backbone to the training images of a trial and measure it on each of its tests.

    Args:
        trial: what a protocol has drawn.
        method: name of a method.
        backbone: Hub id, folder or catalogue name, or a loaded backbone.
        conditions: where and how; by default in memory.
        prompts: words and templates of the classes.
        test_prompts: those of tests that have others, by the name of the test.
        baselines: methods that are measured beside it, but for those that read a domain encoder where it does not.
        shots: what was drawn, for the record.
        seed: of the initial values and the training.
        settings, domain_encoder, reference_prompts: as in `adapt`.
        shared: folder of runs that several runs build on; none: such runs lie in the run folder.

    Returns:
        The model. `record["metrics"]` are those of the test named "test"; `record["tests"]` those of all others, None
        where the method cannot serve the classes.
    """
    how = conditions or Conditions()
    torch_device = resolve_device(how.device)
    accelerator = make_accelerator(torch_device, how.precision)
    method_class = get_method(method)
    config: Any = make_config(method_class.Config, settings or {})
    method_class.reads_domain(config, domain_encoder)  # refused before anything is loaded
    encoder = open_backbone(backbone, torch_device)
    domain = open_domain_encoder(domain_encoder, method_class, config, encoder, torch_device)
    references = references_of(reference_prompts, method_class, config, trial.train.class_names, prompts)
    task = Task(
        encoder, prompts, trial.splits, shots, seed, how.cache_dir, how.progress, test_prompts or {}, domain, references
    )
    wanted = method_class.prerequisites(config, trial.train.domain_names)
    begin = read_start(how.start, method, encoder, trial.tests.values(), domain)
    given = given_files(wanted) | ({} if begin is None else {"start": begin.sha256})
    identity = task.identity(method, config, how.precision, given | how.named())
    check_named(how.look_at, trial.train, method_class, config)
    files = RunFiles(how.out, identity, how.overwrite)
    if files.finished:
        return reopen(files.finished, identity, encoder, domain, how.cache_dir)
    files.begin(trial.splits, trial.train.name, seed, shots)

    started = time.monotonic()

    def learn_part(part: Trial, one: Prerequisite, seed: int, place: Path | None) -> AdaptedModel:
        own = how.of_part(place)
        return adapt_trial(
            part, one.method, encoder, own, prompts=prompts, shots=shots, seed=seed, settings=one.settings
        )

    store = shared or (files.path and files.path / folder.PREREQUISITES)
    before = learn_prerequisites(wanted, task, trial, how.precision, store, learn_part)
    if before:
        task.spend("prerequisites", started)
    learner = task.make(method, vars(config))
    learner.adopt({name: learned.state for name, learned in before.items()})
    if begin is not None:
        learner.load_learned_state(begin.state)
    context = FitContext(accelerator, seed, files.journal, files.checkpoints, task.progress, how.checkpoint_seconds)
    task.learn(learner, context)
    record = _record(task, learner, identity, baselines, accelerator.mixed_precision)
    record |= _origins(references, begin, before)
    if learner.reading is not None and references is not None:
        told = references.of(trial.train.class_names)
        sentences = [told[label] for label in trial.train.labels]
        record["reading"] = look(
            learner.reading, encoder, trial.train, sentences, files.path, how.cache_dir, how.look_at
        )
    record["cost"]["seconds"]["total"] = time.monotonic() - started
    return files.end(AdaptedModel(learner, record, trial.splits, files.journal.lines, how.cache_dir))


def _origins(references: ReferencePrompts | None, begin: Start | None, before: Mapping[str, Learned]) -> dict[str, Any]:
    """Return what a record says of that which a run began with."""
    found: dict[str, Any] = {}
    if references is not None:
        found["reference_prompts"] = references.describe()
    if begin is not None:
        found["start"] = begin.describe()
    if before:
        found["prerequisites"] = {name: dict(learned.facts) for name, learned in before.items()}
    return found


def _record(task: Task, method: Method, identity: str, baselines: Sequence[str], precision: str) -> dict[str, Any]:
    """Measure the method and its baselines on every test and describe the run."""
    tests = task.score_all(method)
    if task.domain_encoder is None:
        baselines = [name for name in baselines if "domain_features" not in get_method(name).needs]
    beside = {name: tests["test"] for name in baselines if name == method.name}
    for name in baselines:
        if name not in beside:
            baseline = task.make(name, {})
            context = FitContext(make_accelerator(task.backbone.device, "fp32"), task.seed, progress=task.progress)
            task.learn(baseline, context)
            beside[name] = task.score(baseline)
    encoder = task.domain_encoder
    record = run_record(
        method,
        identity,
        metrics=tests.pop("test", None),
        tests=tests,
        baselines={name: beside[name] for name in baselines},
        splits=task.splits,
        splits_hash=task.splits_hash,
        shots=task.shots,
        seed=task.seed,
        precision=precision,
        seconds=task.seconds,
    )
    record["data"]["classes"] = len(task.splits["train"].class_names)
    record["domain"] = task.prompts.domain.id
    record["domain_encoder"] = encoder and {
        "id": encoder.name,
        "fingerprint": encoder.fingerprint,
        "width": encoder.width,
    }
    return record
