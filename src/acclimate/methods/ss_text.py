"""SS-Text: a blend of text directions and image sums in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.class_rows import ClassRows
from acclimate.methods.registry import register
from acclimate.options import Checked, option
from acclimate.training.feeds import Feed, chunks
from acclimate.training.stages import SolverStage


@dataclass(frozen=True, kw_only=True)
class SSTextConfig(Checked):
    """Settings of SS-Text; the defaults are those of SS-Text+, made for uneven training sets."""

    prior: Literal["class", "shared"] = option(
        "class", "weight of the text: class: 1 / images of the class (SS-Text+); shared: 1 / all images (SS-Text)"
    )
    strength: float = option(1.0, "factor of the weight of the text", low=1e-9)
    repel: bool = option(
        False, "subtract norm(2 w - mean w) from w, as the released SS-Text+; it turns classes of few images around"
    )
    ensemble: bool = option(False, "average the directions of all templates of the domain instead of using one")


@register
class SSText(ClassRows):
    """Training-free linear probe that blends text and images.

    Minimises -(1/N) sum_i s x_i . w_{y_i} + sum_c lambda_c/2 |w_c - t_c|^2 over w in closed form,

        w_c = t_c + s / (N lambda_c) sum_{i in c} x_i,    lambda_c = strength / N_c    (SS-Text: strength / N)

    with unit features x of N images, N_c of them in class c, unit text directions t and the backbone's logit scale s;
    logits = s cos(x, w_c). The fewer images a class has, the more its text counts; without images it is the text alone.
    Source: Silva-Rodriguez et al. 2025 (arXiv 2506.17500), SS-Text+, and arXiv 2506.06076, SS-Text; the constants are
    those of the released code. With `repel`, w_c - norm(2 w_c - mean_k w_k) takes the place of w_c.
    """

    name = "ss-text"
    title = "Closed-form blend of text and images"
    paper = "arXiv 2506.17500"
    learns = "per class: joint width numbers, without gradient"
    Config = SSTextConfig
    config: SSTextConfig
    images: Tensor

    def make(self) -> None:
        """Make the share of images, zero until it is solved for."""
        self.register_buffer("images", torch.zeros_like(self.text_directions()))  # w - t (C, E)

    def class_directions(self) -> Tensor:
        """Return norm(w) (C, E), the text direction of classes unknown in training."""
        return F.normalize(self.text + self.bound_rows(self.images), dim=-1)

    def stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the one pass over the training images."""
        return [SolverStage(self.name, self._solve)]

    @torch.no_grad()
    def _solve(self, train: Feed, val: Feed | None) -> dict[str, float]:
        sums, counts = torch.zeros_like(self.images), torch.zeros_like(self.images[:, :1])
        for batch in chunks(train, 1024):
            labels, x = batch.labels.to(sums.device), self.image_directions(batch).to(sums.device)
            sums.index_add_(0, labels, x)
            counts.index_add_(0, labels, torch.ones_like(x[:, :1]))
        per_text = counts if self.config.prior == "class" else counts.sum()  # strength / lambda
        images = self.backbone.logit_scale / (len(train) * self.config.strength) * per_text * sums
        if self.config.repel:
            blend = self.text + images
            images = images - F.normalize(2.0 * blend - blend.mean(dim=0), dim=-1)
        self.images.copy_(images)
        return {"images": len(train), "classes_with_images": int((counts > 0).sum())}
