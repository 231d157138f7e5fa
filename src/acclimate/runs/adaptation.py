"""`adapt`: from images to an adapted model with a record of what it is worth."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.backbones import load_domain_encoder
from acclimate.backbones.backbone import as_dual
from acclimate.backbones.kinds import DUAL
from acclimate.data import ImageData
from acclimate.errors import ConfigError
from acclimate.methods import AnsweringClassifier, Classifier, get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet, ReferencePrompts, open_templates
from acclimate.protocols import Trial
from acclimate.runs import folder
from acclimate.runs.attribution import Attribution
from acclimate.runs.calibrating import Calibrating
from acclimate.runs.encoders import hint_at_specialist, open_backbone, open_domain_encoder, open_scorer
from acclimate.runs.experiment import Experiment
from acclimate.runs.kept_predictions import join_predictions
from acclimate.runs.loading import reopen
from acclimate.runs.model import AdaptedModel
from acclimate.runs.more_labels import MoreLabels
from acclimate.runs.orchestrator import Run, carry_out
from acclimate.runs.parts import RunPart
from acclimate.runs.prerequisites import Prerequisites
from acclimate.runs.probes import ModuleProbes
from acclimate.runs.records import make_record
from acclimate.runs.reference_prompts import reference_prompts_for
from acclimate.runs.run_files import RunFiles
from acclimate.runs.run_options import RunOptions
from acclimate.runs.seen import check_encoder
from acclimate.runs.selection import other_split
from acclimate.runs.several import choose_all_prompts, draw, open_sets
from acclimate.runs.task_model import OwnTaskModel
from acclimate.runs.warm_start import WarmStart
from acclimate.tasks import method_for, task_of
from acclimate.training.devices import Precision, resolve_device
from acclimate.training.fit import FitContext
from acclimate.training.progress import Progress, Silent
from acclimate.training.tracking import Tracker

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.backbones.backbone import Backbone

logger = logging.getLogger("acclimate.runs")


def adapt(
    data: ImageData | str | os.PathLike[str] | Sequence[ImageData | str | os.PathLike[str]] | Any,
    method: str = "auto",
    backbone: str | os.PathLike[str] | Backbone | None = None,
    *,
    shots: int | str = 16,
    seed: int = 1,
    domain: str | Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    templates: str | os.PathLike[str] | Sequence[str] | None = None,
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
    scorer: str | os.PathLike[str] | DualEncoder | None = None,
    multi_label: bool = False,
    track: Tracker | None = None,
) -> AdaptedModel:
    """Adapt a backbone to labelled images, or to images with captions or questions.

    Args:
        data: what `load_data`, `load_captions` or `load_questions` returns or reads. Training, validation and test
            images are its splits. A list of several data sets with classes, of different names, is learned from
            together; each is measured on its own test images, among its own classes and in the words of its own domain.
        method: name of a method, see `acclimate methods`; of images with several labels, kernel-ridge stands in for
            auto.
        backbone: Hub id, folder or catalogue name, or a loaded backbone; none: the embedded one that the method adapts,
            mini-clip, mini-vlm, or both as one.
        shots: training images per class, `all`, or `budget:64` for 64 in all, of each data set; validation uses at most
            4 per class unless `all`. Of images with captions, a budget or all of them.
        seed: of the shots, the initial values and the training; the split itself does not depend on it.
        domain: domain of the templates, see `acclimate.prompts.list_domains`, or a mapping of several data sets to
            theirs; none guesses it and says so.
        names: words for class names, where the names themselves read badly.
        templates: sentences in place of those of the domain, each with one `{}` for the class, or the path of a file
            of them, see `acclimate.prompts.read_templates`. Methods that average several sentences take all, all
            others the first.
        settings: of the method, see `acclimate methods NAME`.
        out: run folder; a run that was killed goes on there, a finished one is loaded. None keeps everything in memory.
        overwrite: forget what `out` holds.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every step.
        checkpoint_seconds: least time between two checkpoints in `out`; a killed run loses at most that much.
        domain_encoder: Hub id or folder of a frozen vision encoder, "self" for the backbone's own image features, or a
            loaded one, for methods that read its features; its pretraining may not have seen the test images.
        reference_prompts: sentences that describe the classes, for methods that learn from them: a mapping of class to
            sentences, or a file as `acclimate.prompts.read_reference_prompts` reads it; none composes some.
        start: folder of an earlier run of the same method and backbone, from whose learned tensors this one goes on (a
            warm start); it may not have seen the test images.
        look_at: training images, by their keys, whose prompt attribution the record shows; none chooses some.
        scorer: Hub id, folder or catalogue name of a dual encoder that judges captions which are written (CLIPScore),
            or a loaded one; none measures them by words alone.
        multi_label: whether images may have several labels, as in `load_data`, where `data` is not loaded yet.
        track: `tensorboard`, `wandb` or `mlflow` shows losses and figures as they come; none: nothing does.

    Returns:
        The model; its `record` holds the test metrics beside those of the baselines: zero-shot, for labelled images a
        linear probe, and one on the domain encoder where the method reads one. Of several data sets they are in `tests`
        and `sets`, by the names of the sets.

    Raises:
        AcclimateError: one of its subclasses, for anything that the caller can mend.
    """
    seed, words = arguments.whole("seed", seed), arguments.mapping("names", names)
    arguments.texts("names", words.values())
    sentences = open_templates(templates)
    kind, sets = get_method(method), open_sets(data, multi_label=multi_label)
    kind = method_for(sets[0], kind)
    task = task_of(sets[0], kind)
    task.check(kind, sets[0].name)
    shots = task.parse_shots(shots)
    trial = draw(sets, shots, seed)
    how: dict[str, Any] = {"out": out, "overwrite": overwrite, "device": device, "precision": precision, "track": track}
    how |= {"cache_dir": cache_dir, "progress": progress or Silent(), "checkpoint_seconds": checkpoint_seconds}
    options = RunOptions(**how, calibrated=True)
    prompts, test_prompts = choose_all_prompts(task, sets, domain, words, sentences)
    backbone = kind.default_backbone if backbone is None else backbone
    hint_at_specialist(prompts.domain.id, backbone)
    return adapt_trial(
        trial,
        kind.name,
        backbone,
        options,
        prompts=prompts,
        test_prompts=test_prompts,
        baselines=True,
        shots=shots,
        seed=seed,
        settings=settings,
        domain_encoder=domain_encoder,
        reference_prompts=reference_prompts,
        start=start,
        look_at=look_at,
        scorer=scorer,
    )


def adapt_trial(
    trial: Trial,
    method: str,
    backbone: str | os.PathLike[str] | Backbone,
    options: RunOptions | None = None,
    *,
    prompts: PromptSet,
    test_prompts: Mapping[str, PromptSet] | None = None,
    baselines: bool = False,
    shots: int | str,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
    reference_prompts: str | os.PathLike[str] | Mapping[str, Sequence[str]] | ReferencePrompts | None = None,
    start: str | os.PathLike[str] | None = None,
    look_at: Sequence[str] = (),
    scorer: str | os.PathLike[str] | DualEncoder | None = None,
) -> AdaptedModel:
    """Adapt a backbone to the training images of a trial and measure it on each of its tests.

    Args:
        trial: what a protocol has drawn.
        method: name of a method.
        backbone: Hub id, folder or catalogue name, or a loaded backbone.
        options: where and how; by default in memory.
        prompts: words and templates of the classes.
        test_prompts: those of tests that have others, by the name of the test.
        baselines: whether the baselines of the task are measured beside it.
        shots: what was drawn, for the record.
        seed: of the initial values and the training.
        settings, domain_encoder, reference_prompts, start, look_at, scorer: as in `adapt`.

    Returns:
        The model. `record["metrics"]` are those of the test named "test"; `record["tests"]` those of all others, None
        where the method cannot serve the classes.
    """
    options, kind, task = options or RunOptions(), get_method(method), task_of(trial.train, get_method(method))
    seed, look_at = arguments.whole("seed", seed), arguments.texts("look_at", look_at)
    start = arguments.optional(arguments.path, "start", start)
    arguments.encoder("backbone", backbone)
    arguments.optional(arguments.encoder, "domain_encoder", domain_encoder)
    config: Any = make_config(kind.Config, arguments.mapping("settings", settings))
    task.check(kind, trial.train.name)
    kind.check_domain_encoder(config, domain_encoder)  # refused before anything is loaded
    device = resolve_device(options.device)
    encoder = open_backbone(backbone, device, kind)
    if encoder.kind == DUAL:  # a generative VLM reads no templates
        tokenizer = as_dual(encoder, method).tokenizer
        for told in (prompts, *(test_prompts or {}).values()):
            tokenizer.check_templates((told.template, *told.domain.ensemble))
    experiment = Experiment(
        task=task,
        trial=trial,
        method=kind,
        config=config,
        backbone=encoder,
        prompts=prompts,
        shots=shots,
        seed=seed,
        options=options,
        test_prompts=test_prompts or {},
        domain_encoder=open_domain_encoder(domain_encoder, kind, config, encoder, device),
        reference_prompts=reference_prompts_for(reference_prompts, kind, config, trial.train, prompts),
        scorer=open_scorer(scorer, task, encoder, device),
    )
    check_encoder(experiment)
    parts: list[RunPart] = [Attribution(look_at, experiment)]
    makes = kind.makes_domain_encoder and kind.inputs_of(config).domain_encoder
    if makes and experiment.domain_encoder is None:
        if not task.has_classes:
            raise ConfigError(
                f"{method} learns from a task-specific model, which is made from labels, and {trial.train.name} has "
                "none; name one with `domain_encoder`, or take a method that needs none, such as instruct"
            )
        made_from = kind.task_model(config)
        parts.append(OwnTaskModel(made_from, load_domain_encoder(made_from.encoder, device=device), experiment))
    wanted = kind.prerequisites(config, trial.train.domain_names)
    if wanted:
        parts.append(Prerequisites(wanted, lambda part: carry_out(Adaptation(part), alone=True)))
    if issubclass(kind, AnsweringClassifier) and task.has_classes:
        parts.append(ModuleProbes())
    if start is not None:
        parts.append(WarmStart(start, experiment))
    if options.calibrated and issubclass(kind, Classifier) and task.exclusive:
        parts.append(Calibrating(parts))
    if baselines and task.exclusive and not trial.train.sets:
        parts.append(MoreLabels())
    return carry_out(Adaptation(experiment, parts, baselines))


class Adaptation(Run[AdaptedModel]):
    """A method that learns from images of a task, and is measured beside the baselines of the task.

    Args:
        experiment: what is learned from what.
        parts: what is optional in it.
        baselines: whether the baselines are measured.
    """

    def __init__(self, experiment: Experiment, parts: Sequence[RunPart] = (), baselines: bool = False) -> None:
        self.experiment, self.parts, self.baselines = experiment, parts, baselines
        self.options, self.seed = experiment.options, experiment.seed
        self.told: dict[str, Any] = {}

    def identity(self) -> str:
        """Return a fingerprint of the experiment and its parts."""
        return self.experiment.identity({name: told for part in self.parts for name, told in part.files().items()})

    def reopen(self, path: Path, identity: str) -> AdaptedModel:
        """Return the model of a finished run."""
        one = self.experiment
        return reopen(path, identity, one.backbone, one.domain_encoder, self.options.cache_dir, self.remark(path))

    def remark(self, path: Path) -> str:
        """Say so where the split of the run in a folder was made otherwise."""
        return other_split(path, self.experiment.trial.train)

    def shown(self) -> dict[str, Any]:
        """Return the method with its settings, its backbone and data."""
        one = self.experiment
        told = {"method": one.method.name, "backbone": one.backbone.name, "data": one.trial.train.name}
        return {**told, "shots": one.shots, "seed": self.seed, **vars(one.config)}

    def learn(self, files: RunFiles, context: FitContext) -> None:
        """Write down which images are in which split, and learn."""
        one = self.experiment
        if files.written is not None:
            one.freeze(files.written / folder.SPLITS)
        for part in self.parts:
            part.ready(one, files)
        self.method = one.make(one.method, one.config, self.parts)
        one.learn(self.method, context)
        for part in self.parts if files.measures else ():
            self.told |= part.finish(self.method, one, files)
        self.method.end_training()

    def describe(self, identity: str, context: FitContext) -> dict[str, Any]:
        """Measure the method and its baselines on every test."""
        precision = context.accelerator.mixed_precision
        record = make_record(self.experiment, self.method, identity, self.baselines, precision)
        lines = context.journal.lines if context.journal else []
        solved = {line["stage"]: line for line in lines if not line.keys() & {"epoch", "kept_epoch"}}
        if solved:
            record["solved"] = {
                name: {key: line[key] for key in line if key != "stage"} for name, line in solved.items()
            }
        return record | self.told

    def finish(self, record: dict[str, Any], files: RunFiles) -> AdaptedModel:
        """Write the run folder, if there is one."""
        one, lines = self.experiment, files.journal.lines
        model = AdaptedModel(self.method, record, one.splits, lines, self.options.cache_dir, whole=one.trial.whole)
        model.predictions = join_predictions(one.kept)
        model.sets = {known.name: known for known in one.facts.sets}
        model.seen_before = frozenset[str]().union(*(part.seen_before() for part in self.parts))
        if files.path is not None:
            model.save(files.path)
        return model
