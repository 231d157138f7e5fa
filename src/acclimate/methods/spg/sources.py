"""What makes prompts of image features: SPG's conditional GAN, and the controls that it must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.spg.labels import PromptLabels
from acclimate.methods.spg.networks import (
    ADVERSARIAL,
    THRESHOLD,
    Discriminator,
    PromptGenerator,
    PromptTransformer,
    discriminator_limits,
    generator_limits,
)
from acclimate.training.stages import AlternatingStage, GradientStage, SolverStage, Stage, Turn

if TYPE_CHECKING:
    from acclimate.methods.spg.config import SPGConfig
    from acclimate.training.batch import Batch
    from acclimate.training.feeds import Feed

EPOCHS = 70
WATCHED = frozenset({"told_real", "told_generated", "prompt_variance"})


class PromptSource(nn.Module):
    """Base of what makes a prompt of an image, in the scale of the labels.

    Args:
        width: E of the image features.
        like: a prompt label (n, D), for its size and place.
        config: settings.
    """

    def __init__(self, width: int, like: Tensor, config: SPGConfig) -> None:
        super().__init__()
        self.width, self.config = width, config
        self.outputs, self.place = like.numel(), like.device

    @property
    def draws(self) -> int:
        """How many prompts an image is given in prediction."""
        return 1

    def forward(self, images: Tensor, labels: PromptLabels, draw: int = 0) -> Tensor:
        """Return prompts (B, n D) of image features (B, E), L2-normalised, in the scale of the prompt labels."""
        raise NotImplementedError

    def prepare(self, domains: int) -> None:
        """Make what learning alone needs, and what there is one of for each domain."""

    def stages(self, labels: PromptLabels) -> Sequence[Stage]:
        """Return how it is learned from the labels (stage II)."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what the last step has left."""

    def scaled(self, images: Tensor) -> Tensor:
        """Return image features (B, E), `balanced` with variance 1."""
        return images * self.width**0.5 if self.config.balanced else images

    def of(self, batch: Batch) -> Tensor:
        """Return the image features of a batch (B, E), L2-normalised."""
        return F.normalize(batch.image_features.float(), dim=-1)


class MeanLabel(PromptSource):
    """The mean of the labels, the same for every image."""

    def forward(self, images: Tensor, labels: PromptLabels, draw: int = 0) -> Tensor:
        """Return the mean label (1, n D)."""
        return labels.units.mean(dim=0, keepdim=True)

    def stages(self, labels: PromptLabels) -> Sequence[Stage]:
        """Return nothing: there is nothing to learn."""
        return []


class Mixture(PromptSource):
    """The labels, weighted by what a linear classifier of domains says of the image: sum_d p(d|f) v^d."""

    weight: Tensor
    offset: Tensor

    def __init__(self, width: int, like: Tensor, config: SPGConfig) -> None:
        super().__init__(width, like, config)
        self.prepare(1)

    def prepare(self, domains: int) -> None:
        """Make a row for each domain."""
        self.register_buffer("weight", torch.zeros(domains, self.width, device=self.place))
        self.register_buffer("offset", torch.zeros(domains, device=self.place))

    def forward(self, images: Tensor, labels: PromptLabels, draw: int = 0) -> Tensor:
        """Return mixtures of the labels (B, n D)."""
        return (images @ self.weight.T + self.offset).softmax(dim=-1) @ labels.units

    def stages(self, labels: PromptLabels) -> Sequence[Stage]:
        """Return the single stage that fits the classifier."""
        return [SolverStage("domains", self._fit)]

    def _fit(self, train: Feed, val: Feed | None) -> dict[str, float]:
        """Fit a logistic regression of the domains, each weighing the same, on image features of variance 1."""
        from sklearn.linear_model import LogisticRegression

        batch = train.batch(torch.arange(len(train)))
        if len(self.offset) == 1:
            return {"domain_accuracy": 1.0}
        gain = self.width**0.5
        inputs, domains = gain * self.of(batch).cpu().numpy(), batch.domains.cpu().numpy()
        found = LogisticRegression(max_iter=1000, class_weight="balanced").fit(inputs, domains)
        weight, offset = torch.from_numpy(found.coef_).float() * gain, torch.from_numpy(found.intercept_).float()
        if len(weight) == 1:  # two domains have one logit between them
            weight, offset = torch.cat([-weight, weight]) / 2, torch.cat([-offset, offset]) / 2
        self.weight.copy_(weight)
        self.offset.copy_(offset)
        return {"domain_accuracy": float(found.score(inputs, domains))}


class Regression(PromptSource):
    """SPG's generator without noise, learned by the mean squared distance to the label of the image's domain."""

    def __init__(self, width: int, like: Tensor, config: SPGConfig) -> None:
        super().__init__(width, like, config)
        self.network = self._make_network().to(self.place)

    def _make_network(self) -> nn.Module:
        return PromptGenerator(self.width, self.outputs, self.config.norm_epsilon, self.config.labels == "raw")

    def forward(self, images: Tensor, labels: PromptLabels, draw: int = 0) -> Tensor:
        """Return prompts (B, n D)."""
        return self.network(self.scaled(images))

    def stages(self, labels: PromptLabels) -> Sequence[Stage]:
        """Return the single stage that learns the network."""
        epochs, loss = self.config.epochs or EPOCHS, partial(self._loss, labels)
        parameters = list(self.network.parameters())
        how: dict[str, Any] = {"drop_last": True, "divisible": True}
        return [GradientStage(self.config.generator, self.config, epochs, loss, parameters, **how)]

    def _loss(self, labels: PromptLabels, batch: Batch) -> dict[str, Tensor]:
        return {"squared_distance": F.mse_loss(self(self.of(batch), labels), labels.units[batch.domains])}


