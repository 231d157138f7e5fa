"""Jobs: a bench as a list of plain dictionaries, each in a folder named by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.bench.encoders import Encoders, identity
from acclimate.bench.entries import at
from acclimate.bench.facts import facts_of, prompts_of, read_with
from acclimate.bench.references import References
from acclimate.bench.resources import ANY, Resources
from acclimate.bench.schema import NAMED
from acclimate.bench.scores import Run
from acclimate.bench.spec import Contender, Source, Spec, Suite
from acclimate.bench.tables import describe_shots
from acclimate.data import ImageData
from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.options import identifying, make_config, nearest
from acclimate.protocols import Protocol, Trial, get_protocol
from acclimate.runs import folder
from acclimate.runs.prerequisites import given_files
from acclimate.tasks import open_data, task_of
from acclimate.training.recipe import Recipe

if TYPE_CHECKING:
    from acclimate.backbones.backbone import Backbone

FORMAT = 1  # of the dictionary; part of its hash

DONE = "done"
JOB = "job.json"
OUTPUT = "output.txt"


@dataclass(frozen=True)
class Job:
    """One training run with its tests.

    Attributes:
        content: everything that decides the result, as plain values; two equal contents are one job. Where things lie
            and what they are called in tables decides nothing.
        label: what tables call its method.
        backbone: name of the backbone, by which it is found and which tables show.
        domain_encoder: name of the domain encoder, by which it is found; none where the method reads none.
        reference_prompts: file of the reference prompts, by which they are found; none where the method learns from
            none, or from composed ones.
        scorer: name of the dual encoder that judges captions which are written, by which it is found; or none.
        resources: what it asks of the machine that does it.
    """

    content: Mapping[str, Any]
    label: str
    backbone: str
    domain_encoder: str | None = None
    reference_prompts: str | None = None
    scorer: str | None = None
    resources: Resources = ANY

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Job:
        """Return what `dataclasses.asdict` has made plain."""
        return cls(**{**values, "resources": Resources(**values["resources"])})

    @property
    def hash(self) -> str:
        """Sixteen hex digits of the sha256 of the content, the same on every machine."""
        text = json.dumps(self.content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def protocol(self) -> Protocol:
        """The protocol with its options."""
        options = dict(self.content["protocol"])
        return make_config(get_protocol(options.pop("name")), options)

    @property
    def data(self) -> str:
        """Names of the data sets."""
        return "+".join(self.content["data"])

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the data sets that train."""
        return tuple(self.content["trial"].split("+") if self.protocol.several_sets else self.content["data"])

    @property
    def run(self) -> Run:
        """What tables call it."""
        content, protocol = self.content, self.protocol
        return Run(
            protocol=protocol.name,
            selection=protocol.selection,
            backbone=self.backbone,
            data=content["trial"] if protocol.several_sets else self.data,
            trial=content["trial"],
            method=self.label,
            shots=str(content["shots"]),
            seed=content["seed"],
        )

    def describe(self) -> str:
        """Return a few words for messages."""
        run = self.run
        where = run.data if run.trial == run.data else f"{run.data} {run.trial}"
        return f"{run.method}, {run.protocol} {where}, {describe_shots(run.shots)}, seed {run.seed}"

    def folder(self, out: Path) -> Path:
        """Return where it lies in the folder of a bench."""
        return out / "jobs" / self.hash

    def is_done(self, out: Path) -> bool:
        """Return whether it is finished there: the record is written and the mark stands beside it."""
        place = self.folder(out)
        return (place / DONE).exists() and (place / folder.RECORD).exists()


def plan(
    spec: Spec, backbones: Mapping[str, Backbone], sets: Mapping[str, ImageData], scorer: Backbone | None = None
) -> list[Job]:
    """Return all jobs of a bench, those of one backbone together and among them those of one data set.

    Args:
        spec: the bench.
        backbones: its backbones, loaded, by their name in the spec.
        sets: its data sets, loaded, by their name in the spec.
        scorer: its scorer, loaded, if it has one.

    Raises:
        ConfigError: a protocol or a method cannot be run as the spec says, or not on these data; a domain encoder is
            missing; there is nothing for the scorer to judge; the same job has two names, or two jobs have the same.
    """
    facts = {name: facts_of(data, spec.data[name]) for name, data in sets.items()}
    jobs: dict[str, Job] = {}
    names: dict[Run, Job] = {}
    encoders, references = Encoders(spec.data, backbones), References(spec.data)
    _check_kinds(spec, backbones)
    for (backbone, encoder), (number, suite) in product(backbones.items(), enumerate(spec.suites)):
        with at(f"suites[{number}]"):
            for content, contender, drawn, class_names in _contents(suite, sets, facts):
                if encoder.kind not in get_method(contender.method).backbones:
                    continue
                content |= {"backbone": identity(encoder), "precision": spec.precision}
                job = Job(content, contender.label, backbone, resources=contender.resources)
                if contender.inputs.domain_encoder:
                    name, known = encoders.find(contender, job.sources, backbone, drawn)
                    if name is not None:
                        job = replace(job, content={**content, "domain_encoder": known}, domain_encoder=name)
                if contender.inputs.reference_prompts and class_names:
                    file, sentences = references.find(
                        contender, job.sources, class_names, prompts_of(content["data"], job.sources)
                    )
                    job = replace(job, content={**job.content, "reference_prompts": sentences}, reference_prompts=file)
                if scorer is not None and task_of(drawn.train, get_method(contender.method)).judged:
                    job = replace(job, content={**job.content, "scorer": identity(scorer)}, scorer=spec.scorer)
                _check_apart(job, jobs.setdefault(job.hash, job), names.setdefault(job.run, job))
    if scorer is not None and not any(job.scorer for job in jobs.values()):
        raise ConfigError("scorer: it judges captions that are written, and no suite writes any; leave it out")
    return list(jobs.values())


