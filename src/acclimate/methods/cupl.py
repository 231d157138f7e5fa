"""CuPL: the mean direction of the reference prompts of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.text import TextClassifier
from acclimate.methods.registry import register
from acclimate.options import Checked, option
from acclimate.training.feeds import Feed, chunks
from acclimate.training.inputs import Inputs
from acclimate.training.stages import SolverStage

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class CuPLConfig(Checked):
    """Settings of CuPL."""

    template: bool = option(False, "average the domain's template in as one more prompt")


@register
class CuPL(TextClassifier):
    """Customized Prompts via Language models: w_c = norm(mean_j norm(g(p_cj))) over the reference prompts of class c.

    Training images say which classes there are, nothing else; the directions are kept, so that prediction needs no
    prompts. A class without a training image has the direction of its template.
    Source: Pratt et al. 2023 (arXiv 2209.03320), section 3.
    """

    name = "cupl"
    title = "Zero-shot with reference prompts"
    paper = "arXiv 2209.03320"
    learns = "nothing by descent: a mean direction of reference prompts for each class"
    inputs = Inputs(training={"reference_prompts"})
    serves_new_classes = False
    Config = CuPLConfig
    config: CuPLConfig
    directions: Tensor

    def make(self) -> None:
        """Start from the templates; it serves those classes alone whose prompts it has read."""
        self.register_buffer("directions", self.template_directions())

    def stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the single stage that reads the prompts."""
        return [SolverStage("prompts", self._read)]

    def _read(self, train: Feed, val: Feed | None) -> dict[str, float]:
        templates, counts = self.template_directions(), torch.zeros(len(self.class_names))
        for batch in chunks(train, BATCH):
            for label in set(batch.labels.tolist()):
                if counts[label]:
                    continue
                row = int((batch.labels == label).nonzero()[0])
                prompts = F.normalize(batch.reference_prompts[row][batch.reference_mask[row]].float(), dim=-1)
                if self.config.template:
                    prompts = torch.cat([prompts, templates[label : label + 1].to(prompts.device)])
                self.directions[label] = F.normalize(prompts.mean(dim=0), dim=-1)
                counts[label] = len(prompts)
        return {"prompts": float(counts.sum())}

    def class_directions(self) -> Tensor:
        """Return w (C, E)."""
        return self.directions
