"""A saved model on other data, beside the baselines that need no training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.data import ImageData
from acclimate.options import make_config
from acclimate.runs.encoders import open_scorer
from acclimate.runs.several import among_own
from acclimate.tasks import Task, task_of
from acclimate.tasks.within import FLOOR

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.methods import Method
    from acclimate.runs.model import AdaptedModel
    from acclimate.training.progress import Progress


def evaluate_beside(
    model: AdaptedModel,
    data: ImageData,
    progress: Progress | None = None,
    scorer: str | os.PathLike[str] | DualEncoder | None = None,
    adapt_to_folder: bool = False,
    hierarchy: str | os.PathLike[str] | None = None,
    floor: float = FLOOR,
) -> dict[str, Any]:
    """Return the metrics of a model as its `evaluate` does, with those of zero-shot on the same images.

    Zero-shot costs one pass of the image tower at most; its features come from the cache where they are there.

    Args:
        model: a saved model.
        data: the images, all of which are measured on.
        progress: told of every batch.
        scorer: as in `adapt`.
        adapt_to_folder: as in `evaluate`; the others stay as they are.
        hierarchy, floor: as in `AdaptedModel.predict`, for the model itself.

    Returns:
        The metrics; beside them `baselines`, by name, and the `verdict`, see `Task.verdict`.

    Raises:
        DataError: there is no image, or a class that the model does not know.
        ConfigError: the method cannot do what the data are for.
    """
    task, own = task_of(data, type(model.method)), model.method
    task.check(type(own), data.name)
    judge = open_scorer(scorer, task, model.backbone, model.backbone.device)
    tasks = {own.name: task.adapting_to_folder(own)} if adapt_to_folder else {}
    metrics: dict[str, dict[str, Any]] = {}
    hits: dict[str, np.ndarray] = {}
    with among_own(model, data):
        within = model.within(hierarchy, floor, adapt_to_folder)
        for method in chain((own,), _untrained(task, own, data)):
            answers = tasks.get(method.name, task).answer(method, *model.feed_for(method, data, progress, judge))
            metrics[method.name], hits[method.name] = task.measure(answers, data), task.hits(answers)
            if within is not None and method is own:
                metrics[own.name]["hierarchy"] = task.graded(own, answers, data, within)
    found = metrics.pop(own.name)
    return {**found, "baselines": metrics, "verdict": task.verdict(own.name, hits, data)}


def _untrained(task: Task[Any], own: Any, data: ImageData) -> Iterator[Method]:
    """Yield the baselines of a task that learn nothing, for the classes of a method; itself is none."""
    for kind in task.baselines(own.backbone.kind, domain_encoder=False):
        method: Any = kind(own.backbone, make_config(kind.Config, {}), own.prompts, None)
        if kind.name == own.name or task.stages(method, task.facts(data)):
            continue
        if task.has_classes:
            method.bind(own.class_names)
        else:
            task.begin(method, data)
        yield method.eval()
