"""`SPEC.yaml`: what a bench compares, on what, by which protocols; read and checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from acclimate.bench.entries import at, read_entry, read_yaml
from acclimate.bench.resources import ANY, Resources, read_resources
from acclimate.bench.schema import METRIC, NAMED, MethodEntry, SourceEntry, SpecEntry, SuiteEntry
from acclimate.data.splits import STABLE, Rule
from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.metrics import JUDGED
from acclimate.options import make_config, nearest
from acclimate.protocols import Protocol, get_protocol
from acclimate.training.devices import Precision

if TYPE_CHECKING:
    from acclimate.training.inputs import Inputs


@dataclass(frozen=True)
class Contender:
    """One row of the tables: a method with its settings.

    Attributes:
        label: what tables call it, unique in a bench.
        method: name of the method.
        settings: those that differ from its defaults.
        domain_encoder: name of the one that it reads in place of that of the data set, `{data}` for the name of the
            data set; or none.
        reference_prompts: the same of a file of reference prompts.
        templates: sentences that it reads in place of those of each data set, none of them for those of its domain; or
            none, for those of the data set.
        resources: what its jobs ask of the machine that does them.
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    domain_encoder: str | None = None
    reference_prompts: str | None = None
    templates: tuple[str, ...] | None = None
    resources: Resources = ANY

    @property
    def inputs(self) -> Inputs:
        """What it reads with these settings."""
        kind = get_method(self.method)
        return kind.inputs_of(make_config(kind.Config, self.settings))


@dataclass(frozen=True)
class Source:
    """A data set of a bench.

    Attributes:
        path: folder or manifest.
        layout, images_root, split_seed, split_rule, split_from: as in `load_data`.
        multi_label: whether images may have several labels, as in `load_data`.
        bands: those of each image that are shown, as in `load_data`; none: the first ones.
        domain: domain of its templates; none guesses it.
        templates: sentences in place of those of the domain, or none.
        names: words for its classes, by class name, or none.
        domain_encoder: name of the domain encoder, `{data}` for the name of the data set; or none.
        reference_prompts: the same of a file of reference prompts.
    """

    path: Path
    layout: str = "auto"
    images_root: Path | None = None
    split_seed: int = 0
    split_rule: Rule = STABLE
    split_from: str | None = None
    multi_label: bool = False
    bands: str | None = None
    domain: str | None = None
    templates: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    domain_encoder: str | None = None
    reference_prompts: str | None = None


@dataclass(frozen=True)
class Suite:
    """One protocol on some data sets.

    Attributes:
        protocol: with its options.
        data: names of data sets; each on its own, unless the protocol takes several at once.
        shots: each as in `sample_shots`.
        seeds: of shots, initial values and training.
        contenders: the methods, with the settings of this suite.
    """

    protocol: Protocol
    data: tuple[str, ...]
    shots: tuple[int | str, ...]
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]


