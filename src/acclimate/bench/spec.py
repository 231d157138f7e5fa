"""`SPEC.yaml`: what a bench compares, on what, by which protocols; read and checked before anything runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from acclimate.bench.entries import at, mapping, read_yaml, sequence, text, whole
from acclimate.data import parse_shots
from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.metrics import get_measure
from acclimate.options import make_config, nearest
from acclimate.prompts import get_domain
from acclimate.protocols import Protocol, get_protocol
from acclimate.training.devices import Precision

METRIC = "balanced_accuracy"
PLACEHOLDER = "{data}"
"""Stands for the name of the data set in the name of a domain encoder or of a file of reference prompts."""

NAMED = ("domain_encoder", "reference_prompts")
"""What a method may read beside the pictures: named at the top, for a data set, or for a method, which wins."""

_TOP = {
    "title",
    "about",
    "backbones",
    "data",
    "suites",
    "methods",
    "shots",
    "seeds",
    "metric",
    "reference",
    "precision",
    "domain_encoder",
    "reference_prompts",
}
_SUITE = {"protocol", "options", "data", "shots", "seeds", "methods", "settings"}
_SOURCE = {"path", "layout", "images_root", "split_seed", "domain", "names", "domain_encoder", "reference_prompts"}
_METHOD = {"method", "label", "settings", "domain_encoder", "reference_prompts"}


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
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    domain_encoder: str | None = None
    reference_prompts: str | None = None

    @property
    def reads_domain(self) -> bool:
        """Whether it reads the features of a domain encoder."""
        kind = get_method(self.method)
        return "domain_features" in kind.needs_of(make_config(kind.Config, self.settings))

    @property
    def reads_references(self) -> bool:
        """Whether it learns from reference prompts."""
        kind = get_method(self.method)
        return "reference_prompts" in kind.loss_needs_of(make_config(kind.Config, self.settings))


@dataclass(frozen=True)
class Source:
    """A data set of a bench.

    Attributes:
        path: folder or manifest.
        layout, images_root, split_seed: as in `load_data`.
        domain: domain of its templates; none guesses it.
        names: words for its classes, by class name, or none.
        domain_encoder: name of the domain encoder, `{data}` for the name of the data set; or none.
        reference_prompts: the same of a file of reference prompts.
    """

    path: Path
    layout: str = "auto"
    images_root: Path | None = None
    split_seed: int = 0
    domain: str | None = None
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
        backbones: Hub ids, folders or catalogue names.
        data: the data sets, by name.
        suites: what is run.
        metric: the one that the terminal shows first.
        reference: label of the method that the others are compared with in pairs, or none.
        precision: as in `adapt`.
        path: the file that it was read from, for messages.
    """

    title: str
    backbones: tuple[str, ...]
    data: Mapping[str, Source]
    suites: tuple[Suite, ...]
    metric: str = METRIC
    reference: str | None = None
    precision: str = "auto"
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
    top = mapping(content, "the file", _TOP, ("data", "methods", "suites"))
    usual = {entry: _named(top, entry, entry) for entry in NAMED}
    sources = {name: _source(name, entry, root, usual) for name, entry in mapping(top["data"], "data").items()}
    methods = _contenders(top["methods"], "methods")
    suites = tuple(
        _suite(entry, f"suites[{number}]", top, sources, methods)
        for number, entry in enumerate(sequence(top["suites"], "suites"))
    )
    spec = Spec(
        title=text(top.get("title", path.stem), "title"),
        backbones=tuple(text(name, "backbones") for name in sequence(top.get("backbones", "mini-clip"), "backbones")),
        data=sources,
        suites=suites,
        metric=text(top.get("metric", METRIC), "metric"),
        reference=text(top["reference"], "reference") if top.get("reference") is not None else None,
        precision=text(top.get("precision", "auto"), "precision"),
        path=path,
    )
    with at("metric"):
        get_measure(spec.metric)
    if spec.reference is not None and spec.reference not in spec.labels:
        raise ConfigError(f"reference: no method is labelled '{spec.reference}'{nearest(spec.reference, spec.labels)}")
    if spec.precision not in get_args(Precision):
        raise ConfigError(f"precision: '{spec.precision}' is not one of {', '.join(get_args(Precision))}")
    return spec


