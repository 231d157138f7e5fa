"""AAPE for text: the prompt embedding of an image as one more token before a frozen language model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones.backbone import as_dual
from acclimate.backbones.kinds import is_composed
from acclimate.errors import ConfigError
from acclimate.methods.aape.aggregators import AGGREGATORS, Aggregator
from acclimate.methods.aape.config import AAPEConfig
from acclimate.methods.aape.distilling import WATCHED, distil
from acclimate.methods.aape.networks import PromptGenerator
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.limber import EPOCHS, Limber, LimberConfig
from acclimate.methods.parts.lessons import Visual
from acclimate.methods.parts.switching import switched
from acclimate.methods.parts.teaching import cross_entropy
from acclimate.methods.prerequisites import Prerequisite
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import IMAGE, REFERENCES, VISION_TOKENS, Inputs
from acclimate.training.stages import GradientStage

ADVICE = (
    "{data} has no captions, which the prompt of an image is learned from; give `prompt_from` the folder of a run of "
    "aape on captions, with the same dual encoder"
)


@dataclass(frozen=True, kw_only=True)
class AAPELimberConfig(LimberConfig):
    """Settings: what the token is made of, and what goes on learning beside its map."""

    token: Literal["aape", "image", "noise"] = option(
        "aape",
        "what the further token is made of: the prompt embedding h(x); controls: the image embedding x itself, noise "
        "that tells images apart and says nothing of them",
    )
    distillation_weight: float = option(
        5.0, "lambda: weight of the distance to the aggregated captions, in learning h; 0: h without distillation"
    )
    fine_tuned: bool = option(False, "whether h goes on learning beside the map of the token")
    generator: Literal["bottleneck", "residual"] = option("bottleneck", "h, as in aape")
    generator_rate: float = option(0.1, "learning rate of h as a multiple of `lr`, where it goes on learning", low=0.0)
    prompt_from: str | None = option(
        None, "folder of a run of aape on captions, whose h is taken; none: h is learned first, from the same captions"
    )
    prompt_epochs: int | None = option(None, "epochs in which h is learned first; none: as in aape", low=1)
    prefix_epochs: int | None = option(None, "epochs in which the map of the patches is learned first; none: 10", low=1)

    @property
    def prompt(self) -> AAPEConfig:
        """Settings of h and of its aggregator."""
        return AAPEConfig(
            generator=self.generator, distillation_weight=self.distillation_weight, epochs=self.prompt_epochs
        )

    @property
    def distils(self) -> bool:
        """Whether h goes on learning from sentences about the images."""
        return self.fine_tuned and self.token == "aape" and self.distillation_weight > 0


@register
class AAPELimber(Limber):
    """AAPE for text: p(answer | W v(x), U h(x), question) with one more token U h(x) behind the patches of an image.

    Two runs come first, each kept: W is learned by `limber`, and h by `aape` from captions, as for retrieval. Both are
    frozen then, and the linear map U minimises -log p(answer | ...). With `fine_tuned` h learns on beside U, with the
    distance to the aggregated captions, lambda |h(x) - p^a|², where there are captions.
    Source: Huang et al. 2024 (AAPE, arXiv 2410.23698), sections 3.3, 4.2 and 5.3. No code is released; the paper does
    not say how an embedding of the joint space comes to the width of the language model: U is this package's.
    """

    name = "aape-limber"
    title = "AAPE for text: the prompt embedding as a token"
    paper = "arXiv 2410.23698"
    learns = "the map from the prompt embedding to the language model, after the generator and the map of the patches"
    inputs = Inputs({VISION_TOKENS, IMAGE})
    training_only = ("aggregator",)
    sized_by_data = frozenset({"aggregator.own"})
    Config = AAPELimberConfig
    config: AAPELimberConfig
    aggregator: Aggregator | None

    @classmethod
    def check_backbone(cls, kind: str, name: str, option: str = "backbone") -> None:
        """Refuse a backbone that is not composed of a dual encoder and a language model."""
        super().check_backbone(kind, name, option)
        if not is_composed(name):
            raise ConfigError(
                f"'{name}' has no dual encoder, whose joint space {cls.name} takes its token from; give `{option}` one "
                "that is composed, such as mini-clip+mini-vlm"
            )

    @classmethod
    def inputs_of(cls, config: AAPELimberConfig) -> Inputs:  # type: ignore[override]
        """Return what it reads: the sentences where h goes on learning from them, beside both views of an image."""
        return Inputs(cls.inputs.prediction, {REFERENCES} if config.distils else ())

    @classmethod
    def prerequisites(cls, config: object, domains: Sequence[str]) -> Mapping[str, Prerequisite]:
        """Return what is learned first: h, where it is used, and the map of the patches."""
        assert isinstance(config, AAPELimberConfig)
        names = ("instruction", "label_list", "normalise", "lr", "weight_decay", "batch_size", "optimizer")
        prefix = {name: getattr(config, name) for name in names} | {"epochs": config.prefix_epochs}
        wanted = {"prefix": Prerequisite("limber", prefix)}
        if config.token == "aape":
            prompt, alike = config.prompt, ("generator",)
            settings = {name: getattr(prompt, name) for name in ("generator", "distillation_weight", "epochs")}
            h = Prerequisite("aape", settings, run=config.prompt_from, alike=alike, dual=True, advice=ADVICE)
            wanted = {"prompt": h, **wanted}
        return wanted

    def make(self) -> None:
        """Make the map of the patches, h, and the map of the token."""
        super().make()
        dual, width = as_dual(self.backbone, self.name), self.backbone.token_width
        self.generator: PromptGenerator | None = None
        if self.config.token == "aape":
            self.generator = PromptGenerator(dual.embed_dim, self.config.generator == "residual")
        self.token_map = nn.Linear(dual.embed_dim, width)
        nn.init.normal_(self.token_map.weight, std=dual.embed_dim**-0.5)  # as the map of the patches begins
        nn.init.zeros_(self.token_map.bias)
        self.aggregator, self._zeroed = None, False
        self.to(self.backbone.device)

    def adopt(self, learned: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over the map of the patches, and h."""
        for name, tensor in learned["prefix"].items():
            self.replace(name, tensor)
        for name, tensor in learned.get("prompt", {}).items():
            if name.startswith("generator."):
                self.replace(name, tensor)

    def learn_answers(self, lessons: Sequence[tuple[str, str]]) -> None:
        """Make what is learned, for questions: no sentences describe their images."""
        self.inputs = self.inputs.without(REFERENCES)
        super().learn_answers(lessons)

    def learn_captions(self, captions: Sequence[str]) -> None:
        """Make what is learned, for captions, which describe the images."""
        described = self.inputs.training & {REFERENCES}
        super().learn_captions(captions)
        self.inputs = Inputs(self.inputs.prediction, self.inputs.training | described)

    def prepare(self, facts: TrainingFacts) -> None:
        """Make the aggregator, where sentences are learned from."""
        super().prepare(facts)
        if REFERENCES in self.inputs.training:
            prompt, width = self.config.prompt, as_dual(self.backbone, self.name).embed_dim
            self.aggregator = AGGREGATORS[prompt.aggregator](width, prompt, facts.images).to(self.backbone.device)

    # ------------------------------------------------------------------------------------------------------- the token

    @property
    def visual_size(self) -> dict[str, Any]:
        """How many `exemplars` a conversation has."""
        return {"exemplars": 1}

    def visual(self, batch: Batch) -> Visual:
        """Return the patches of the images, mapped, and the token behind them."""
        token = self.token_map(self.source(batch))
        return Visual(self.image_tokens(batch), (torch.zeros_like(token) if self._zeroed else token)[:, None])

    def source(self, batch: Batch) -> Tensor:
        """Return what the token is made of (B, E): h(x), x, or noise, the same whenever an image comes again."""
        images = self.image_directions(batch)
        if self.generator is not None:
            return self.generator(images)
        return images if self.config.token == "image" else _noise(images)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return x (B, E), the images in the joint space of the dual encoder, L2-normalised."""
        return F.normalize(batch.image_features.float(), dim=-1)

    def ablations(self) -> Mapping[str, AbstractContextManager[Any]]:
        """Return the prediction with zeros in place of the token."""
        return {"token zeroed": switched(self, "_zeroed", True)}

    # -------------------------------------------------------------------------------------------------------- learning

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the stage of the map of the token, and of h and its aggregator where they learn on."""
        config = self.config
        learned: list[tuple[nn.Module, float]] = [(self.token_map, 1.0)]
        if config.fine_tuned and self.generator is not None:
            learned.append((self.generator, config.generator_rate))
        if self.aggregator is not None:
            learned.append((self.aggregator, config.prompt.aggregator_lr / config.lr if config.lr else 0.0))
        pairs = [(parameter, rate) for module, rate in learned for parameter in module.parameters()]
        parameters, rates = [parameter for parameter, _ in pairs], [rate for _, rate in pairs]
        how: dict[str, Any] = {"rates": rates, "watched": WATCHED, "divisible": True}
        return [GradientStage(self.name, config, config.epochs or EPOCHS, self.loss, parameters, **how)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the answers, and what h learns from sentences."""
        made = self.source(batch)
        with torch.no_grad():
            patches = self.image_tokens(batch)
        logits = self.respond(batch, Visual(patches, self.token_map(made)[:, None]))
        terms = {"cross_entropy": cross_entropy(logits, *self.responses(batch))}
        if self.aggregator is not None:
            terms |= distil(self.aggregator, self.config.prompt, batch, self.image_directions(batch), made)
        return terms


def _noise(images: Tensor) -> Tensor:
    """Return directions (B, E) that say nothing of the images (B, E), but which of them it is."""
    rows = []
    for image in images.cpu():
        digest = hashlib.blake2b(image.numpy().tobytes(), digest_size=7).digest()
        rows.append(torch.randn(len(image), generator=torch.Generator().manual_seed(int.from_bytes(digest))))
    return F.normalize(torch.stack(rows), dim=-1).to(images) if rows else images
