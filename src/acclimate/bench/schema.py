"""The entries of a `SPEC.yaml`: what may stand where, each value checked by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt

from acclimate.bench.entries import Entry, Many, Names, Open, Text
from acclimate.data import parse_shots
from acclimate.errors import ConfigError
from acclimate.metrics import get_measure
from acclimate.prompts import check_templates, get_domain
from acclimate.protocols import get_protocol

METRIC = "balanced_accuracy"
PLACEHOLDER = "{data}"
"""Stands for the name of the data set in the name of a domain encoder or of a file of reference prompts."""

OF_DOMAIN = "domain"
"""In the place of a method's own templates: those of the domain, whatever the data set names."""

NAMED = ("domain_encoder", "reference_prompts")
"""What a method may read beside the images: named at the top, for a data set, or for a method, which wins."""


def _check_placeholders(name: str) -> str:
    for placeholder in re.findall(r"\{[^{}]*\}|[{}]", name):
        if placeholder != PLACEHOLDER:
            raise ConfigError(
                f"'{placeholder}' in '{name}' stands for nothing; {PLACEHOLDER} is the name of the data set"
            )
    return name


def _budget(shots: Any) -> Any:
    """Return `budget:64` for what YAML makes of `budget: 64`, anything else as it is."""
    return f"budget:{shots['budget']}" if isinstance(shots, Mapping) and [*shots] == ["budget"] else shots


def _sentences_or_domain(given: tuple[str, ...]) -> tuple[str, ...]:
    return () if given == (OF_DOMAIN,) else check_templates(given, "sentence")


Named = Annotated[Text, AfterValidator(_check_placeholders)]


class MethodEntry(Entry):
    """A method: a row of the tables."""

    method: Text
    label: Open[Text]
    settings: Open[Names[Any]]
    domain_encoder: Open[Named]
    reference_prompts: Open[Named]
    templates: Open[Annotated[Many[Text], AfterValidator(_sentences_or_domain)]]
    resources: Any = None


class SourceEntry(Entry):
    """A data set."""

    path: Text
    layout: Open[Text]
    images_root: Text | None = None
    split_seed: Open[StrictInt]
    split_rule: Open[Text]
    split_from: Open[Text]
    multi_label: Open[bool]
    bands: Open[Text]
    domain: Annotated[Text, AfterValidator(lambda id: get_domain(id).id)] | None = None
    templates: Open[Annotated[Many[Text], AfterValidator(lambda given: check_templates(given, "sentence"))]]
    names: Open[Names[Text]]
    domain_encoder: Open[Named]
    reference_prompts: Open[Named]


class SuiteEntry(Entry):
    """A suite: one protocol on some data sets."""

    protocol: Annotated[Text, AfterValidator(lambda name: get_protocol(name).name)]
    options: Names[Any] = Field({})
    data: Many[Text]
    shots: Many[Annotated[Any, BeforeValidator(_budget), AfterValidator(parse_shots)]]
    seeds: Many[StrictInt]
    methods: Open[Many[Any]]
    settings: Names[Names[Any]] = Field({})
    resources: Any = None


class SpecEntry(Entry):
    """The whole file."""

    title: Open[Text]
    about: Any = None
    backbones: Open[Many[Text]]
    data: Names[Any]
    suites: Many[Any]
    methods: Many[Any]
    shots: Any = 16
    seeds: Any = (1, 2, 3)
    metric: Annotated[Text, AfterValidator(lambda name: get_measure(name).name)] = METRIC
    reference: Text | None = None
    precision: Text = "auto"
    scorer: Text | None = None
    domain_encoder: Open[Named]
    reference_prompts: Open[Named]
    resources: Any = None
