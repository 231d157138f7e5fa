"""The runs that a run builds on: learned once, each in a folder named by what decides it, and found there again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from torch import Tensor

from acclimate.data import ImageData
from acclimate.errors import DataError, RunError
from acclimate.files import make_folder
from acclimate.methods import Prerequisite, get_method
from acclimate.options import make_config
from acclimate.protocols import Trial
from acclimate.runs.prompt_labels import digest, find_label, read_label

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel
    from acclimate.runs.task import Task

VALIDATION = "validation"  # what the validation images of such a run are measured as


@dataclass(frozen=True)
class Learned:
    """What a prerequisite has learned.

    Attributes:
        state: its learned tensors, by name.
        facts: what a record says of it: `method`, `seed`, `identity` and `val_accuracy`, or `file` and `sha256`.
    """

    state: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def learn_prerequisites(
    wanted: Mapping[str, Prerequisite],
    task: Task,
    trial: Trial,
    precision: str,
    store: Path | None,
    learn: Callable[[Trial, Prerequisite, int, Path | None], AdaptedModel],
) -> dict[str, Learned]:
    """Return what a method builds on, by name; runs that are finished in the store are loaded.

    Several processes may share a store: whoever comes second waits for the first.

    Args:
        wanted: what the method asks for.
        task: that of the method.
        trial: its images.
        precision: as in `adapt`.
        store: folder of such runs, or none to keep them in memory.
        learn: makes such a run of images, what is asked for, a seed and a run folder.

    Raises:
        DataError: training images name no domain, or a given file is missing or unfit.
        RunError: the store cannot be used.
    """
    unnamed = trial.train.domains.count("") if wanted else 0
    if unnamed:
        raise DataError(f"{trial.train.name}: {unnamed} training images name no domain; name it, or leave them out")
    return {name: _learn(one, task, trial, precision, store, learn) for name, one in wanted.items()}


def given_files(wanted: Mapping[str, Prerequisite]) -> dict[str, str]:
    """Return the sha256 of the files that stand in for runs, by the name of what they stand for."""
    return {name: digest(find_label(Path(one.given), one.domain)) for name, one in wanted.items() if one.given}


def _learn(
    one: Prerequisite,
    task: Task,
    trial: Trial,
    precision: str,
    store: Path | None,
    learn: Callable[[Trial, Prerequisite, int, Path | None], AdaptedModel],
) -> Learned:
    if one.given is not None:
        path = find_label(Path(one.given), one.domain)
        label = read_label(path, task.backbone.text_width)
        return Learned({"context": label}, {"file": str(path), "sha256": digest(path)})
    val = _of_domain(trial.val, one.domain)
    part = Trial(_of_domain(trial.train, one.domain), val, {VALIDATION: val} if len(val) else {})
    seed = task.seed if one.seed is None else one.seed
    config: Any = make_config(get_method(one.method).Config, one.settings)
    bare: dict[str, Any] = {"test_prompts": {}, "domain_encoder": None, "references": None, "seconds": {}, "_feeds": {}}
    own = replace(task, splits=part.splits, seed=seed, **bare)
    place = store and store / own.identity(one.method, config, precision)[:16]
    with _locked(place):
        model = learn(part, one, seed, place)
    measured = model.record["tests"].get(VALIDATION) or {}
    facts = {
        "method": one.method,
        "seed": seed,
        "identity": model.record["identity"],
        "val_accuracy": measured.get("accuracy", {}).get("value"),
    }
    return Learned(model.method.learned_state(), facts)


def _of_domain(data: ImageData, domain: str) -> ImageData:
    return data.select([row for row, name in enumerate(data.domains) if name == domain])


@contextmanager
def _locked(place: Path | None) -> Iterator[None]:
    if place is None:
        yield
        return
    make_folder(place.parent)
    lock = FileLock(f"{place}.lock")
    try:
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire()
    except OSError as error:
        raise RunError(f"cannot make {place}.lock: {error.strerror}; free some space or choose another --out") from None
    try:
        yield
    finally:
        lock.release()
