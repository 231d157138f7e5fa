"""Class names to words, templates per domain, and the sentences made of both."""

from __future__ import annotations

from acclimate.prompts.domains import Domain, check_template, get_domain, guess_domain, list_domains
from acclimate.prompts.names import class_words, class_words_all, read_names_file
from acclimate.prompts.promptset import PromptSet
from acclimate.prompts.references import ReferencePrompts, open_reference_prompts
from acclimate.prompts.templates import check_templates, open_templates, read_templates

__all__ = [
    "Domain",
    "PromptSet",
    "ReferencePrompts",
    "check_template",
    "check_templates",
    "class_words",
    "class_words_all",
    "get_domain",
    "guess_domain",
    "list_domains",
    "open_reference_prompts",
    "open_templates",
    "read_names_file",
    "read_templates",
]
