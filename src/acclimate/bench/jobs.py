"""Jobs: a bench as a list of plain dictionaries, each in a folder named by its hash."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.bench.spec import Contender, Source, Spec, Suite
from acclimate.data import ImageData, load_data
from acclimate.data.frozen import assignment_hash, split_table
from acclimate.errors import AcclimateError, ConfigError
from acclimate.methods import get_method
from acclimate.options import make_config
from acclimate.protocols import Protocol, get_protocol
from acclimate.runs import choose_prompts, folder
from acclimate.training.recipe import Recipe

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder

FORMAT = 1  # of the dictionary; part of its hash

DONE = "done"
JOB = "job.json"
OUTPUT = "output.txt"

logger = logging.getLogger("acclimate.bench")


@dataclass(frozen=True)
class Job:
    """One training run with its tests.

    Attributes:
        content: everything that decides the result, as plain values; two equal contents are one job.
        label: what tables call its method.
    """

    content: Mapping[str, Any]
    label: str

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

    def describe(self) -> str:
        """Return a few words for messages."""
        content = self.content
        where = self.data if content["trial"] == self.data else f"{self.data} {content['trial']}"
        return f"{self.label}, {content['protocol']['name']} {where}, {content['shots']} shots, seed {content['seed']}"

    def folder(self, out: Path) -> Path:
        """Return where it lies in the folder of a bench."""
        return out / "jobs" / self.hash

    def is_done(self, out: Path) -> bool:
        """Return whether it is finished there: the record is written and the mark stands beside it."""
        place = self.folder(out)
        return (place / DONE).exists() and (place / folder.RECORD).exists()


def plan(spec: Spec, backbones: Mapping[str, DualEncoder], sets: Mapping[str, ImageData]) -> list[Job]:
    """Return all jobs of a bench, those of one data set and one backbone together.

    Args:
        spec: the bench.
        backbones: its backbones, loaded, by their name in the spec.
        sets: its data sets, loaded, by their name in the spec.

    Raises:
        ConfigError: a protocol or a method cannot be run as the spec says.
        DataError: the data do not suit a protocol.
    """
    facts = {name: _facts(data, spec.data[name]) for name, data in sets.items()}
    jobs: dict[str, Job] = {}
    for suite in spec.suites:
        for group in _groups(suite):
            chosen = {name: sets[name] for name in group}
            for trial in suite.protocol.trials(chosen):
                for contender in suite.contenders:
                    settings = select_by(suite.protocol, contender)
                    for backbone, encoder in backbones.items():
                        for shots, seed in ((shots, seed) for shots in suite.shots for seed in suite.seeds):
                            content = {
                                "format": FORMAT,
                                "protocol": {"name": suite.protocol.name, **vars(suite.protocol)},
                                "data": {name: facts[name] for name in group},
                                "trial": trial,
                                "shots": shots,
                                "seed": seed,
                                "method": contender.method,
                                "config": settings,
                                "backbone": {"id": backbone, "fingerprint": encoder.fingerprint},
                                "precision": spec.precision,
                            }
                            job = Job(content, contender.label)
                            other = jobs.setdefault(job.hash, job)
                            if other.label != job.label:
                                raise ConfigError(
                                    f"'{other.label}' and '{job.label}' are the same method with the same settings; "
                                    "drop one of them"
                                )
    return list(jobs.values())


def _groups(suite: Suite) -> Iterator[tuple[str, ...]]:
    """Yield the data sets that a protocol takes together."""
    if suite.protocol.several_sets:
        yield suite.data
    else:
        yield from ((name,) for name in suite.data)


def select_by(protocol: Protocol, contender: Contender) -> dict[str, Any]:
    """Return all settings of a method, its epochs chosen by the rule of the protocol.

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
    return dict(vars(config))


def _facts(data: ImageData, source: Source) -> dict[str, Any]:
    """Return what decides results on a data set: its pictures by name, their labels and splits, and its words."""
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    prompts = choose_prompts(data, source.domain, source.names)
    return {"hash": assignment_hash(split_table(splits))[:16], "domain": prompts.domain.id, "names": dict(source.names)}


def load_source(name: str, source: Source) -> ImageData:
    """Load a data set of a bench under its name there.

    Raises:
        DataError: it cannot be loaded.
    """
    from dataclasses import replace

    try:
        data = load_data(
            source.path, layout=source.layout, images_root=source.images_root, split_seed=source.split_seed
        )
    except AcclimateError as error:
        raise type(error)(f"data set '{name}': {error}") from None
    return replace(data, name=name)
