"""Class names to words, templates per domain, and the sentences made of both.

Names are imported on first use, so that help can name the domains without reading them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.modules import on_first_use

if TYPE_CHECKING:
    from acclimate.prompts.domains import Domain, check_template, get_domain, guess_domain, list_domains
    from acclimate.prompts.instructions import check_instruction, match_answer, render_instruction
    from acclimate.prompts.names import class_words, class_words_all, read_names_file
    from acclimate.prompts.promptset import PromptSet
    from acclimate.prompts.references import ReferencePrompts, open_reference_prompts
    from acclimate.prompts.templates import check_templates, open_templates, read_templates

_HOMES = {
    "Domain": "domains",
    "PromptSet": "promptset",
    "ReferencePrompts": "references",
    "check_instruction": "instructions",
    "check_template": "domains",
    "check_templates": "templates",
    "class_words": "names",
    "class_words_all": "names",
    "get_domain": "domains",
    "guess_domain": "domains",
    "list_domains": "domains",
    "match_answer": "instructions",
    "open_reference_prompts": "references",
    "open_templates": "templates",
    "read_names_file": "names",
    "read_templates": "templates",
    "render_instruction": "instructions",
}

__all__ = [
    "Domain",
    "PromptSet",
    "ReferencePrompts",
    "check_instruction",
    "check_template",
    "check_templates",
    "class_words",
    "class_words_all",
    "get_domain",
    "guess_domain",
    "list_domains",
    "match_answer",
    "open_reference_prompts",
    "open_templates",
    "read_names_file",
    "read_templates",
    "render_instruction",
]

__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
