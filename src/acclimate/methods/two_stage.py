"""2SFS: the layer norms of both towers are trained, then a classifier on features that stay as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones import LowRankDeltas, NormChange
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.class_rows import ClassRows
from acclimate.methods.parts.plain import PlainForm
from acclimate.methods.parts.scores import similarities
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed
from acclimate.training.inputs import Inputs
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage, SolverStage, Stage

NORMS = ("norm1", "norm2")
TOWERS = ("text", "vision")
STEPS_PER_SHOT = 300


@dataclass(frozen=True, kw_only=True)
class TwoStageConfig(Recipe):
    """Settings of 2SFS; the defaults are the one recipe that its paper uses for every data set."""

    ensemble: ClassVar[bool] = False

    first_share: float = option(0.6, "share of the epochs that train the layer norms", low=0.01, high=0.99)
    epochs: int | None = option(None, "passes over the training images, of both stages together", low=2)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the learned parameters")
    lr: float = option(2e-4, "learning rate of the first epoch of each stage", low=0.0)
    weight_decay: float = option(1e-2, "weight decay: of layer norms towards the pretrained ones", low=0.0)
    warmup_epochs: int = option(0, "epochs of warm-up before the cosine", low=0)
    augment: Literal["none", "crop", "flip", "crop+flip", "auto"] = option(
        "auto", "random views of the training images; auto: crops, and flips where the domain allows mirror images"
    )


@register
class TwoStage(ClassRows):
    """Two-stage few-shot adaptation.

    Stage 1 minimises the cross-entropy of p(c|x) = softmax_c(s cos(f'(x), g'(template(c)))) over the weights and biases
    of the layer norms in all layers of both towers, f' and g' being the changed towers. Stage 2 leaves them as they are
    and minimises that of p(c|x) = softmax_c(s cos(f'(x), w_c)) over the classifier w, which starts from the directions
    of stage 1, w_c = norm(g'(template(c))). A class that was not trained keeps its direction of stage 1.
    Source: Farina et al. 2025 (arXiv 2503.11609): 300 steps for each shot, 60 % of them for stage 1, AdamW with
    learning rate 2e-4, cosine decay, weight decay 0.01, batches of 32, the same for all data.
    """

    name = "2sfs"
    title = "Two stages: layer norms of both towers, then a classifier"
    paper = "arXiv 2503.11609"
    learns = "layer norms: 4 x width numbers a layer; and per class: joint width numbers"
    inputs = Inputs({"pixels"})
    Config = TwoStageConfig
    config: TwoStageConfig

    def set_classes(self) -> None:
        """Read the template of the classes, and find their rows."""
        self.ids = self.backbone.tokenize(self.prompts.sentences(self.class_names))
        self.find_rows()

    def make(self) -> None:
        """Make changes of the norms and the classifier, all zero: a row of zeros is a class without a weight."""
        backbone = self.backbone
        self.norms = nn.ParameterDict()
        for tower in TOWERS:  # of all layers in one tensor: norms before attention and MLP, weights and biases
            layers, width = getattr(backbone, f"{tower}_layers"), getattr(backbone, f"{tower}_width")
            self.norms[tower] = nn.Parameter(torch.zeros(layers, 2, 2, width, device=backbone.device))
        shape = (len(self.class_names), backbone.embed_dim)
        self.weight = nn.Parameter(torch.zeros(shape, device=backbone.device))  # (C, E)

    def deltas(self, tower: str) -> LowRankDeltas:
        """Return the changed norms of a tower."""
        layers = (layer for layer in self.norms[tower])
        return LowRankDeltas(
            norms=[{name: NormChange(*own) for name, own in zip(NORMS, layer, strict=True)} for layer in layers]
        )

    def tuned_text(self) -> Tensor:
        """Return norm(g'(template(c))) (C, E) of the bound classes."""
        return F.normalize(self.backbone.encode_text(self.ids, deltas=self.deltas("text")).float(), dim=-1)

    def _text_directions(self) -> Tensor:
        return self.tuned_text()

    def image_directions(self, batch: Batch) -> Tensor:
        """Return norm(f'(x)) (B, E)."""
        return F.normalize(self.backbone.encode_image(batch.pixels, deltas=self.deltas("vision")).float(), dim=-1)

    def class_directions(self) -> Tensor:
        """Return norm(w) (C, E), the direction of stage 1 where there is no weight."""
        rows = self.bound_rows(self.weight)
        return F.normalize(torch.where(rows.any(dim=-1, keepdim=True), rows, self.text_directions()), dim=-1)

    def plain_form(self) -> PlainForm:
        """Return the directions of the classes, and the changed norms of both towers."""
        return self.plain(changes={tower: self.deltas(tower) for tower in TOWERS})

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of stage 1."""
        return {"cross_entropy": F.cross_entropy(self.similarities(batch, self.tuned_text()), batch.labels)}

    def classifier_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of stage 2, whose features get no gradient."""
        with torch.no_grad():
            images = self.image_directions(batch)
        logits = similarities(self.backbone, images, self.class_directions())
        return {"cross_entropy": F.cross_entropy(logits, batch.labels)}

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the descent over the norms, the start of the classifier, and the descent over it."""
        epochs = self.config.epochs or self.default_epochs(facts)
        first = min(max(1, round(self.config.first_share * epochs)), epochs - 1)
        norms, names = list(self.norms.values()), (f"{self.name}: norms", f"{self.name}: classifier")
        return [
            GradientStage(names[0], self.config, first, self.loss, norms, divisible=True),
            SolverStage(f"{self.name}: start", self._start),
            GradientStage(names[1], self.config, epochs - first, self.classifier_loss, [self.weight], divisible=True),
        ]

    def default_epochs(self, facts: TrainingFacts) -> int:
        """Return the whole epochs in which 300 steps for each shot are reached."""
        steps = math.ceil(facts.images / self.config.batch_size)
        return max(2, math.ceil(STEPS_PER_SHOT * facts.shots / steps))

    @torch.no_grad()
    def _start(self, train: Feed, val: Feed | None) -> dict[str, float]:
        """Start the classifier of all classes that have images from the directions of stage 1."""
        seen = train.labels.bincount(minlength=len(self.class_names)) > 0
        self.drop_kept()  # directions that were kept before
        self.weight.copy_(self.tuned_text() * seen[:, None].to(self.weight.device))
        return {"classes_with_images": int(seen.sum())}
