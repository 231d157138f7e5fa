"""What `record.json` says of a run, whatever it has learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.methods.trust import distrusted
from acclimate.training.devices import make_accelerator
from acclimate.training.environment import environment, peak_memory
from acclimate.training.fit import FitContext

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment

Tests = dict[str, dict[str, Any] | None]
"""The metrics of every test by its name, none where a method cannot serve its classes."""

PRECISIONS = {"no": "fp32"}  # accelerate's words, and ours


def make_record(
    experiment: Experiment, method: Method, identity: str, baselines: bool, precision: str
) -> dict[str, Any]:
    """Measure a method on every test, and its baselines on the test split, and return the record, ready for JSON.

    Args:
        experiment: the run.
        method: after its training.
        identity: fingerprint of everything that decides the result.
        baselines: whether the baselines of the task are measured.
        precision: the mixed precision of the accelerator.
    """
    tests = experiment.score_all(method, kept="")
    ablations = {}
    for name, without in method.ablations().items():
        with without, distrusted(method):
            scores = experiment.score_all(method, ranked=False, kept=name)
            ablations[name] = {"metrics": scores.pop("test", None), "tests": scores}
    beside = _baselines(experiment, method, dict(tests)) if baselines else {}
    train, backbone, encoder = experiment.trial.train, experiment.backbone, experiment.domain_encoder
    record: dict[str, Any] = {
        "identity": identity,
        "method": method.name,
        "metrics": tests.pop("test", None),
        "tests": tests,
        "baselines": {name: of["test"] for name, of in beside.items() if "test" in of},
        "data": {
            "name": train.name,
            "split": train.split_origin,
            **({"split_made": dict(train.split_made)} if train.split_made else {}),
            "images": {name: len(part) for name, part in experiment.splits.items()},
            "splits_hash": experiment.splits_hash,
            "skipped": list(train.skipped),
            **({"bands": list(train.bands)} if train.bands else {}),
        },
        "shots": experiment.shots,
        "seed": experiment.seed,
        "precision": PRECISIONS.get(precision, precision),
        "backbone": {"id": backbone.name, "fingerprint": backbone.fingerprint},
        "cost": {
            "seconds": experiment.seconds,
            "peak_memory": peak_memory(backbone.device),
            "learned_parameters": method.learned_parameters(),
        },
        "environment": environment(backbone.device),
        "domain_encoder": encoder and {"id": encoder.name, "fingerprint": encoder.fingerprint, "width": encoder.width},
    }
    if baselines and not train.sets:
        record["verdict"] = _verdict(experiment, method, "test")
    if train.sets:
        record["sets"] = {name: _of_set(experiment, method, name, beside) for name in train.sets}
    if ablations:
        record["ablations"] = ablations
    if experiment.reference_prompts is not None:
        record["reference_prompts"] = experiment.reference_prompts.describe()
    if (scorer := experiment.scorer) is not None:
        record["scorer"] = {"id": scorer.name, "fingerprint": scorer.fingerprint}
    experiment.task.describe(record, experiment.splits, experiment.prompts)
    return record


def _verdict(experiment: Experiment, method: Method, test: str) -> dict[str, Any] | None:
    hits = experiment.hits.get(test, {})
    return experiment.task.verdict(method.name, hits, experiment.splits[test]) if hits else None


def _of_set(experiment: Experiment, method: Method, name: str, beside: Mapping[str, Tests]) -> dict[str, Any]:
    """Return what the record says of one of several data sets, beside the metrics of the method in `tests`."""
    trial, prompts = experiment.trial, experiment.test_prompts.get(name, experiment.prompts)
    counts = {
        "train": len(trial.train.of_set(name)),
        "val": len(trial.val.of_set(name)),
        "test": len(trial.tests[name]),
    }
    return {
        "classes": len(trial.train.sets[name]),
        "domain": prompts.domain.id,
        "images": counts,
        "baselines": {other: of[name] for other, of in beside.items()},
        "verdict": _verdict(experiment, method, name) if beside else None,
    }


def _baselines(experiment: Experiment, method: Method, own: Tests) -> dict[str, Tests]:
    """Return the metrics of the baselines on every test, by name; where the method is one of them, its own."""
    found: dict[str, Tests] = {}
    for kind in experiment.task.baselines(experiment.backbone.kind, experiment.domain_encoder is not None):
        if kind is type(method):
            found[kind.name] = own
            continue
        baseline = experiment.make(kind)
        accelerator = make_accelerator(experiment.backbone.device, "fp32")
        experiment.learn(baseline, FitContext(accelerator, experiment.seed, progress=experiment.options.progress))
        baseline.end_training()
        found[kind.name] = experiment.score_all(baseline)
    return found
