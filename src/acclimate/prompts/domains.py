"""Domains and their prompt templates, and a careful guess at which one fits."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import yaml

from acclimate.errors import ConfigError, brief
from acclimate.options import closest
from acclimate.prompts.instructions import INSTRUCTION, check_instruction
from acclimate.prompts.names import class_words

DEFAULT_DOMAIN = "natural"

# Words of a folder's name that say nothing about its domain.
_FILLERS_TEXT = (
    "dataset datasets data set images image imgs img pictures train training test val validation full mini small "
    "subset sample samples split splits raw processed classification cls my the of and a new final folder"
)
_FILLERS = frozenset(_FILLERS_TEXT.split())


@dataclass(frozen=True)
class Domain:
    """A kind of image, and the sentences that speak of it.

    Args:
        id: how the command line names it.
        title: for readers.
        template: one sentence with `{}` for the class in words.
        ensemble: sentences whose text features are averaged.
        flip: whether a mirror image keeps its meaning.
        note: advice, shown with the domain.
        keywords: what speaks for the domain in the name of a source or in class words.
        names: names of data sets that count only as the whole name of a source.
        weak: classes typical of the domain, which count in numbers.
        grey: images of this domain have no colour.
        also: other words for the domain, by which it is suggested; they say nothing in a guess.
        instruction: what a generative VLM is asked, with `{labels}` for the list of the classes.

    Raises:
        ConfigError: a sentence without exactly one `{}`, or an instruction with other braces than `{labels}`.
    """

    id: str
    title: str
    template: str
    ensemble: tuple[str, ...]
    flip: bool = True
    note: str = ""
    keywords: tuple[str, ...] = field(default=(), repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    weak: tuple[str, ...] = field(default=(), repr=False)
    grey: bool = field(default=False, repr=False)
    also: tuple[str, ...] = field(default=(), repr=False)
    instruction: str = field(default=INSTRUCTION, repr=False)

    def with_templates(self, templates: Sequence[str]) -> Domain:
        """Return the domain with other sentences: the first alone, all together as its ensemble; none change nothing.

        Raises:
            ConfigError: a sentence without exactly one `{}`.
        """
        return replace(self, template=templates[0], ensemble=tuple(templates)) if templates else self

    def __post_init__(self) -> None:
        """Check every sentence."""
        for sentence in (self.template, *self.ensemble):
            check_template(sentence, f"domain {self.id!r}")
        check_instruction(self.instruction, f"domain {self.id!r}")
        if not self.ensemble:
            raise ConfigError(f"domain {self.id!r}: the ensemble is empty; give at least one sentence")


def _suggest(word: str, domains: Mapping[str, Domain]) -> str:
    """Return which domains a word may mean: by meaning, where it is a word for one, else by a slip of spelling."""
    asked = " ".join(re.split(r"[\W_]+", word.lower()))
    meant = [name for name, domain in domains.items() if asked in {*domain.also, *domain.keywords}]
    close = closest(word, domains, cutoff=0.75)  # geology is no slip of histology
    found = meant or ([close] if close else [])
    if found:
        return f"did you mean {' or '.join(map(repr, found))}?"
    return f"choose one of {', '.join(domains)}"


def check_template(template: str, where: str = "template") -> None:
    """Check that a sentence has exactly one `{}` and no other braces.

    Raises:
        ConfigError: it has not.
    """
    if not isinstance(template, str) or template.count("{}") != 1 or re.search(r"[{}]", template.replace("{}", "", 1)):
        raise ConfigError(
            f"{where}: {brief(repr(template), 120)} must contain {{}} once, where the class name goes, and no other "
            "braces"
        )
    if re.search("[\ud800-\udfff\x00]", template):
        raise ConfigError(f"{where}: {brief(ascii(template), 120)} holds bytes that are no text; write it in UTF-8")


@functools.cache
def _domains() -> dict[str, Domain]:
    text = resources.files(__package__).joinpath("templates.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.safe_load(text)
    domains: dict[str, Domain] = {}
    for name, entry in entries.items():
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        domains[name] = Domain(id=name, **fields)
    return domains


def list_domains() -> tuple[Domain, ...]:
    """Return every domain, in the order of the file."""
    return tuple(_domains().values())


def get_domain(id: str) -> Domain:
    """Return a domain by its id.

    Raises:
        ConfigError: there is none of that id.

    >>> get_domain("satellite").template
    'a satellite photo of {}.'
    """
    domains = _domains()
    if id not in domains:
        raise ConfigError(f"domain {id!r} is unknown; {_suggest(str(id), domains)}")
    return domains[id]


def guess_domain(
    class_names: Sequence[str], source_name: str = "", image_stats: Mapping[str, float] | None = None
) -> tuple[Domain, str]:
    """Guess the domain by keyword votes from the source's name and the class words.

    A keyword in the name of the source counts two votes, and so does a data set known by its whole name. Classes
    vote together, with two votes, where at least two of them, and half of all, hold a keyword, or at least three, and
    half of all, are typical classes of the domain. Weak evidence and a tie give "natural".

    Args:
        class_names: as the data spell them.
        source_name: name of the folder, manifest or data set.
        image_stats: `{"grey_fraction": f}`, the fraction of images without colour, where it is known: a domain of
            grey images is not guessed for data of which less than half are grey.

    Returns:
        The domain, and why, as a sentence without a full stop.
    """
    source = _normal(source_name)
    bare = " ".join(word for word in source.split() if word not in _FILLERS)
    words = [_normal(name) for name in class_names]
    coloured = image_stats is not None and image_stats.get("grey_fraction", 1.0) < 0.5
    votes: dict[str, tuple[int, str]] = {}
    for domain in list_domains():
        if coloured and domain.grey:
            continue
        count, reasons = _votes(domain, source, bare, words)
        if count:
            votes[domain.id] = (count, " and ".join(reasons))
    if not votes:
        return get_domain(DEFAULT_DOMAIN), "neither the source's name nor the class names speak for another domain"
    most = max(count for count, _ in votes.values())
    winners = [id for id, (count, _) in votes.items() if count == most]
    if len(winners) > 1:
        return get_domain(DEFAULT_DOMAIN), f"the evidence is divided between {' and '.join(winners)}"
    return get_domain(winners[0]), votes[winners[0]][1]


def _votes(domain: Domain, source: str, bare: str, words: Sequence[str]) -> tuple[int, list[str]]:
    count, reasons = 0, []
    hits = list({_plain(keyword): keyword for keyword in domain.keywords if _contains(source, keyword)}.values())
    if bare in domain.names:
        hits.append(bare)
    if hits:
        count += 2 * len(hits)
        reasons.append(f"the source's name has {_quoted(hits)}")
    if domain.id == DEFAULT_DOMAIN:  # the default needs no votes from classes
        return count, reasons
    strong = [word for word in words if any(_contains(word, keyword) for keyword in domain.keywords)]
    typical = [word for word in words if word in domain.weak or word.removesuffix("s") in domain.weak or word in strong]
    enough = max(1, (len(words) + 1) // 2)
    if (len(strong) >= 2 and len(strong) >= enough) or (len(typical) >= 3 and len(typical) >= enough):
        count += 2
        reasons.append(f"{len(typical)} of {len(words)} classes are typical ({_quoted(typical[:3])})")
    return count, reasons


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9&]+", " ", class_words(name).lower()).strip() if name.strip() else ""


def _contains(text: str, keyword: str) -> bool:
    """Whether the keyword stands in the text as whole words, also where the text writes it apart ("euro sat")."""
    keyword = _plain(keyword)
    padded = f" {text} "
    return (
        f" {keyword} " in padded
        or f" {keyword}s " in padded
        or (" " not in keyword and len(keyword) > 5 and keyword in {a + b for a, b in _pairs(text.split())})
    )


@functools.cache
def _plain(keyword: str) -> str:
    return re.sub(r"[^a-z0-9&]+", " ", keyword.lower()).strip()


def _pairs(words: list[str]) -> Iterable[tuple[str, str]]:
    return itertools.pairwise(words)


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(repr(word) for word in words)
