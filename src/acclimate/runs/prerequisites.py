"""The runs that a run builds on: learned once, each in a folder named by what decides it, and found there again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from torch import Tensor

from acclimate.backbones.backbone import as_dual
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.files import file_digest, make_folder, read_json
from acclimate.methods import GivenFile, Method, Prerequisite
from acclimate.runs import folder
from acclimate.runs.earlier import open_earlier
from acclimate.runs.parts import RunPart

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.model import AdaptedModel
    from acclimate.runs.run_files import RunFiles
    from acclimate.training.team import Team

CarryOut = Callable[["Experiment"], "AdaptedModel"]
"""Carries out an experiment in its run folder, without baselines."""


@dataclass(frozen=True)
class Learned:
    """What a prerequisite has learned.

    Attributes:
        state: its learned tensors, by name.
        facts: what a record says of it: `method`, `seed`, `identity` and `val_accuracy`, or `file` or `run` with its
            `sha256`.
        seen: what such a run has seen, by the sha256 of images, where it was given.
    """

    state: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    seen: frozenset[str] = frozenset()


class Prerequisites(RunPart):
    """What a method builds on; runs that are finished in a store are loaded.

    Several processes may share a store: whoever comes second waits for the first.

    Args:
        wanted: what the method asks for.
        carry_out: makes such a run.

    Raises:
        DataError: a given file is missing.
    """

    def __init__(self, wanted: Mapping[str, Prerequisite], carry_out: CarryOut) -> None:
        self.wanted, self.carry_out = wanted, carry_out
        self.given = given_files(wanted)
        self.learned: dict[str, Learned] = {}

    def files(self) -> Mapping[str, str]:
        """Return the hashes of the files that are given in the place of runs."""
        return self.given

    def ready(self, experiment: Experiment, files: RunFiles) -> None:
        """Learn what is not there yet.

        Raises:
            DataError: training images name no domain, a given file is unfit, or a given run has seen test images.
            ConfigError: a method cannot learn from these images, or a given run is of another one.
            RunError: the store cannot be used.
        """
        train, started = experiment.trial.train, time.monotonic()
        unnamed = train.domains.count("")
        if unnamed and any(one.domain is not None for one in self.wanted.values()):
            raise DataError(f"{train.name}: {unnamed} training images name no domain; name it, or leave them out")
        store = experiment.options.shared or (files.path and files.path / folder.PREREQUISITES)
        given = {name: found for name, one in self.wanted.items() if (found := _given(one, experiment))}
        own = {name: experiment.before(one) for name, one in self.wanted.items() if name not in given}
        for name in self.wanted:  # nothing is learned before all is known to be fit
            self.learned[name] = given.get(name) or self._learn(own[name], store, files.team)
        experiment.spend("prerequisites", started)

    def begin(self, method: Method) -> None:
        """Give the method what was learned."""
        method.adopt({name: learned.state for name, learned in self.learned.items()})

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return where it comes from."""
        return {"prerequisites": {name: dict(learned.facts) for name, learned in self.learned.items()}}

    def seen_before(self) -> frozenset[str]:
        """Return what given runs have seen."""
        return frozenset[str]().union(*(learned.seen for learned in self.learned.values()))

    def _learn(self, own: Experiment, store: Path | None, team: Team) -> Learned:
        place = store and store / own.identity()[:16]
        own = replace(own, options=own.options.of_part(place))
        with team.first_first(), locked(place):
            model = self.carry_out(own)
        measured = model.record["tests"].get("validation") or {}
        facts = {
            "method": own.method.name,
            "seed": own.seed,
            "identity": model.record["identity"],
            "val_accuracy": measured.get("accuracy", {}).get("value"),
        }
        return Learned(model.method.learned_state(), facts)


def given_files(wanted: Mapping[str, Prerequisite]) -> dict[str, str]:
    """Return the sha256 of the files that stand in for runs, by the name of what they stand for.

    Raises:
        DataError: a file is missing, or there are several.
        RunError: a run is none.
    """
    found = {name: file_digest(_find(one.given)) for name, one in wanted.items() if one.given}
    runs = {name: Path(one.run) for name, one in wanted.items() if one.run is not None}
    for name, run in runs.items():
        read_json(run / folder.ADAPTER_INFO, f"give the folder of a finished run of {wanted[name].method}")
    return found | {name: file_digest(run / folder.ADAPTER) for name, run in runs.items()}


def _find(given: GivenFile) -> Path:
    """Return the only file that the first group of patterns with any finds."""
    place = Path(given.folder)
    groups = ([path for name in names for path in sorted(place.glob(name))] for names in given.patterns)
    found = next((files for files in groups if files), [])
    if len(found) != 1:
        count = f"{len(found)} files ({', '.join(file.name for file in found)}) with the" if found else "no"
        raise DataError(f"{place}: {count} {given.words}; {given.advice}")
    return found[0]


def _given(one: Prerequisite, experiment: Experiment) -> Learned | None:
    """Return what is given in place of a run; none where nothing is."""
    if one.run is not None:
        return _from_run(one, Path(one.run), experiment)
    return _read(one.given, as_dual(experiment.backbone, one.given.words)) if one.given else None


def _from_run(one: Prerequisite, run: Path, experiment: Experiment) -> Learned:
    earlier = open_earlier(
        run,
        one.method,
        as_dual(experiment.backbone, one.method) if one.dual else experiment.backbone,
        None,
        experiment,
        what=str(run),
        missing=f"give the folder of a finished run of {one.method}",
        other=f"; give a run of {one.method}",
        advice="give another run, or give the data the split of that run",
    )
    method = earlier.method
    other = [name for name in one.alike if getattr(method.config, name) != one.settings[name]]
    if other:
        unlike = ", ".join(
            f"{name}={getattr(method.config, name)} there and {one.settings[name]} here" for name in other
        )
        raise ConfigError(f"{run} was learned with other settings ({unlike}); give those of that run")
    facts = {"run": str(run), "method": one.method, "sha256": earlier.sha256}
    return Learned(method.learned_state(), facts, earlier.seen.all)


def _read(given: GivenFile, backbone: DualEncoder) -> Learned:
    path = _find(given)
    try:
        state = given.read(path.read_bytes(), backbone)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); {given.advice}") from None
    return Learned(state, {"file": str(path), "sha256": file_digest(path)})


@contextmanager
def locked(place: Path | None) -> Iterator[None]:
    """Keep a folder to one process; whoever comes second waits for the first."""
    if place is None:
        yield
        return
    make_folder(place.parent)
    lock = FileLock(f"{place}.lock")
    try:
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire()
    except OSError as error:
        raise RunError(f"cannot make {place}.lock: {error.strerror}; free some space or choose another `out`") from None
    try:
        yield
    finally:
        lock.release()
