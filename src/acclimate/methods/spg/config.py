"""Settings of SPG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from acclimate.options import option
from acclimate.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class SPGConfig(Recipe):
    """Settings of SPG; the recipe is that of the released code, for both stages."""

    VARIANTS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {
            "augment": "crop+flip",
            "views": 0,
            "label_lr": 2e-3,
            "labels": "raw",
            "label_seed": 1,
            "balanced": False,
            "norm_epsilon": 0.8,
            "clipping": "released",
            "test_noise": "fresh",
        }
    }

    variant: Literal["corrected", "released"] = option(
        "corrected", "corrected: stable and deterministic; released: what the authors' code computes"
    )
    generator: Literal["gan", "mean", "mixture", "regression", "transformer"] = option(
        "gan", "what makes a prompt of an image; all but gan are controls, see the documentation"
    )
    context_init: str | None = option(
        "a photo of a", "words that the prompt labels start from; 'template': the domain's; none: N(0, 0.02)"
    )
    context_tokens: int = option(4, "number n of prompt tokens; ignored where context_init gives words", low=1)

    label_epochs: int = option(50, "epochs of each domain's prompt label (stage I)", low=1)
    label_lr: float = option(2e-2, "learning rate of the prompt labels: SGD, batches of 32", low=0.0)
    label_seed: int | None = option(None, "seed of the prompt labels; none: that of the run; released: always 1", low=0)
    label_files: str | None = option(
        None, "folder of finished prompt labels in place of stage I: DOMAIN.safetensors, or the authors' .pt files"
    )
    labels: Literal["standardised", "raw"] = option(
        "standardised", "scale in which the networks see prompt labels: mean 0 and variance 1, or as they are"
    )

    noise_width: int = option(100, "width of the generator's noise z ~ N(0, I)", low=1)
    balanced: bool = option(True, "scale image features to variance 1, that of the noise beside them")
    norm_epsilon: float = option(1e-5, "epsilon of the generator's batch normalisation", low=0.0)
    fake_batch: Literal["independent", "same"] = option(
        "independent", "images that prompts are generated for in a step: those of another random batch, or the same"
    )
    adversarial: Literal["least-squares", "cross-entropy"] = option("least-squares", "loss of the two networks")
    clipping: Literal["off", "released", "pacs"] = option(
        "off", "largest gradient norm of every single tensor: none, the limits of the released script, or of its file"
    )
    test_noise: Literal["fixed", "zero", "mean", "fresh"] = option(
        "fixed",
        "noise in prediction: one draw for all images, zero, the mean of several draws, or fresh for each image",
    )
    noise_draws: int = option(8, "draws that test_noise=mean averages over", low=2)

    batch_size: int = option(32, "images in a step; batch normalisation needs two", low=2)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the generator and the discriminator")
    lr: float = option(2e-3, "learning rate after warm-up", low=0.0)
    weight_decay: float = option(1e-4, "weight decay, of the prompt labels too", low=0.0)
    warmup_epochs: int = option(4, "epochs of warm-up before the cosine, of the prompt labels too", low=0)
    warmup: Literal["constant", "linear"] = option("linear", "shape of the warm-up")

    def label_settings(self) -> dict[str, Any]:
        """Return the settings of CoOp for one prompt label (stage I)."""
        return {
            "context_init": self.context_init,
            "context_tokens": self.context_tokens,
            "epochs": self.label_epochs,
            "lr": self.label_lr,
            "weight_decay": self.weight_decay,
            "warmup_epochs": self.warmup_epochs,
            "augment": self.augment,
            "views": self.views,
            "crop_scale": self.crop_scale,
            "select": self.select,
            "select_every": self.select_every,
        }
