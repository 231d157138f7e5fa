"""One data set or several that are learned from together: opened, drawn, and put into words."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.data import ImageData
from acclimate.errors import ConfigError
from acclimate.methods import ClassSet, Method
from acclimate.prompts import PromptSet, get_domain
from acclimate.prompts.domains import DEFAULT_DOMAIN
from acclimate.protocols import FewShot, Trial, draw_together
from acclimate.tasks import Task, open_data, task_of

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel

logger = logging.getLogger("acclimate.runs")


def open_sets(data: Any, **options: Any) -> list[ImageData]:
    """Return one data set, or several that can be learned from together.

    Args:
        data: what `open_data` takes, or a list of such.
        options: of `open_data`, for each of them.

    Raises:
        ConfigError: there is none, two have one name, or they are not of one task that can join them.
    """
    several = list(data) if isinstance(data, list | tuple) else [data]
    if not several:
        raise ConfigError("`data` is empty; give a data set, or several that are learned from together")
    sets = [open_data(one, **options) for one in several]
    if len(sets) == 1:
        return sets
    names = [one.name for one in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two data sets are named '{twice}', and results are told apart by name; rename a folder")
    first = sets[0]
    other = next((one for one in sets if one.task != first.task), None)
    if other is not None:
        tasks = [f"{one.name} is for {task_of(one).title.lower()}" for one in (first, other)]
        raise ConfigError(f"{' and '.join(tasks)}; data sets of one task can be learned from together")
    if not task_of(first).joins:
        raise ConfigError(
            f"{' and '.join(names)} are for {task_of(first).title.lower()}, and several data sets are learned from "
            "together where they have classes; give one of them"
        )
    return sets


def draw(sets: Sequence[ImageData], shots: int | str, seed: int) -> Trial:
    """Return shots of one data set, or of each of several, and what is measured.

    Raises:
        DataError: a class has no training image.
    """
    for one in sets:
        if len(one.test) == 0 and one.split_origin != "given":  # of a given split, loading has said so
            logger.warning("%s has no test images: the adapter is made, but nothing is measured", one.name)
    first = sets[0]
    return (
        draw_together(sets, shots, seed)
        if len(sets) > 1
        else FewShot().draw(first.name, {first.name: first}, shots, seed)
    )


def describe_sets(method: Method, sets: Mapping[str, ClassSet]) -> dict[str, Any]:
    """Return what `adapter.json` says of several data sets, for `read_sets`."""
    return {
        name: {"class_names": list(known.class_names), "prompts": method.prompts_read(known.prompts)}
        for name, known in sets.items()
    }


def read_sets(described: Mapping[str, Any]) -> dict[str, ClassSet]:
    """Return the data sets that `describe_sets` has described."""
    return {
        name: ClassSet(name, tuple(known["class_names"]), PromptSet.from_dict(known["prompts"]))
        for name, known in described.items()
    }


def set_of(sets: Mapping[str, ClassSet], data: ImageData) -> str | None:
    """Return which of several data sets some data are, the one of the same name, else the only one with all classes.

    Args:
        sets: by name.
        data: what is measured.
    """
    present = {name for name, count in data.counts().items() if count} if sets else set()
    able = [name for name, known in sets.items() if present <= {*known.class_names}]
    return data.name if data.name in able else able[0] if len(able) == 1 else None


def choose_all_prompts(
    task: Task[Any],
    sets: Sequence[ImageData],
    domain: str | Mapping[str, str] | None,
    names: Mapping[str, str],
    templates: Sequence[str],
) -> tuple[PromptSet, dict[str, PromptSet]]:
    """Return what all training images are learned with, and the prompts of each of several data sets by its name.

    Sets of one domain are learned with its templates; else with those of natural images, which speak of no domain, and
    mirror images are shown where they keep their meaning in every set.

    Args:
        task: of the data.
        sets: one data set or several.
        domain: of all, or of some by their names; none guesses it.
        names: words for class names, of whatever set.
        templates: in place of those of the domains.

    Raises:
        ConfigError: an unknown domain or data set.
    """
    known = [one.name for one in sets]
    by_name = arguments.mapping("domain", domain) if isinstance(domain, Mapping) else dict.fromkeys(known, domain)
    if unknown := [name for name in by_name if name not in known]:
        raise ConfigError(f"`domain` names '{unknown[0]}', and the data are {', '.join(known)}; name one of these")
    found = {}
    for one in sets:
        own = arguments.optional(arguments.text, "domain", by_name.get(one.name))
        found[one.name] = task.prompts(one, own, names, templates)
    first, *others = found.values()
    if not others:
        return first, {}
    if all(other.domain == first.domain for other in others):
        return first, found
    neutral = get_domain(DEFAULT_DOMAIN).with_templates(templates)
    flip = all(prompts.domain.flip for prompts in found.values())
    logger.info(
        "the data sets are of several domains: they are learned from with the templates of '%s', and each is measured "
        "with its own",
        neutral.id,
    )
    return PromptSet(replace(neutral, flip=flip), overrides=names), found


@contextmanager
def among_own(model: AdaptedModel, data: ImageData) -> Iterator[None]:
    """Serve the classes of the data set that some data are, see `set_of`, unless others have been bound."""
    own = set_of(model.sets, data)
    if own is None or model.class_names != model.trained_classes or model.serves is not None:
        yield
        return
    logger.info("%s: measured among the %d classes of '%s'", data.name, len(model.sets[own].class_names), own)
    try:
        model.of_set(own)
        yield
    finally:
        model.method.prompts = model.prompts
        model.rebind(model.trained_classes)
