"""SPG: Soft Prompt Generation for Domain Generalization."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods.capabilities import DomainAttributor, WordLearner
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.contexts import initial_context
from acclimate.methods.parts.scores import cosines_per_image
from acclimate.methods.parts.text import TextClassifier
from acclimate.methods.prerequisites import Prerequisite
from acclimate.methods.registry import register
from acclimate.methods.spg.config import SPGConfig
from acclimate.methods.spg.inspection import inspect
from acclimate.methods.spg.label_files import given_label
from acclimate.methods.spg.labels import PromptLabels
from acclimate.methods.spg.sources import SOURCES
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed
from acclimate.training.inputs import Inputs
from acclimate.training.stages import SolverStage, Stage

logger = logging.getLogger("acclimate.methods")


@register
class SPG(TextClassifier, WordLearner, DomainAttributor):
    """Soft Prompt Generation.

    Stage I learns a prompt label v^d (n, D) on each source domain by `CoOp`. Stage II learns to make such a prompt of
    an image, G(z, f(x)) with noise z, against a discriminator that sees labels and images; no class takes part. An
    image of a domain never seen brings its own prompt, and its logits are s cos(x, g([G(z, f(x)), c])) + b.
    `variant="released"` has the released code's recipe. The corrected one shows labels and images to the networks at
    the scale of the noise, and predicts with one draw of it.
    Source: Bai et al. 2024 (arXiv 2404.19286), section 4, as in its released code: n = 4 from "a photo of a"; labels by
    SGD, learning rate 0.002, 50 epochs; networks by AdamW, learning rate 0.002, 70 epochs, batches of 32.
    """

    name = "spg"
    title = "Generated soft prompts for unseen domains"
    paper = "arXiv 2404.19286"
    learns = "a prompt label for each domain, and a network of 2.9 million numbers that generates prompts"
    inputs = Inputs(training={"domains"})
    prompts_per_image = True
    training_only = ("source.discriminator",)
    sized_by_data = frozenset({"labels.values", "source.weight", "source.offset"})
    Config = SPGConfig
    config: SPGConfig

    @classmethod
    def prerequisites(cls, config: object, domains: Sequence[str]) -> Mapping[str, Prerequisite]:
        """Return stage I: CoOp on each domain.

        Raises:
            ConfigError: the training images name no domain.
        """
        assert isinstance(config, SPGConfig)
        if not domains:
            raise ConfigError(
                f"{cls.name} learns one prompt for each domain, and these training images name none; give a column "
                "`domain`, or folders domain/class/image"
            )
        settings, seed, folder = config.label_settings(), config.label_seed, config.label_files
        given = {domain: None if folder is None else given_label(folder, domain) for domain in domains}
        return {domain: Prerequisite("coop", settings, domain, seed, given[domain]) for domain in domains}

    def make(self) -> None:
        """Make the network that makes prompts, and the labels that stage I starts from, until it has been learned."""
        config = self.config
        words = initial_context(self.backbone, self.prompts, config.context_init, config.context_tokens)
        self.labels = PromptLabels(words[None], config.labels)
        self.source = SOURCES[config.generator](self.backbone.embed_dim, words, config)

    def set_classes(self) -> None:
        """Read the words of the classes; any classes are served."""
        self.names = self.backbone.class_tokens(self.prompts.words(self.class_names))

    def prepare(self, facts: TrainingFacts) -> None:
        """Make what stage II alone needs, the discriminator of the GAN.

        Raises:
            ConfigError: there is one training image.
        """
        if facts.images < 2:
            raise ConfigError(f"{self.name} learns from two images or more, and there is one; give more of them")
        self.source.prepare(len(self.labels.values))

    def adopt(self, learned: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over the prompt labels, in the order of the domains.

        Raises:
            ConfigError: one of them has another number of tokens.
        """
        for domain, state in learned.items():
            if len(state["context"]) != (tokens := self.labels.values.shape[1]):
                raise ConfigError(
                    f"the prompt label of the domain '{domain}' has {len(state['context'])} tokens, and {self.name} "
                    f"generates {tokens}; set context_init=none and context_tokens={len(state['context'])}"
                )
        self.replace("labels.values", torch.stack([state["context"] for state in learned.values()]))
        if len(learned) == 1:
            logger.warning(
                "%s has one domain to learn from, '%s': every generator can at best give back its prompt label",
                self.name,
                next(iter(learned)),
            )

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return stage II, and a look at what it has made."""
        stages = self.source.stages(self.labels)
        return [*stages, SolverStage("prompts", self._inspect)] if stages else []

    def _inspect(self, train: Feed, val: Feed | None) -> dict[str, float]:
        self.source.forget()
        return inspect(self, train, val)

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (B, C); of several draws of noise, the logarithm of the mean probability."""
        return self.logits_and_spread(batch)[0]

    @property
    def predicts_spread(self) -> bool:
        """Whether several draws of noise are averaged."""
        return self.source.draws > 1

    def logits_and_spread(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return logits (B, C), and the standard deviation over draws (B,) of the most probable class's probability."""
        if self.config.generator == "mean":
            return super().logits(batch), None
        images = self.image_directions(batch)
        draws = torch.stack([self._scores(images, self.image_prompts(images, k)) for k in range(self.source.draws)])
        if len(draws) == 1:
            return draws[0], None
        shares = draws.float().log_softmax(dim=-1)  # (K, B, C)
        mean = shares.logsumexp(dim=0) - torch.log(torch.tensor(float(len(shares))))
        winners = mean.argmax(dim=-1)
        of_winner = shares.exp()[:, torch.arange(winners.shape[0], device=winners.device), winners]  # (K, B)
        return mean, of_winner.std(dim=0)

    def image_prompts(self, images: Tensor, draw: int = 0) -> Tensor:
        """Return the prompts (B, n, D) of image directions (B, E)."""
        return self.labels.prompts(self.source(images, self.labels, draw))

    def word_vectors(self, domains: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the prompt label v^d (n, D) of every source domain d."""
        return dict(zip(domains, self.labels.values, strict=True))

    def domain_distances(self, batch: Batch) -> Tensor | None:
        """Return how far the generated prompt of each image is from each label (B, M), a root mean square."""
        if self.config.generator == "mean":
            return None
        made = self.image_prompts(self.image_directions(batch))
        return (made[:, None] - self.labels.values).square().mean(dim=(2, 3)).sqrt()

    def _scores(self, images: Tensor, prompts: Tensor) -> Tensor:
        def directions(few: slice) -> Tensor:
            return F.normalize(self.backbone.encode_context(prompts[few], self.names, per="image").float(), dim=-1)

        return self.backbone.scaled(cosines_per_image(images, len(self.names), directions))

    def class_directions(self) -> Tensor:
        """Return w_c = norm(g([m, c])) (C, E) of the mean label m."""
        return F.normalize(self.backbone.encode_context(self.labels.mean, self.names).float(), dim=-1)
