"""VITask: exemplar prompting, response distribution alignment, contrastive response tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.lessons import Visual
from acclimate.methods.parts.switching import switched
from acclimate.methods.parts.teaching import Responses, cross_entropy
from acclimate.methods.prerequisites import TaskModel
from acclimate.methods.registry import register
from acclimate.methods.vitask.config import VITaskConfig
from acclimate.methods.vitask.connector import Connector, LearnedTokens
from acclimate.methods.vitask.instruct import Instruct
from acclimate.methods.vitask.losses import alignment, among, contrast
from acclimate.training.batch import Batch
from acclimate.training.inputs import (
    DOMAIN,
    DOMAIN_TOKENS,
    IMAGE_TOKENS,
    NEGATIVES,
    OWN_NEGATIVES,
    VISION_NEGATIVES,
    Inputs,
)
from acclimate.training.stages import GradientStage

if TYPE_CHECKING:
    from acclimate.backbones.generative.vlm import Images


@register
class VITask(Instruct):
    """VITask: a generative VLM that learns from a task-specific model, the domain encoder, and can do without it later.

    Exemplar prompting (EP): behind the tokens of the image stands m(h(x)), the connector m of the feature h(x) that the
    domain encoder gives of the same image. Stage 1 minimises over adapter and connector
    L = L_Van + L_EP + rda * L_RDA, where L_Van = -log p(y|x), L_EP = -log p(y|x, m(h(x))) and
    L_RDA = KL(p(y|x) || p(y|x, m(h(x)))) with the second argument detached. Stage 2 freezes m and adds
    crt * L_CRT, L_CRT = -log softmax(z(x) - z(x')) at the tokens of y, z the logits and x' an image of another class.
    All are means over the tokens of a response, then over images. Prediction reads the domain encoder, if it is there.

    The paper leaves open: connector, position of the exemplar, weights, adapter, recipe. Settings, with these defaults:
    normalisation and two layers with GELU; directly behind the image; 1 and 0.1; as `instruct`.
    Source: Bai et al. 2024 (arXiv 2410.06456), section 4, equations 1 to 7; no code is public.
    """

    name = "vitask"
    title = "VITask: exemplar, alignment, contrast"
    learns = "rank-16 changes of the language model, and a connector for the domain encoder"
    inputs = Inputs({IMAGE_TOKENS, DOMAIN}, {NEGATIVES})
    makes_domain_encoder = True
    Config = VITaskConfig
    config: VITaskConfig

    @classmethod
    def inputs_of(cls, config: VITaskConfig) -> Inputs:  # type: ignore[override]
        """Return what it reads: the domain encoder for an exemplar, other images where they are contrasted."""
        feature = {"patches": DOMAIN_TOKENS, "replace": DOMAIN_TOKENS}.get(config.exemplar, DOMAIN)
        prediction = super().inputs_of(config).prediction | ({feature} if config.reads_encoder else set())
        negatives = OWN_NEGATIVES if config.image_shape == "own" else NEGATIVES
        negatives = VISION_NEGATIVES if config.vlm_connector == "trained" else negatives
        return Inputs(prediction, {negatives} if config.crt else ())

    @classmethod
    def task_model(cls, config: VITaskConfig) -> TaskModel:  # type: ignore[override]
        """Return what the task-specific model is made from where no domain encoder is named."""
        settings = {} if config.task_epochs is None else {"epochs": config.task_epochs}
        return TaskModel(config.task_encoder, settings)

    def make(self) -> None:
        """Make the adapter, and what stands behind the image."""
        super().make()
        config, backbone = self.config, self.backbone
        self._aside: dict[str, Tensor] = {}
        self._with_exemplar = True
        if config.exemplar == "learned":
            self.connector: torch.nn.Module | None = LearnedTokens(config.exemplar_tokens, backbone.token_width)
        elif config.reads_encoder and (encoder := self.domain_encoder) is not None:
            if config.exemplar in ("patches", "replace") and DOMAIN_TOKENS not in encoder.widths:
                raise ConfigError(
                    f"exemplar={config.exemplar} needs a domain encoder with a token for each patch, and "
                    f"'{encoder.name}' ({encoder.family}) has none; use exemplar=cls, or a ViT"
                )
            self.connector = Connector(encoder.width, backbone.token_width, config.connector)
        else:
            self.connector = None
        self.to(backbone.device)

    # ----------------------------------------------------------------------------------------------------- the exemplar

    def visual(self, batch: Batch) -> Visual:
        """Return image and exemplar, or the image alone where there is none."""
        return (
            self.with_exemplar(batch) if self.connector is not None and self._with_exemplar else super().visual(batch)
        )

    def with_exemplar(self, batch: Batch, features: Tensor | None = None, images: Images | None = None) -> Visual:
        """Return the images with their exemplars.

        Args:
            batch: the images.
            features: what the exemplars are made of, in place of what the domain encoder gives of these images.
            images: tokens of other images in place of these.
        """
        images, mode = self.image_tokens(batch) if images is None else images, self.config.exemplar
        assert self.connector is not None
        if mode == "learned":
            return Visual(images, self.connector(len(batch)))
        if mode in ("cls", "shuffled"):
            features = batch.domain_features if features is None else features
            return Visual(images, self.connector(features)[:, None])
        assert self.domain_encoder is not None
        tokens = self.connector(batch.domain_tokens.unflatten(1, (-1, self.domain_encoder.width)))
        return Visual(images, tokens) if mode == "patches" else Visual(tokens, None, tokens.shape[1])

    @property
    def visual_size(self) -> dict[str, Any]:
        """How many `exemplars` and `image_tokens` a conversation has at most, as `conversation` takes them."""
        if self.connector is None:
            return {}
        mode, encoder = self.config.exemplar, self.domain_encoder
        if mode == "replace":
            return {"image_tokens": encoder.patches}  # type: ignore[union-attr]  # what the connector was made for
        several = {"learned": self.config.exemplar_tokens, "patches": encoder and encoder.patches}
        return {"exemplars": several.get(mode, 1)}

    def ablations(self) -> Mapping[str, AbstractContextManager[Any]]:
        """Return the prediction without exemplar."""
        return {"without exemplar": self.plain()} if self.connector is not None else {}

    def plain(self) -> AbstractContextManager[None]:
        """Return the context in which it predicts without exemplar."""
        return switched(self, "_with_exemplar", False)

    # ----------------------------------------------------------------------------------------------------------- losses

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return stage 1, over adapter and connector, and stage 2, over the adapter with the contrast."""
        config, (first, second) = self.config, self.passes(facts)
        both, rates = self.learned()
        connector = [] if self.connector is None else list(self.connector.parameters())
        all_rates = rates + [config.connector_rate] * len(connector)
        contrasted = partial(self.loss, contrasted=config.crt > 0)
        alone = config.exemplar != "shuffled"  # whose exemplars come from the other images of a batch
        how: dict[str, Any] = {"divisible": alone, "counts": self.counts}
        stages = [
            GradientStage(f"{self.name}-1", config, first, self.loss, both + connector, rates=all_rates, **how),
            GradientStage(f"{self.name}-2", config, second, contrasted, both, rates=rates, **how),
        ]
        return [stage for stage in stages if stage.epochs]

    def loss(self, batch: Batch, contrasted: bool = False) -> dict[str, Tensor]:
        """Return the terms; `contrasted` adds that of contrastive response tuning."""
        told, config = self.responses(batch), self.config
        images, contrasted = self.image_tokens(batch), contrasted and bool(batch.negative_mask.any())
        other = self.negative_tokens(batch) if contrasted else None
        with self.tuned():
            plain_too = contrasted and config.crt_branch == "plain"
            plain = [Visual(images), *([Visual(other)] if plain_too and other is not None else [])]
            z, *others = self.respond(batch, *plain).chunk(len(plain))
            terms = {"vanilla": cross_entropy(z, *told)}
            if self.connector is not None:
                shown = [self._shown(batch, images)]
                if contrasted and not plain_too:
                    features = batch.negative_features if DOMAIN in self.inputs.all else None
                    shown.append(self.with_exemplar(batch, features, other))
                ep, *more = self.respond(batch, *shown).chunk(len(shown))
                terms["exemplar"] = cross_entropy(ep, *told)
                if config.rda:
                    how = {"detach": config.rda_detach, "direction": config.rda_direction}
                    terms["alignment"] = config.rda * alignment(z, ep, told.lengths, **how)  # type: ignore[arg-type]
                z, others = (z, others) if plain_too else (ep, more)
        if others:
            terms["contrast"] = config.crt * self._contrast(batch, told, z, others[0])
        return terms

    def _shown(self, batch: Batch, images: Images) -> Visual:
        """Return the images with their exemplars, of other images with exemplar=shuffled."""
        if self.config.exemplar != "shuffled":
            return self.with_exemplar(batch, images=images)
        return self.with_exemplar(batch, batch.domain_features.roll(1, 0), images)

    def _contrast(self, batch: Batch, told: Responses, own: Tensor, other: Tensor) -> Tensor:
        """Return L_CRT of the chosen tokens of the images that have a negative."""
        chosen = self._chosen(batch, told)
        lengths = among(told.lengths, chosen)
        return contrast(own[chosen], other[chosen], told.targets[chosen], lengths, detach=self.config.crt_detach)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Return how many images are contrasted."""
        if not self.config.crt:
            return {}
        told = self.responses(batch)
        return {"contrast": int((among(told.lengths, self._chosen(batch, told)) > 0).sum())}

    def _chosen(self, batch: Batch, told: Responses) -> Tensor:
        """Return which tokens (T,) are contrasted."""
        chosen = batch.negative_mask.repeat_interleave(told.lengths)
        if self.config.crt_tokens == "label":
            taught = self.taught(batch)
            ends = {asked: self._alike(asked) for asked in {lesson.asked for lesson in taught}}
            parts = [self._distinct(lesson.answer, *ends[lesson.asked]) for lesson in taught]
            chosen = chosen & torch.cat(parts).to(chosen.device)
        return chosen

    def _alike(self, asked: str) -> tuple[int, int]:
        """Return with how many equal tokens all answers to a question begin, and end."""
        rows = [list(self.backbone.tokenizer.response(answer)) for answer in self.answers_to(asked)]
        return _common(rows), _common([row[::-1] for row in rows])

    def _distinct(self, answer: str, head: int, tail: int) -> Tensor:
        """Return which tokens of an answer (T,) are not among the first and last ones that all have."""
        place = torch.arange(self.answer_length(answer))
        return (place >= head) & (place < len(place) - tail)

    # -------------------------------------------------------------------------------------------------- learned tensors

    def learned_state(self) -> dict[str, Tensor]:
        """Return adapter and connector, also one that cannot serve for want of a domain encoder."""
        return dict(self.state_dict()) | self._aside

    def load_learned_state(self, state: Mapping[str, Tensor]) -> None:
        """Put learned tensors back; without a domain encoder the connector is kept for who saves the model again."""
        lost = {name for name in state if name.startswith("connector.")} if self.connector is None else set()
        self._aside = {}
        super().load_learned_state({name: tensor for name, tensor in state.items() if name not in lost})
        self._aside = {name: state[name] for name in lost}


def _common(rows: Sequence[Sequence[int]]) -> int:
    """Return with how many equal tokens all rows begin."""
    count = 0
    for tokens in zip_longest(*rows):
        if len(set(tokens)) > 1:
            break
        count += 1
    return count
