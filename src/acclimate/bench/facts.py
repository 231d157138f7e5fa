"""What decides results on a data set of a bench, as plain values: its images, labels and splits, and its words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from acclimate.bench.spec import Contender, Source
from acclimate.data import ImageData
from acclimate.data.frozen import assignment_hash, split_table
from acclimate.files import fingerprint
from acclimate.prompts import PromptSet, get_domain, guess_domain
from acclimate.prompts.domains import DEFAULT_DOMAIN
from acclimate.tasks import task_of

READERS = 8  # threads that read images for their digests

logger = logging.getLogger("acclimate.bench")


def facts_of(data: ImageData, source: Source) -> dict[str, Any]:
    """Return what decides results on a data set: its images with their labels and splits, and its words."""
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(data.digest, range(len(data))))
    domain, task = source.domain, task_of(data)
    if domain is None and not task.has_classes:
        domain = DEFAULT_DOMAIN
    if domain is None:
        guessed, reason = guess_domain(data.class_names, data.name)
        logger.info(
            "%s: domain '%s' (%s); name another one in data.%s.domain", data.name, guessed.id, reason, data.name
        )
        domain = guessed.id
    facts = {
        "listing": listing(data),
        "images": listing(data, digests=True),
        "domain": domain,
        "names": dict(source.names),
        **task.facts_of(data),
    }
    facts |= _words(facts, source.templates)
    if data.bands is not None:
        facts["bands"] = list(data.bands)
    if list(data.class_names) != sorted(data.class_names):  # protocols may divide the classes by their order
        facts["classes"] = fingerprint(list(data.class_names))[:16]
    return facts


def _words(facts: Mapping[str, Any], templates: Sequence[str]) -> dict[str, Any]:
    """Return what says which sentences a data set is read with: its own, if it has any, and the hash of all."""
    own = {"templates": list(templates)} if templates else {}
    return {**own, "prompts": fingerprint(prompts_of({"": {**facts, **own}}, [""]).to_dict())[:16]}


def read_with(facts: Mapping[str, Any], contender: Contender) -> dict[str, Any]:
    """Return what decides results on a data set, with the sentences of a method in place of its own."""
    if contender.templates is None:
        return dict(facts)
    bare = {key: value for key, value in facts.items() if key not in ("templates", "prompts")}
    return bare | _words(bare, contender.templates)


def prompts_of(facts: Mapping[str, Any], names: Sequence[str]) -> PromptSet:
    """Return the templates of the first of some data sets, with the words of all, from what jobs know of them."""
    words = {key: word for name in reversed(names) for key, word in facts[name]["names"].items()}
    first = facts[names[0]]
    return PromptSet(get_domain(first["domain"]).with_templates(first.get("templates", ())), overrides=words)


def listing(data: ImageData, digests: bool = False) -> str:
    """Return a hash of the images of a data set: names, labels, domains, groups, splits, and bytes if asked for."""
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    return assignment_hash(split_table(splits, digests))[:16]
