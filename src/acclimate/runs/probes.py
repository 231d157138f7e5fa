"""Module probes: where in a generative VLM the information about the classes is, or gets lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.methods import AnsweringClassifier
from acclimate.methods.linear_probe import FeatureProbe
from acclimate.runs.parts import RunPart
from acclimate.training.feeds import FeatureFeed, Feed, chunks
from acclimate.training.stages import SolverStage

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

MODULES = {"image_features": "vision encoder", "connected_features": "connector"}  # what the backbone gives
BATCH = 64


class ModuleProbes(RunPart):
    """Linear probes on the vision encoder's features, on those behind the connector, and on the prompt's last state.

    Where the probe falls from one module to the next, that module loses what tells the classes apart; where all probes
    are ahead of the answers, it is the answering.
    """

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return the metrics of a probe on each module, measured on the test images."""
        assert isinstance(method, AnsweringClassifier)  # what it is made for
        train, test = experiment.splits["train"], experiment.splits.get("test")
        if test is None or not len(test) or test.class_names != method.trained_classes:
            return {}
        method.eval()
        feeds = {split: _features(method, experiment, split) for split in ("train", "val", "test")}
        found = {}
        for module, features in feeds["train"].items():
            probe = FeatureProbe(method, features.shape[1])
            own = {split: _feed(experiment, split, rows[module]) for split, rows in feeds.items() if rows}
            for stage in probe.stages(experiment.task.facts(train)):
                assert isinstance(stage, SolverStage)
                stage.solve(own["train"], own.get("val"))
            given = experiment.given(probe.config)
            found[module] = experiment.task.evaluate(probe, own["test"], test, given)
        return {"probes": found}


def _feed(experiment: Experiment, split: str, features: Tensor) -> Feed:
    return FeatureFeed(features, torch.from_numpy(experiment.splits[split].labels))


@torch.no_grad()
def _features(method: AnsweringClassifier, experiment: Experiment, split: str) -> dict[str, Tensor]:
    """Return features (N, F) of the images of a split, by module; nothing where there are none."""
    if not len(experiment.splits[split]):
        return {}
    names = method.inputs.prediction | (MODULES.keys() & experiment.backbone.widths.keys())
    rows: dict[str, list[Tensor]] = {}
    for few in chunks(experiment.feed(method, split, names), BATCH):
        batch = few.to(experiment.backbone.device)
        own = {title: getattr(batch, name) for name, title in MODULES.items() if name in names}
        for module, features in (own | {**method.probed(batch)}).items():
            rows.setdefault(module, []).append(features.float().cpu())
    return {module: torch.cat(parts) for module, parts in rows.items()}