def _check_kinds(spec: Spec, backbones: Mapping[str, Backbone]) -> None:
    """Refuse a method that adapts none of the backbones, and a backbone that no method adapts.

    Raises:
        ConfigError: so it is.
    """
    kinds = [get_method(one.method) for suite in spec.suites for one in suite.contenders]
    for method in kinds:
        if not any(encoder.kind in method.backbones for encoder in backbones.values()):
            for name, encoder in backbones.items():
                method.check_backbone(encoder.kind, name, "backbones")
    for name, encoder in backbones.items():
        if kinds and not any(encoder.kind in method.backbones for method in kinds):
            kinds[0].check_backbone(encoder.kind, name, "backbones")


def _contents(
    suite: Suite, sets: Mapping[str, ImageData], facts: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], Contender, Trial, tuple[str, ...]]]:
    """Yield what the jobs of a suite do, whatever they read beside images, with their methods, trials and classes."""
    protocol = suite.protocol
    settings = {contender.label: select_by(protocol, contender) for contender in suite.contenders}
    groups = [suite.data] if protocol.several_sets else [(name,) for name in suite.data]
    for group in groups:
        chosen = {name: sets[name] for name in group}
        for trial in protocol.trials(chosen):
            # what the trial lacks, for the protocol or for a method, is said before anything runs
            task = task_of(next(iter(chosen.values())))
            numbers = list(dict.fromkeys(task.parse_shots(shots) for shots in suite.shots))
            drawn = protocol.draw(trial, chosen, numbers[0], suite.seeds[0])
            domains = drawn.train.domain_names
            for one in suite.contenders:
                task_of(drawn.train, get_method(one.method)).check(get_method(one.method), drawn.train.name)
                if one.templates is not None and not task.has_classes:
                    raise ConfigError(f"templates of '{one.label}': {drawn.train.name} has no classes; leave them out")
            given = {one.label: given_labels(one.method, one.settings, domains) for one in suite.contenders}
            for contender, shots, seed in product(suite.contenders, numbers, suite.seeds):
                content = {
                    "format": FORMAT,
                    "protocol": {"name": protocol.name, **vars(protocol)},
                    "data": {name: read_with(facts[name], contender) for name in group},
                    "trial": trial,
                    "shots": shots,
                    "seed": seed,
                    "method": contender.method,
                    "config": settings[contender.label],
                }
                if given[contender.label]:
                    content["files"] = given[contender.label]
                yield content, contender, drawn, drawn.train.class_names if task.has_classes else ()


def given_labels(method: str, settings: Mapping[str, Any], domains: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of the files that stand in for runs that a method builds on, by domain.

    Raises:
        ConfigError: the method learns from domains, and there are none.
        DataError: a file is missing.
    """
    kind = get_method(method)
    return given_files(kind.prerequisites(make_config(kind.Config, settings), domains))


def _check_apart(job: Job, same: Job, namesake: Job) -> None:
    """Refuse a job that stands under another name already, and a name that another job has."""
    if same.label != job.label:
        encoder = " and the same domain encoder" if job.domain_encoder is not None else ""
        raise ConfigError(
            f"'{same.label}' and '{job.label}' are the same method with the same settings{encoder}; drop one of them"
        )
    if same.backbone != job.backbone:
        raise ConfigError(f"the backbones '{same.backbone}' and '{job.backbone}' are the same; drop one of them")
    if namesake.content != job.content:
        other = "settings or options"
        for entry in NAMED:
            if namesake.content.get(entry) != job.content.get(entry):
                other = f"settings, options or {entry.replace('_', ' ')}"
        raise ConfigError(
            f"({job.describe()}) stands in an earlier suite with other {other}, and tables could not tell them apart; "
            f"give '{job.label}' another label here"
        )


def select_by(protocol: Protocol, contender: Contender) -> dict[str, Any]:
    """Return the settings of a method that identify its job, its epochs chosen by the rule of the protocol.

    A rule concerns methods that keep one of their epochs; those that learn at once, or average their epochs, have none
    to choose.

    Raises:
        ConfigError: the settings ask for another rule.
    """
    kind, settings = get_method(contender.method).Config, dict(contender.settings)
    config: Any = make_config(kind, settings)
    if isinstance(config, Recipe) and config.keeps_one_epoch:
        wanted = protocol.rule.epoch
        if settings.get("select", wanted) != wanted:
            raise ConfigError(
                f"'{contender.label}' sets select={settings['select']}, but the protocol {protocol.name} selects by "
                f"{protocol.selection} (select={wanted}); drop the setting, or choose another selection"
            )
        config = make_config(kind, {**settings, "select": wanted})
    return identifying(config)


def load_source(name: str, source: Source) -> ImageData:
    """Load a data set of a bench under its name there.

    Raises:
        ConfigError: it cannot be loaded, or lacks a class that has words.
    """
    how = ("layout", "images_root", "multi_label", "split_seed", "split_rule", "split_from", "bands")
    with at(f"data.{name}", *how):
        data = open_data(source.path, **{option: getattr(source, option) for option in how})
        if source.templates and not task_of(data).has_classes:
            raise ConfigError("templates: these data have no classes to speak of; leave them out")
        for known in source.names:
            if known not in data.class_names:
                raise ConfigError(f"names: no class '{known}' in the data{nearest(known, data.class_names)}")
    return replace(data, name=name)
