"""From classes to the sentences that a text tower encodes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acclimate.errors import ConfigError
from acclimate.prompts.domains import DEFAULT_DOMAIN, Domain, check_template, get_domain
from acclimate.prompts.instructions import INSTRUCTION
from acclimate.prompts.names import class_words_all

_logger = logging.getLogger("acclimate.prompts")


@dataclass(frozen=True, init=False, repr=False)
class PromptSet:
    """The words and sentences for a set of classes.

    The published template of natural photographs keeps its article ("a photo of a elephant."), since text towers and
    published figures were made with it; the templates of other domains avoid the article.

    Args:
        domain: a `Domain` or the id of one.
        overrides: words for classes by name, in place of those that `class_words` finds; entries for classes that the
            data do not have do no harm.
        template: one sentence in place of the domain's template.

    Raises:
        ConfigError: an unknown domain, or a template without exactly one `{}`.

    >>> PromptSet("satellite").sentences(["BareLand"])
    ['a satellite photo of bare land.']
    """

    domain: Domain
    overrides: Mapping[str, str]
    template: str

    def __init__(
        self, domain: Domain | str = DEFAULT_DOMAIN, overrides: Mapping[str, str] | None = None, template: str = ""
    ) -> None:
        found = domain if isinstance(domain, Domain) else get_domain(domain)
        object.__setattr__(self, "domain", found)
        object.__setattr__(self, "overrides", dict(overrides or {}))
        object.__setattr__(self, "template", template or found.template)
        check_template(self.template)

    def __repr__(self) -> str:
        """Return domain and template, and for how many classes words are given."""
        own = f", words for {len(self.overrides)} classes" if self.overrides else ""
        return f"PromptSet({self.domain.id!r}, {self.template!r}{own})"

    @property
    def lead_in(self) -> str:
        """The words of the template before the class; empty where it begins with the class."""
        return self.template.partition("{}")[0].strip()

    def words(self, class_names: Sequence[str]) -> list[str]:
        """Return the classes in words."""
        found = zip(class_names, class_words_all(class_names), strict=True)
        words = [self.overrides.get(name, word) for name, word in found]
        seen: dict[str, str] = {}
        for name, word in zip(class_names, words, strict=True):
            other = seen.setdefault(word.lower(), name)
            if other != name:
                _logger.warning("classes %r and %r both read %r; a names file can tell them apart", other, name, word)
        return words

    def sentences(self, class_names: Sequence[str]) -> list[str]:
        """Return one sentence per class, by the template."""
        return [self.template.replace("{}", word) for word in self.words(class_names)]

    def ensemble(self, class_names: Sequence[str]) -> list[list[str]]:
        """Return several sentences per class, by the domain's ensemble."""
        return [[template.replace("{}", word) for template in self.domain.ensemble] for word in self.words(class_names)]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values for `from_dict`, sentences included, so that a record outlives changed templates."""
        return {
            "domain": self.domain.id,
            "title": self.domain.title,
            "template": self.template,
            "ensemble": list(self.domain.ensemble),
            "flip": self.domain.flip,
            "words": dict(self.overrides),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PromptSet:
        """Return the prompt set that `to_dict` described.

        Raises:
            ConfigError: a key is missing, or a sentence is not valid.
        """
        missing = sorted({"domain", "title", "template", "ensemble", "flip", "words"} - set(values))
        if missing:
            raise ConfigError(f"prompts: {missing[0]!r} is missing; write the prompts with PromptSet.to_dict()")
        domain = Domain(
            id=str(values["domain"]),
            title=str(values["title"]),
            template=values["template"],
            ensemble=tuple(values["ensemble"]),
            flip=bool(values["flip"]),
            instruction=values.get("instruction", INSTRUCTION),
        )
        return cls(domain, values["words"], values["template"])
