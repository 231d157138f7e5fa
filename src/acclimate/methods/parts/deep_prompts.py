"""Deep prompts: learned vectors among the tokens of frozen towers, overwritten by others at the input of each layer.

The one mechanism under VPT, IVLP, MaPLe and what descends from them. They differ only in which vectors they learn.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods.capabilities import WordLearner
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.text import TextClassifier
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import Inputs
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage

log = logging.getLogger("acclimate.methods")


@dataclass(frozen=True, kw_only=True)
class DeepPromptRecipe(Recipe):
    """Training settings of the deep-prompt methods, as released with MaPLe."""

    batch_size: int = option(4, "images in a step", low=1)
    lr: float = option(3.5e-3, "learning rate after warm-up", low=0.0)
    augment: Literal["none", "crop", "flip", "crop+flip", "auto"] = option(
        "auto", "random views of the training images; auto: crops, and flips where the domain allows mirror images"
    )


class DeepPromptClassifier(TextClassifier, WordLearner):
    """Base of methods with deep prompts: a method makes its learned tensors and says what stands at which layer.

    With prompts P_0 ... P_{J-1} (n, D) for a tower, P_0 stands among its input tokens, P_l is written over those tokens
    at the input of layer l, and from layer J on they are tokens like others. In the text tower they stand in place of
    the first words, [SOS] [P] [rest of the words] [class] . [EOS]; in the image tower behind the patches.
    Without text prompts the classes are the frozen directions of the domain's template, encoded once.
    """

    inputs = Inputs({"pixels"})
    config: DeepPromptRecipe
    templates: Tensor
    remainder: tuple[int, ...] = ()  # token ids of the words between the prompts and the class

    def text_prompts(self) -> Sequence[Tensor] | None:
        """Return what stands at the context positions of the text tower: entry l, (n, D), at layer l; none: nothing."""
        return None

    def vision_prompts(self) -> Sequence[Tensor] | None:
        """Return what stands behind the patches of the image tower: entry l, (n, Dv), at layer l; none: nothing."""
        return None

    def set_classes(self) -> None:
        """Read the words of the classes; any names do, since what is learned is shared by all of them."""
        if self.text_prompts() is None:
            self.register_buffer("templates", self.template_directions(), persistent=False)  # (C, E)
        else:
            self.names = self.backbone.class_tokens(self.prompts.words(self.class_names)).after(self.remainder)

    def class_directions(self) -> Tensor:
        """Return w_c = norm(g([P_0, c]; P_1 ... P_{J-1})) (C, E), or those of the template without text prompts."""
        prompts = self.text_prompts()
        return self.templates if prompts is None else self.encode_classes(prompts)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return z = norm(f([x, P_0]; P_1 ... P_{J-1})) (B, E)."""
        return self.encode_images(batch.pixels, self.vision_prompts())

    def word_vectors(self, domains: Sequence[str]) -> Mapping[str, Tensor]:
        """Return P_0 (n, D), which stands among words; what is written in deeper layers is beside no word."""
        prompts = self.text_prompts()
        return {} if prompts is None else {"": prompts[0]}

    def encode_classes(self, prompts: Sequence[Tensor]) -> Tensor:
        """Return directions of the classes (C, E) behind text prompts."""
        return F.normalize(self.backbone.encode_context(prompts[0], self.names, prompts=prompts[1:]).float(), dim=-1)

    def encode_images(self, pixels: Tensor, prompts: Sequence[Tensor] | None) -> Tensor:
        """Return directions of images (B, E) with image prompts; entries (B, n, Dv) give each image its own."""
        return F.normalize(self.backbone.encode_image(pixels, prompts).float(), dim=-1)

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns the prompts; nothing where the settings leave none."""
        parameters = list(self.parameters())
        epochs = self.config.epochs or self.default_epochs(facts.shots)
        stage = GradientStage(self.name, self.config, epochs, self.loss, parameters, divisible=True)
        return [stage] if parameters else []

    def default_epochs(self, shots: int) -> int:
        """Return 5 epochs for any number of shots."""
        return 5

    # -------------------------------------------------------------------------------------------------- for make

    def random_prompts(self, depth: int, tokens: int, width: int) -> Tensor:
        """Return draws from N(0, 0.02²): (depth, tokens, width)."""
        return torch.randn(depth, tokens, width, device=self.backbone.device) * 0.02

    def start_text(self, depth: int, tokens: int, words: str | None) -> Tensor:
        """Return initial text prompts (depth, tokens, D): random, those of layer 0 the first tokens of some words.

        What the words hold beyond that stays as it is between the prompts and the class.

        Args:
            depth: number of layers.
            tokens: vectors at each.
            words: such as "a photo of a"; `template`: the domain's before the class; none: random vectors.

        Raises:
            ConfigError: when the words have fewer tokens.
        """
        prompts = self.random_prompts(depth, tokens, self.backbone.text_width)
        if words == "template":
            words = self.prompts.lead_in
        if words:
            ids = self.backbone.tokenizer.plain(words)
            if len(ids) < tokens:
                raise ConfigError(
                    f"context_init={words!r} has {len(ids)} tokens and {tokens} are to be learned; "
                    "give more words, learn fewer tokens, or start from random vectors with context_init=none"
                )
            prompts[0] = self.backbone.word_embeddings(words)[:tokens].detach().float()
            self.remainder = tuple(ids[tokens:])
        return prompts

    def make_couplings(self, depth: int) -> nn.ModuleList:
        """Make linear maps from text to image prompts, one a layer; all but the first start as copies of one draw."""
        first, deeper = (nn.Linear(self.backbone.text_width, self.backbone.vision_width) for _ in range(2))
        return nn.ModuleList([first, *(copy.deepcopy(deeper) for _ in range(depth - 1))]).to(self.backbone.device)

    def fit_depth(self, option: str, tower: Literal["text", "vision"], depth: int) -> int:
        """Return a depth that a tower has: a published depth of 12 means all layers of a shallower tower.

        Args:
            option: name of the setting, for the log.
            tower: which tower.
            depth: wanted number of layers.
        """
        layers = {"text": self.backbone.text_layers, "vision": self.backbone.vision_layers}[tower]
        if depth > layers:
            log.info("%s: %s=%d is cut to the %d layers of the %s tower", self.name, option, depth, layers, tower)
        return min(depth, layers)

    def fit_both(self, option: str, depth: int) -> int:
        """Return a depth that both towers have."""
        return min(self.fit_depth(option, "text", depth), self.fit_depth(option, "vision", depth))
