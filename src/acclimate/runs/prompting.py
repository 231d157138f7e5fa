"""The sentences of a run: templates and words of its classes, and the reference prompts that its method learns from."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.prompts import PromptSet, ReferencePrompts, get_domain, guess_domain, open_reference_prompts

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.methods import Method

logger = logging.getLogger("acclimate.runs")


def choose_prompts(data: ImageData, domain: str | None, names: Mapping[str, str] | None) -> PromptSet:
    """Return templates of the named or guessed domain and words for the classes."""
    if domain is None:
        guessed, reason = guess_domain(data.class_names, data.name)
        logger.info("domain '%s': %s; choose another with --domain", guessed.id, reason)
        domain = guessed.id
    return PromptSet(get_domain(domain), overrides=names or {})


def references_of(
    given: str | os.PathLike[str] | Mapping[str, Sequence[str]] | ReferencePrompts | None,
    method: type[Method],
    config: object,
    class_names: Sequence[str],
    prompts: PromptSet,
) -> ReferencePrompts | None:
    """Return the reference prompts that a method learns from with these settings, or none."""
    if "reference_prompts" not in method.loss_needs_of(config):
        if given is not None:
            logger.info("%s learns from no reference prompts; those that are given are not used", method.name)
        return None
    if given is not None and not isinstance(given, Mapping | ReferencePrompts):
        given = Path(given)
    found = open_reference_prompts(given, class_names, prompts)
    counts = [len(some) for some in found.sentences.values()]
    logger.info("reference prompts: %s, %d to %d a class", found.source, min(counts), max(counts))
    return found
