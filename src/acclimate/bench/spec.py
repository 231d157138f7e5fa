"""`SPEC.yaml`: what a bench compares, on what, by which protocols; read and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from acclimate.data import parse_shots
from acclimate.errors import AcclimateError, ConfigError
from acclimate.methods import get_method
from acclimate.options import make_config, nearest
from acclimate.protocols import Protocol, get_protocol

METRIC = "balanced_accuracy"

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
}
_SUITE = {"protocol", "options", "data", "shots", "seeds", "methods", "settings"}
_SOURCE = {"path", "layout", "images_root", "split_seed", "domain", "names"}
_METHOD = {"method", "label", "settings"}


@dataclass(frozen=True)
class Contender:
    """One row of the tables: a method with its settings.

    Attributes:
        label: what tables call it, unique in a bench.
        method: name of the method.
        settings: those that differ from its defaults.
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A data set of a bench.

    Attributes:
        path: folder or manifest.
        layout, images_root, split_seed: as in `load_data`.
        domain: domain of its templates; none guesses it.
        names: words for its classes, by class name, or none.
    """

    path: Path
    layout: str = "auto"
    images_root: Path | None = None
    split_seed: int = 0
    domain: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


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
    """

    title: str
    backbones: tuple[str, ...]
    data: Mapping[str, Source]
    suites: tuple[Suite, ...]
    metric: str = METRIC
    reference: str | None = None
    precision: str = "auto"

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
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}; name a SPEC.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())})") from None
    try:
        return _spec(content, path, data_root or path.parent)
    except AcclimateError as error:
        raise type(error)(f"{path}: {error}") from None


def _spec(content: Any, path: Path, root: Path) -> Spec:
    top = _mapping(content, "the file", _TOP, {"data", "suites", "methods"})
    sources = {str(name): _source(str(name), entry, root) for name, entry in _mapping(top["data"], "data").items()}
    methods = _contenders(top["methods"], "methods")
    suites = tuple(
        _suite(entry, f"suites[{number}]", top, sources, methods)
        for number, entry in enumerate(_sequence(top["suites"], "suites"))
    )
    spec = Spec(
        title=str(top.get("title", path.stem)),
        backbones=tuple(map(str, _sequence(top.get("backbones", ["mini-clip"]), "backbones"))),
        data=sources,
        suites=suites,
        metric=str(top.get("metric", METRIC)),
        reference=top.get("reference"),
        precision=str(top.get("precision", "auto")),
    )
    if spec.reference is not None and spec.reference not in spec.labels:
        raise ConfigError(f"reference: no method is labelled '{spec.reference}'{nearest(spec.reference, spec.labels)}")
    return spec


def _suite(
    entry: Any, place: str, top: Mapping[str, Any], sources: Mapping[str, Source], methods: Sequence[Contender]
) -> Suite:
    entry = _mapping(entry, place, _SUITE, {"protocol", "data"})
    kind = get_protocol(str(entry["protocol"]))
    names = tuple(map(str, _sequence(entry["data"], f"{place}.data")))
    for name in names:
        if name not in sources:
            raise ConfigError(f"{place}.data: no data set is named '{name}'{nearest(name, sources)}")
    contenders = list(_contenders(entry["methods"], f"{place}.methods", methods) if "methods" in entry else methods)
    for label, settings in _mapping(entry.get("settings", {}), f"{place}.settings").items():
        found = [number for number, contender in enumerate(contenders) if contender.label == label]
        if not found:
            known = [contender.label for contender in contenders]
            raise ConfigError(f"{place}.settings: no method is labelled '{label}'{nearest(str(label), known)}")
        old = contenders[found[0]]
        changed = {**old.settings, **_mapping(settings, f"{place}.settings.{label}")}
        contenders[found[0]] = _checked(Contender(old.label, old.method, changed), f"{place}.settings.{label}")
    shots = _sequence(entry.get("shots", top.get("shots", [16])), f"{place}.shots")
    seeds = _sequence(entry.get("seeds", top.get("seeds", [1, 2, 3])), f"{place}.seeds")
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise ConfigError(f"{place}.seeds: give whole numbers, not {seeds}")
    options = _mapping(entry.get("options", {}), f"{place}.options")
    return Suite(make_config(kind, options), names, tuple(map(parse_shots, shots)), tuple(seeds), tuple(contenders))


def _source(name: str, entry: Any, root: Path) -> Source:
    entry = {"path": entry} if isinstance(entry, str) else _mapping(entry, f"data.{name}", _SOURCE, {"path"})
    images_root = entry.get("images_root")
    return Source(
        path=root / str(entry["path"]),
        layout=str(entry.get("layout", "auto")),
        images_root=None if images_root is None else root / str(images_root),
        split_seed=int(entry.get("split_seed", 0)),
        domain=entry.get("domain"),
        names={str(key): str(value) for key, value in _mapping(entry.get("names", {}), f"data.{name}.names").items()},
    )


def _contenders(entries: Any, place: str, known: Sequence[Contender] = ()) -> tuple[Contender, ...]:
    """Read a list of methods; in a suite, a bare word may be the label of one that stands at the top."""
    labelled = {contender.label: contender for contender in known}
    found = []
    for number, entry in enumerate(_sequence(entries, place)):
        where = f"{place}[{number}]"
        if isinstance(entry, str):
            found.append(labelled.get(entry) or _checked(Contender(entry, entry), where))
            continue
        values = _mapping(entry, where, _METHOD, {"method"})
        name = str(values["method"])
        settings = _mapping(values.get("settings", {}), f"{where}.settings")
        found.append(_checked(Contender(str(values.get("label", name)), name, settings), where))
    labels = [contender.label for contender in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"{place}: two methods are labelled '{twice}'; give each a label of its own")
    return tuple(found)


def _checked(contender: Contender, place: str) -> Contender:
    try:
        make_config(get_method(contender.method).Config, contender.settings)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return contender


def _mapping(
    entry: Any, place: str, known: set[str] | None = None, required: set[str] | None = None
) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{place}: give names with values (name: value), not {entry!r}")
    for name in entry:
        if known is not None and name not in known:
            raise ConfigError(
                f"{place}: unknown entry '{name}'{nearest(str(name), known)} (entries: {', '.join(sorted(known))})"
            )
    missing = sorted((required or set()) - set(entry))
    if missing:
        raise ConfigError(f"{place}: the entry '{missing[0]}' is missing")
    return entry


def _sequence(entry: Any, place: str) -> list[Any]:
    entry = entry if isinstance(entry, list) else [entry]
    if not entry or entry == [None]:
        raise ConfigError(f"{place}: give at least one")
    return entry
