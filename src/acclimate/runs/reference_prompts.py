"""The sentences about the classes that a run learns from."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.prompts import PromptSet, ReferencePrompts, open_reference_prompts
from acclimate.tasks import task_of

if TYPE_CHECKING:
    from acclimate.data import ImageData

logger = logging.getLogger("acclimate.runs")


def reference_prompts_for(
    given: str | os.PathLike[str] | Mapping[str, Sequence[str]] | ReferencePrompts | None,
    method: Any,
    config: object,
    train: ImageData,
    prompts: PromptSet,
) -> ReferencePrompts | None:
    """Return the sentences about the classes that a method learns from with these settings, or none."""
    if not method.inputs_of(config).reference_prompts or not task_of(train).has_classes:
        if given is not None:
            logger.info("%s learns from no reference prompts here; those that are given are not used", method.name)
        return None
    if given is not None and not isinstance(given, Mapping | ReferencePrompts):
        given = arguments.path("reference_prompts", given)
    found = open_reference_prompts(given, train.class_names, prompts)
    counts = [len(some) for some in found.sentences.values()]
    logger.info("reference prompts: %s, %d to %d a class", found.source, min(counts), max(counts))
    return found
