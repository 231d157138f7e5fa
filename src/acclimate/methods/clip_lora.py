"""CLIP-LoRA: low-rank changes of the attention weights of both towers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones import LowRank, LowRankDeltas
from acclimate.counting import counted
from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.plain import PlainForm
from acclimate.methods.parts.text import TextClassifier
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import Inputs
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage

SQUARE = ("q", "k", "v", "out")  # the matrices of an attention layer: width in, width out
PARTS = {  # first layer and the one after the last, in sixths of a tower
    "all": (0, 6),
    "bottom": (0, 2),
    "mid": (2, 4),
    "up": (4, 6),
    "half-bottom": (0, 3),
    "half-up": (3, 6),
}
STEPS_PER_SHOT = 500


@dataclass(frozen=True, kw_only=True)
class CLIPLoRAConfig(Recipe):
    """Settings of CLIP-LoRA; the defaults are the one recipe that its paper uses for every data set."""

    rank: int = option(2, "rank r of every change", low=1)
    alpha: float = option(1.0, "strength of the changes, before the division by the rank", low=0.0)
    rank_stabilised: bool = option(True, "scale by alpha / sqrt(r), as the released code does; false: by alpha / r")
    dropout: float = option(0.25, "chance that an input of a change is dropped in training", low=0.0, high=0.99)
    projections: str = option("q,k,v", "matrices that are changed: some of q, k, v, out, separated by commas")
    layers: Literal["all", "bottom", "mid", "up", "half-bottom", "half-up"] = option(
        "all", "layers that are changed: all, a third or a half of each tower"
    )
    towers: Literal["both", "text", "vision"] = option("both", "towers that are changed")
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the learned parameters")
    lr: float = option(2e-4, "learning rate of the first epoch", low=0.0)
    weight_decay: float = option(1e-2, "weight decay", low=0.0)
    warmup_epochs: int = option(0, "epochs of warm-up before the cosine", low=0)
    augment: Literal["none", "crop", "flip", "crop+flip", "auto"] = option(
        "auto", "random views of the training images; auto: crops, and flips where the domain allows mirror images"
    )

    def __post_init__(self) -> None:
        """Refuse matrices that an attention layer does not have."""
        super().__post_init__()
        if not self.matrices or set(self.matrices) - set(SQUARE):
            raise ConfigError(f"projections={self.projections!r}: give some of {', '.join(SQUARE)}, such as q,k,v")

    @property
    def matrices(self) -> tuple[str, ...]:
        """The names in `projections`, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.projections.split(",") if name.strip()))

    @property
    def scale(self) -> float:
        """Factor of every change."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


@register
class CLIPLoRA(TextClassifier):
    """CLIP-LoRA: y = W x + gamma B A drop(x) in place of y = W x, for the matrices q, k, v of both towers.

    A (r, width) starts uniformly in ±1/sqrt(width), B (width, r) at zero, so training starts from zero-shot. Minimises
    the cross-entropy of p(c|x) = softmax_c(s cos(f'(x), g'(template(c)))), where f' and g' are the changed towers, over
    all A and B. gamma = alpha / sqrt(r).
    Source: Zanella and Ben Ayed 2024 (arXiv 2405.18541), section 4 (CLIP-LoRA), after Hu et al. 2021 (arXiv
    2106.09685), section 4.1; initialisation, scale and recipe as released: r = 2, alpha = 1, dropout 0.25, AdamW with
    learning rate 2e-4, cosine decay, weight decay 0.01, batches of 32, 500 steps for each shot.
    """

    name = "clip-lora"
    title = "Low-rank adaptation of both towers"
    paper = "arXiv 2405.18541"
    learns = "rank-2 changes of q, k, v: 12 x width numbers a layer"
    inputs = Inputs({"pixels"})
    Config = CLIPLoRAConfig
    config: CLIPLoRAConfig

    def set_classes(self) -> None:
        """Read the template of the classes; any names do, since what is learned belongs to the towers."""
        self.ids = self.backbone.tokenize(self.prompts.sentences(self.class_names))
        self._frozen = None if "text" in self.changed else self.template_directions()

    def make(self) -> None:
        """Make A and B of every changed matrix."""
        config, backbone = self.config, self.backbone
        self.changed: dict[str, range] = {}  # layers of each tower that are changed
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for tower in ("text", "vision") if config.towers == "both" else (config.towers,):
            width, depth = getattr(backbone, f"{tower}_width"), getattr(backbone, f"{tower}_layers")
            self.changed[tower] = range(*(depth * sixths // 6 for sixths in PARTS[config.layers]))
            count = len(self.changed[tower])
            if not count:
                raise ConfigError(
                    f"layers={config.layers}: the {tower} tower has only {counted(depth, 'layer')}, so that part is "
                    "empty; use layers=all"
                )
            for name in config.matrices:  # the matrices of all layers in one tensor
                a = torch.empty(count, config.rank, width, device=backbone.device).uniform_(-1, 1) / math.sqrt(width)
                self.a[f"{tower}_{name}"] = nn.Parameter(a)
                self.b[f"{tower}_{name}"] = nn.Parameter(a.new_zeros(count, width, config.rank))

    def deltas(self, tower: str) -> LowRankDeltas | None:
        """Return the changes of a tower, none where it stays as it is; inputs are dropped in training only."""
        if tower not in self.changed:
            return None
        scale, dropout = self.config.scale, self.config.dropout if self.training else 0.0
        layers: list[dict[str, LowRank]] = [{} for _ in range(self.changed[tower].stop)]
        for name in self.config.matrices:
            pairs = zip(self.a[f"{tower}_{name}"], self.b[f"{tower}_{name}"], strict=True)
            for layer, (a, b) in zip(self.changed[tower], pairs, strict=True):
                layers[layer][name] = LowRank(a, b, scale=scale, dropout=dropout)
        return LowRankDeltas(layers)

    def class_directions(self) -> Tensor:
        """Return w_c = norm(g'(template(c))) (C, E)."""
        if self._frozen is not None:
            return self._frozen
        return F.normalize(self.backbone.encode_text(self.ids, deltas=self.deltas("text")).float(), dim=-1)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return norm(f'(x)) (B, E)."""
        return F.normalize(self.backbone.encode_image(batch.pixels, deltas=self.deltas("vision")).float(), dim=-1)

    def plain_form(self) -> PlainForm:
        """Return the directions of the classes, and the changes of both towers."""
        deltas = {tower: self.deltas(tower) for tower in self.changed}
        return self.plain(changes={tower: own for tower, own in deltas.items() if own is not None})

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns all changes."""
        epochs = self.config.epochs or self.default_epochs(facts)
        return [GradientStage(self.name, self.config, epochs, self.loss, list(self.parameters()), divisible=True)]

    def default_epochs(self, facts: TrainingFacts) -> int:
        """Return the whole epochs in which 500 steps for each shot are reached."""
        steps = math.ceil(facts.images / self.config.batch_size)
        return math.ceil(STEPS_PER_SHOT * facts.shots / steps)
