"""Help: groups, examples, and the names that options choose from."""

from __future__ import annotations

import shlex

import pytest

from acclimate.cli.app import commands
from acclimate.cli.helping import EXAMPLES
from acclimate.methods import list_methods
from acclimate.prompts import list_domains
from tests.helpers.command import acclimate


def test_the_help_of_adapt_names_its_choices_in_groups():
    text = acclimate("adapt", "--help").out
    shown = set(text.replace(",", " ").replace(".", " ").split())
    assert {method.name for method in list_methods()} <= shown
    assert {domain.id for domain in list_domains()} <= shown
    for group in ("Method and models", "Learning", "Data", "Output", "Machine"):
        assert f" {group} " in text
    assert text.count("Example: ") == 1


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_examples_parse_and_stand_in_the_help(example):
    known = dict(commands())
    words = shlex.split(example)[1:]
    verb = next(name for name in (" ".join(words[:2]), words[0]) if name in known)
    known[verb].make_context(known[verb].name, words[len(verb.split()) :])  # parses, runs nothing
    assert example in " ".join(acclimate(*verb.split(), "--help").out.split())