def _suite(
    entry: Any, place: str, top: Mapping[str, Any], sources: Mapping[str, Source], methods: Sequence[Contender]
) -> Suite:
    entry = mapping(entry, place, _SUITE, ("protocol", "data"))
    named, options = text(entry["protocol"], f"{place}.protocol"), mapping(entry.get("options", {}), f"{place}.options")
    with at(f"{place}.protocol"):
        kind = get_protocol(named)
    with at(f"{place}.options"):
        protocol = make_config(kind, options)
    names = tuple(text(name, f"{place}.data") for name in sequence(entry["data"], f"{place}.data"))
    for name in names:
        if name not in sources:
            raise ConfigError(f"{place}.data: no data set is named '{name}'{nearest(name, sources)}")
    contenders = _contenders(entry["methods"], f"{place}.methods", methods) if "methods" in entry else tuple(methods)
    contenders = _changed(contenders, entry.get("settings", {}), f"{place}.settings")
    shots = sequence(entry.get("shots", top.get("shots", 16)), f"{place}.shots")
    seeds = sequence(entry.get("seeds", top.get("seeds", [1, 2, 3])), f"{place}.seeds")
    with at(f"{place}.shots"):
        parsed = tuple(parse_shots(_budget(number)) for number in shots)
    counted = tuple(whole(seed, f"{place}.seeds") for seed in seeds)
    return Suite(protocol, names, parsed, counted, contenders)


def _budget(shots: Any) -> Any:
    """Return `budget:64` for what YAML makes of `budget: 64`, anything else as it is."""
    return f"budget:{shots['budget']}" if isinstance(shots, Mapping) and [*shots] == ["budget"] else shots


def _named(content: Mapping[str, Any], entry: str, place: str, usual: str | None = None) -> str | None:
    """Return the domain encoder or file that an entry names, or else the usual one."""
    if entry not in content:
        return usual
    name = text(content[entry], place)
    for placeholder in re.findall(r"\{[^{}]*\}|[{}]", name):
        if placeholder != PLACEHOLDER:
            raise ConfigError(
                f"{place}: '{placeholder}' in '{name}' stands for nothing; {PLACEHOLDER} is the name of the data set"
            )
    return name


def _source(name: str, entry: Any, root: Path, usual: Mapping[str, str | None]) -> Source:
    place = f"data.{name}"
    entry = {"path": entry} if isinstance(entry, str) else mapping(entry, place, _SOURCE, ("path",))
    images_root, domain = entry.get("images_root"), entry.get("domain")
    if domain is not None:
        domain = text(domain, f"{place}.domain")
        with at(f"{place}.domain"):
            get_domain(domain)
    words = mapping(entry.get("names", {}), f"{place}.names")
    return Source(
        path=_below(root, entry["path"], f"{place}.path"),
        layout=text(entry.get("layout", "auto"), f"{place}.layout"),
        images_root=None if images_root is None else _below(root, images_root, f"{place}.images_root"),
        split_seed=whole(entry.get("split_seed", 0), f"{place}.split_seed"),
        domain=domain,
        names={key: text(value, f"{place}.names.{key}") for key, value in words.items()},
        **{key: _named(entry, key, f"{place}.{key}", usual[key]) for key in NAMED},
    )


def _below(root: Path, entry: Any, place: str) -> Path:
    return Path(os.path.expanduser(root)) / os.path.expanduser(text(entry, place))


def _contenders(entries: Any, place: str, known: Sequence[Contender] = ()) -> tuple[Contender, ...]:
    """Read a list of methods; in a suite, a bare word may be the label of one that stands at the top."""
    labelled = {contender.label: contender for contender in known}
    found = []
    for number, entry in enumerate(sequence(entries, place)):
        where = f"{place}[{number}]"
        if isinstance(entry, str):
            found.append(labelled.get(entry) or _checked(Contender(entry, entry), where))
            continue
        values = mapping(entry, where, _METHOD, ("method",))
        name = text(values["method"], f"{where}.method")
        label = text(values.get("label", name), f"{where}.label")
        settings = mapping(values.get("settings", {}), f"{where}.settings")
        named = {key: _named(values, key, f"{where}.{key}") for key in NAMED}
        found.append(_checked(Contender(label, name, settings, **named), where))
    labels = [contender.label for contender in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"{place}: two methods are labelled '{twice}'; give each a label of its own")
    return tuple(found)


def _changed(contenders: Sequence[Contender], entry: Any, place: str) -> tuple[Contender, ...]:
    """Return the methods with other settings for those whose labels are named."""
    found = {contender.label: contender for contender in contenders}
    for label, settings in mapping(entry, place).items():
        if label not in found:
            raise ConfigError(f"{place}: no method is labelled '{label}'{nearest(label, found)}")
        changed = {**found[label].settings, **mapping(settings, f"{place}.{label}")}
        found[label] = _checked(replace(found[label], settings=changed), f"{place}.{label}")
    return tuple(found.values())


def _checked(contender: Contender, place: str) -> Contender:
    with at(place):
        make_config(get_method(contender.method).Config, contender.settings)
        if contender.domain_encoder is not None and not contender.reads_domain:
            raise ConfigError(f"{contender.method} reads no domain encoder with these settings; drop domain_encoder")
        if contender.reference_prompts is not None and not contender.reads_references:
            raise ConfigError(
                f"{contender.method} learns from no reference prompts with these settings; drop reference_prompts"
            )
    return contender
