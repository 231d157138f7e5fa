"""The cards of methods: a file that equals the code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acclimate.errors import ConfigError
from acclimate.methods import cards, list_methods
from tests.helpers.waiting import HANG

PLUGIN = """
from acclimate.methods import Classifier, get_method, register


@register
class Own(Classifier):
    name = "own"
    title = "A method of one's own"
    Config = get_method("zero-shot").Config
"""


def own():
    return [method for method in list_methods() if method.__module__.startswith("acclimate.methods.")]


def test_the_file_equals_the_code():
    assert cards.stored_cards() == tuple(map(cards.card_of, own())), "`make cards` writes the file"


def test_a_card_says_what_a_method_is():
    card = cards.get_card("aape")
    assert (card.name, card.capabilities) == ("aape", ["Classifier", "Retriever"])
    assert "reference prompts" in card.inputs
    assert {"name", "type", "default", "help"} == card.settings[0].keys()


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="unknown method 'coopp'; did you mean 'coop'"):
        cards.get_card("coopp")


@pytest.mark.slow
def test_methods_of_a_plugin_have_cards(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    code = (
        "import sys\n"
        "from acclimate.methods import cards\n"
        "assert [card.name for card in cards.list_cards()] == [card.name for card in cards.stored_cards()]\n"
        "assert 'torch' not in sys.modules\n"
        "from acclimate.methods import load_plugin\n"
        "load_plugin(sys.argv[1])\n"
        "assert {card.name for card in cards.list_cards()} - {card.name for card in cards.stored_cards()} == {'own'}\n"
        "assert cards.get_card('own').title == \"A method of one's own\"\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "mine.py")],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
