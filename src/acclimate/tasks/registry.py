"""Which tasks there are, and which of them data are for."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Any, TypeVar

from acclimate.data import ImageData
from acclimate.data.bands import parse_bands
from acclimate.errors import ConfigError
from acclimate.methods import Method, get_method
from acclimate.options import nearest
from acclimate.tasks.contract import Task

logger = logging.getLogger("acclimate.tasks")

_TASKS: dict[str, Task[Any]] = {}

T = TypeVar("T", bound=type[Task[Any]])


def register_task(kind: T) -> T:
    """Register a task under its `name`; sources are offered to the tasks in the order of their registration."""
    if kind.name in _TASKS and type(_TASKS[kind.name]) is not kind:
        raise ValueError(f"two tasks are named '{kind.name}'")
    _TASKS[kind.name] = kind()
    return kind


def list_tasks() -> tuple[Task[Any], ...]:
    """Return all tasks."""
    return tuple(_TASKS.values())


def get_task(name: str) -> Task[Any]:
    """Return the task of a name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    if name not in _TASKS:
        raise ConfigError(f"unknown task '{name}'{nearest(name, _TASKS)} (tasks: {', '.join(_TASKS)})")
    return _TASKS[name]


def task_of(data: ImageData, method: type[Method] | None = None) -> Task[Any]:
    """Return the task of loaded data: the usual one, or what a method does with them, if it does another."""
    task = get_task(data.task)
    return task if method is None or issubclass(method, task.capability) else task.otherwise(method)


def method_for(data: ImageData, method: type[Method]) -> type[Method]:
    """Return a method, or the one that stands in for it where it cannot do the task of loaded data."""
    task = task_of(data, method)
    if issubclass(method, task.capability) or not method.deputy:
        return method
    deputy = get_method(method.deputy)
    if not issubclass(deputy, task.capability):
        return method
    logger.info("%s: %s does no %s; %s stands in for it", data.name, method.name, task.title.lower(), deputy.name)
    return deputy


def open_data(source: ImageData | str | os.PathLike[str] | Any, **options: Any) -> ImageData:
    """Return data of whatever task recognises the source, else labelled images; loaded data as they are.

    Args:
        source: anything that `load_data`, `load_captions` or `load_questions` reads.
        options: as in `load_data`; a layout that is named, or several labels of an image, means labelled images.
    """
    bands = parse_bands(options.pop("bands", None))
    if isinstance(source, ImageData):
        return source if bands is None else replace(source, bands=bands)
    labelled = options.get("layout", "auto") != "auto" or options.get("multi_label", False)
    candidates = () if labelled else list_tasks()
    task = next((task for task in candidates if task.recognises(source)), get_task(ImageData.task))
    return replace(task.load(source, **options, bands=bands), bands=bands)  # tables of texts do not know of bands