@dataclass(frozen=True)
class Spec:
    """A whole bench.

    Attributes:
        title: of the tables.
        backbones: Hub ids, folders or catalogue names; each method runs on those of the kinds that it adapts.
        data: the data sets, by name.
        suites: what is run.
        metric: the one that the terminal shows first.
        reference: label of the method that the others are compared with in pairs, or none.
        precision: as in `adapt`.
        scorer: name of the dual encoder that judges captions which are written, or none.
        path: the file that it was read from, for messages.
    """

    title: str
    backbones: tuple[str, ...]
    data: Mapping[str, Source]
    suites: tuple[Suite, ...]
    metric: str = METRIC
    reference: str | None = None
    precision: str = "auto"
    scorer: str | None = None
    path: Path = Path("the spec")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all methods, in the order in which they first stand in the file."""
        return tuple(dict.fromkeys(contender.label for suite in self.suites for contender in suite.contenders))


def read_spec(path: Path, data_root: Path | None = None) -> Spec:
    """Read a spec.

    Args:
        path: YAML file.
        data_root: folder that relative paths of data sets start from; by default that of the file.

    Raises:
        ConfigError: the file cannot be read, or an entry is unknown, missing or wrong.
    """
    content = read_yaml(path)
    with at(path):
        return _spec(content, path, data_root or path.parent)


def _spec(content: Any, path: Path, root: Path) -> Spec:
    top = read_entry(SpecEntry, content)
    usual = top.model_dump(include=set(NAMED), exclude_unset=True)
    sources = {name: _source(entry, f"data.{name}", root, usual) for name, entry in top.data.items()}
    methods = _contenders(top.methods, "methods")
    suites = tuple(_suite(entry, f"suites[{n}]", top, sources, methods) for n, entry in enumerate(top.suites))
    title = top.title or path.stem
    used = dict.fromkeys(get_method(one.method).default_backbone for suite in suites for one in suite.contenders)
    how = (top.metric, top.reference, top.precision, top.scorer)
    spec = Spec(title, top.backbones or tuple(used), sources, suites, *how, path)
    if spec.metric in JUDGED and spec.scorer is None:
        raise ConfigError(f"metric: {spec.metric} is given by a dual encoder; name one as `scorer`, such as mini-clip")
    if spec.reference is not None and spec.reference not in spec.labels:
        raise ConfigError(f"reference: no method is labelled '{spec.reference}'{nearest(spec.reference, spec.labels)}")
    if spec.precision not in get_args(Precision):
        raise ConfigError(f"precision: '{spec.precision}' is not one of {', '.join(get_args(Precision))}")
    return spec


def _suite(
    given: Any, place: str, top: SpecEntry, sources: Mapping[str, Source], methods: Sequence[Contender]
) -> Suite:
    if isinstance(given, dict):
        given = {"shots": top.shots, "seeds": top.seeds, **given}
    entry = read_entry(SuiteEntry, given, place)
    with at(f"{place}.options"):
        protocol = make_config(get_protocol(entry.protocol), entry.options)
    for name in entry.data:
        if name not in sources:
            raise ConfigError(f"{place}.data: no data set is named '{name}'{nearest(name, sources)}")
    contenders = _contenders(entry.methods, f"{place}.methods", methods) if entry.methods else tuple(methods)
    contenders = _changed(contenders, entry.settings, f"{place}.settings")
    usual = read_resources(entry.resources, f"{place}.resources").over(read_resources(top.resources, "resources"))
    contenders = tuple(replace(one, resources=one.resources.over(usual)) for one in contenders)
    return Suite(protocol, entry.data, entry.shots, entry.seeds, contenders)


def _source(given: Any, place: str, root: Path, usual: Mapping[str, str]) -> Source:
    entry = read_entry(SourceEntry, {"path": given} if isinstance(given, str) else given, place)
    values = entry.model_dump(exclude_unset=True)
    root = Path(os.path.expanduser(root))
    paths = {key: root / os.path.expanduser(values[key]) for key in ("path", "images_root") if values.get(key)}
    return Source(**{**usual, **values, **paths})


def _contenders(entries: Sequence[Any], place: str, known: Sequence[Contender] = ()) -> tuple[Contender, ...]:
    """Read a list of methods; in a suite, a bare word may be the label of one that stands at the top."""
    labelled = {contender.label: contender for contender in known}
    found = []
    for number, given in enumerate(entries):
        word, where = isinstance(given, str), f"{place}[{number}]"
        if word and given in labelled:
            found.append(labelled[given])
            continue
        values = read_entry(MethodEntry, {"method": given} if word else given, where).model_dump(exclude_unset=True)
        values["resources"] = read_resources(values.get("resources"), f"{where}.resources")
        found.append(_checked(Contender(**{"label": values["method"], **values}), where))
    labels = [contender.label for contender in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"{place}: two methods are labelled '{twice}'; give each a label of its own")
    return tuple(found)


def _changed(contenders: Sequence[Contender], changes: Mapping[str, dict], place: str) -> tuple[Contender, ...]:
    """Return the methods with other settings for those whose labels are named."""
    found = {contender.label: contender for contender in contenders}
    for label, settings in changes.items():
        if label not in found:
            raise ConfigError(f"{place}: no method is labelled '{label}'{nearest(label, found)}")
        changed = replace(found[label], settings={**found[label].settings, **settings})
        found[label] = _checked(changed, f"{place}.{label}")
    return tuple(found.values())


def _checked(contender: Contender, place: str) -> Contender:
    with at(place):
        make_config(get_method(contender.method).Config, contender.settings)
        if contender.domain_encoder is not None and not contender.inputs.domain_encoder:
            raise ConfigError(f"{contender.method} reads no domain encoder with these settings; drop domain_encoder")
        if contender.reference_prompts is not None and not contender.inputs.reference_prompts:
            raise ConfigError(
                f"{contender.method} learns from no reference prompts with these settings; drop reference_prompts"
            )
    return contender
