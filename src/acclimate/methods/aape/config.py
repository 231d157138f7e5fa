"""Settings of AAPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acclimate.errors import ConfigError
from acclimate.options import option
from acclimate.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class AAPEConfig(Recipe):
    """Settings of AAPE; the recipe is that of CoOp, which the paper follows."""

    aggregator: Literal["attention", "convex", "mlp", "mean", "random"] = option(
        "attention",
        "what makes one embedding of the reference prompts of an image: a cross-attention layer, its attention weights "
        "alone, a bottleneck on the mean, the mean, or one prompt at random",
    )
    query_mode: Literal["image_conditioned", "per_image", "mean"] = option(
        "image_conditioned",
        "what the attention asks for: the mean prompt moved by the image, by a vector learned for each training image, "
        "or by nothing",
    )
    reward: Literal["cosine", "clip-score"] = option(
        "cosine",
        "what the aggregator maximises: the cosine with the image; clip-score: zero, and so without a gradient, where "
        "that is negative, as published",
    )
    generator: Literal["bottleneck", "residual"] = option(
        "bottleneck", "h, which makes a prompt of the image: two layers of width/16, or the same added to the image"
    )
    projection: Literal["residual", "bottleneck", "fc_relu", "none"] = option(
        "residual",
        "g, which makes class weights of template and generated prompt: two layers of width/16 added to the template, "
        "the two layers alone, one layer; none: the generated prompt stands in for the image",
    )
    class_residual: bool = option(
        False,
        "learn a vector beside the template of each class that it is trained on, zero at first; not in the paper",
        later=True,
    )
    residual_rate: float = option(10.0, "learning rate of these vectors, as a multiple of `lr`", low=0.0, later=True)
    distillation_weight: float = option(5.0, "lambda: weight of the distance to the aggregated prompt", low=0.0)
    reference_limit: int | None = option(None, "reference prompts used of each class; none: all", low=1)
    two_stage: bool = option(False, "learn the aggregator first, then the generator; false: both at once")
    aggregator_lr: float = option(1e-4, "learning rate of the aggregator", low=0.0)

    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of all that is learned")
    lr: float = option(1e-3, "learning rate after warm-up, of generator and projection", low=0.0)

    def __post_init__(self) -> None:
        """Refuse a rate that no multiple of the recipe's can be, and vectors beside what is not adapted."""
        super().__post_init__()
        if self.class_residual and self.projection == "none":
            raise ConfigError(
                "class_residual=true goes with a projection of the templates, and projection=none has none; leave out "
                "either"
            )
        if self.aggregator_lr and not self.lr:
            raise ConfigError("lr=0 leaves the aggregator no learning rate either; set aggregator_lr=0, or lr above 0")

    @property
    def learns_aggregator(self) -> bool:
        """Whether the aggregator has anything to learn."""
        return self.distillation_weight > 0 and self.aggregator in ("attention", "convex", "mlp")
