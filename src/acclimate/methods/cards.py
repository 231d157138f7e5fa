"""What the tables of methods show, kept in `cards.json` so that looking at them imports neither methods nor torch.

`tools/method_cards.py` writes that file from the code, and `make check` compares the two.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.options import describe_options

if TYPE_CHECKING:
    from acclimate.methods.contract import Method

FILE = Path(__file__).with_name("cards.json")
GROUP = "acclimate.methods"  # of entry points, by which an installed package brings methods of its own


@dataclass(frozen=True)
class Card:
    """A method in words.

    Attributes:
        name, title, paper, learns: as the method has them.
        inputs: what it reads, in words.
        capabilities: what it can do, such as "Classifier".
        settings: rows of `describe_options`.
    """

    name: str
    title: str
    paper: str
    learns: str
    inputs: str
    capabilities: list[str]
    settings: list[dict[str, str]]


def card_of(method: type[Method]) -> Card:
    """Return the card of a method class."""
    from acclimate.methods.capabilities import Classifier, Generator, Retriever

    return Card(
        name=method.name,
        title=method.title,
        paper=method.paper,
        learns=method.learns,
        inputs=str(method.inputs),
        capabilities=[kind.__name__ for kind in (Classifier, Retriever, Generator) if issubclass(method, kind)],
        settings=describe_options(method.Config),
    )


def stored_cards() -> tuple[Card, ...]:
    """Return the cards of the methods of this package, by name, from the file."""
    return tuple(Card(**row) for row in json.loads(FILE.read_text(encoding="utf-8")))


def list_cards() -> tuple[Card, ...]:
    """Return the cards of all methods, by name; those of other packages and of plugins are made from their code."""
    if f"{__package__}.registry" not in sys.modules and not entry_points(group=GROUP):
        return stored_cards()
    from acclimate.methods.registry import list_methods

    return tuple(map(card_of, list_methods()))


def get_card(name: str) -> Card:
    """Return the card of a method; the code is asked only where the file does not hold the name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    stored = next((card for card in stored_cards() if card.name == name), None)
    if stored is not None:
        return stored
    from acclimate.methods.registry import get_method

    return card_of(get_method(name))
