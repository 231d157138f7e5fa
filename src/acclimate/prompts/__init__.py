"""Class names to words, templates per domain, and the sentences made of both."""

from __future__ import annotations

from acclimate.prompts.domains import Domain, check_template, get_domain, guess_domain, list_domains
from acclimate.prompts.names import class_words, class_words_all, read_names_file
from acclimate.prompts.promptset import PromptSet

__all__ = [
    "Domain",
    "PromptSet",
    "check_template",
    "class_words",
    "class_words_all",
    "get_domain",
    "guess_domain",
    "list_domains",
    "read_names_file",
]