class Transformer(Regression):
    """The transformer of DPSPG in place of SPG's generator, without noise, learned as `Regression`."""

    def _make_network(self) -> nn.Module:
        return PromptTransformer(self.width, self.outputs)


class ConditionalGAN(PromptSource):
    """SPG's generator G and discriminator D.

    Each step takes one turn of each: with prompt labels v and features f of one batch, and z ~ N(0, I) and features f'
    of another,

        L_D = mean (D(v, f) - 1)² + mean D(G(z, f'), f')²,    L_G = mean (D(G(z, f'), f') - 1)².

    Source: Bai et al. 2024 (SPG, arXiv 2404.19286), section 4.2 and algorithm 2, as in its released code.
    """

    noise: Tensor

    def __init__(self, width: int, like: Tensor, config: SPGConfig) -> None:
        super().__init__(width, like, config)
        inputs = config.noise_width + width
        generator = PromptGenerator(inputs, self.outputs, config.norm_epsilon, config.labels == "raw")
        self.generator = generator.to(self.place)
        self.discriminator: Discriminator | None = None
        draws = torch.randn(self.draws, config.noise_width, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", draws.to(self.place), persistent=False)  # the same in every run

    def prepare(self, domains: int) -> None:
        """Make the discriminator."""
        self.discriminator = Discriminator(self.outputs + self.width).to(self.place)

    @property
    def draws(self) -> int:
        """How many prompts an image is given in prediction."""
        return self.config.noise_draws if self.config.test_noise == "mean" else 1

    def forward(self, images: Tensor, labels: PromptLabels, draw: int = 0) -> Tensor:
        """Return prompts (B, n D), with the noise of prediction."""
        return self.generate(images, self._test_noise(images.shape[0], draw))

    def generate(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return prompts (B, n D) of image features (B, E), L2-normalised, and noise (B, Z)."""
        return self.generator(torch.cat([noise, self.scaled(images)], dim=1))

    def _test_noise(self, images: int, draw: int) -> Tensor:
        if self.config.test_noise == "fresh":
            return torch.randn(images, self.config.noise_width, device=self.noise.device)
        if self.config.test_noise == "zero":
            return torch.zeros(images, self.config.noise_width, device=self.noise.device)
        return self.noise[draw].expand(images, -1)

    def stages(self, labels: PromptLabels) -> Sequence[Stage]:
        """Return the single stage in which both networks learn."""
        config, generator, discriminator = self.config, self.generator, self.discriminator
        assert discriminator is not None  # `prepare` comes first
        turns = [
            Turn(
                partial(self.discriminating, labels),
                list(discriminator.parameters()),
                limits=discriminator_limits(discriminator, config.clipping),
            ),
            Turn(self.generating, list(generator.parameters()), limits=generator_limits(generator, config.clipping)),
        ]
        batches = 2 if config.fake_batch == "independent" else 1
        epochs = config.epochs or EPOCHS
        return [AlternatingStage("gan", config, epochs, turns, batches, drop_last=True, watched=WATCHED)]

    def discriminating(self, labels: PromptLabels, real: Batch, other: Batch | None = None) -> dict[str, Tensor]:
        """Return the loss of the discriminator, and how often it is right; the prompts serve the next turn, too."""
        wanted, images = labels.units[real.domains], self.of(real)
        self._images = images if other is None else self.of(other)
        noise = torch.randn(len(self._images), self.config.noise_width, device=self._images.device)
        self._prompts = self.generate(self._images, noise)
        loss, threshold = ADVERSARIAL[self.config.adversarial], THRESHOLD[self.config.adversarial]
        on_labels, on_prompts = self._verdict(wanted, images), self._verdict(self._prompts.detach(), self._images)
        return {
            "discriminator_real": loss(on_labels, True),
            "discriminator_generated": loss(on_prompts, False),
            "told_real": (on_labels > threshold).float().mean(),
            "told_generated": (on_prompts <= threshold).float().mean(),
        }

    def generating(self, real: Batch, other: Batch | None = None) -> dict[str, Tensor]:
        """Return the loss of the generator, and the variance of its prompts, per number, over the batch."""
        verdicts = self._verdict(self._prompts, self._images)
        return {
            "generator": ADVERSARIAL[self.config.adversarial](verdicts, True),
            "prompt_variance": self._prompts.detach().float().var(dim=0, correction=0).mean(),
        }

    def _verdict(self, prompts: Tensor, images: Tensor) -> Tensor:
        assert self.discriminator is not None
        return self.discriminator(torch.cat([prompts, self.scaled(images)], dim=1))

    def forget(self) -> None:
        """Drop the prompts of the last step."""
        self._prompts = self._images = torch.empty(0)


SOURCES: Mapping[str, type[PromptSource]] = MappingProxyType(
    {
        "gan": ConditionalGAN,
        "mean": MeanLabel,
        "mixture": Mixture,
        "regression": Regression,
        "transformer": Transformer,
    }
)
"""The registered generators, by the name that `generator` has."""
