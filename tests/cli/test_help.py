"""Help: groups, examples, and the names that options choose from."""

from __future__ import annotations

import shlex

import pytest

from acclimate.cli.app import commands
from acclimate.cli.helping import EXAMPLES
from acclimate.methods import list_methods
from acclimate.prompts import list_domains
from tests.helpers.command import acclimate, run_code


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


@pytest.mark.parametrize("words", ["--help", "adapt --help", "data check -h"])
def test_help_comes_at_once(words):
    code = (
        "import sys, acclimate\n"
        "from acclimate.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print('heavy:', *{'pydantic', 'yaml', 'numpy', 'torch', 'markdown_it', 'pygments'} & sys.modules.keys())\n"
    )
    shown = run_code(code, *words.split())
    assert "Usage: " in shown
    assert shown.splitlines()[-1].split() == ["heavy:"]


def test_what_help_does_without_is_there_for_others():
    code = (
        "from acclimate.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "from rich.markdown import Markdown\n"
        "from rich.traceback import Traceback\n"
        "trace = Traceback.from_exception(ValueError, ValueError(), None).trace\n"
        "print(Markdown('*a*').markup, trace.stacks[0].exc_type)\n"
    )
    assert run_code(code, "--help").splitlines()[-1] == "*a* ValueError"


def test_a_wrong_option_is_told_before_help():
    done = acclimate("adapt", "--mehtod", "coop", "--help")
    assert done.code == 2
    assert "--mehtod" in done.error
    assert "Usage" in acclimate("data", "--help").out
