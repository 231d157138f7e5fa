"""What makes prompts of image features: SPG's conditional GAN, and the controls that it must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

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
    from acclimate.data.batch import Batch
    from acclimate.methods.spg.config import SPGConfig
    from acclimate.training.feeds import Feed

EPOCHS = 70
WATCHED = frozenset({"told_real", "told_generated", "prompt_variance"})


class PromptSource(nn.Module):
    """Base of what makes a prompt of an image, in the scale of the labels.

    Args:
        width: E of the image features.
        labels: the prompt labels; they change when stage I has been learned.
        config: settings.
    """

    def __init__(self, width: int, labels: PromptLabels, config: SPGConfig) -> None:
        super().__init__()
        self.width, self.config = width, config
        self.outputs = labels.values[0].numel()
        self._labels = [labels]  # in a list, so that they are not parts of this module

    @property
    def labels(self) -> PromptLabels:
        """The prompt labels."""
        return self._labels[0]

    @property
    def draws(self) -> int:
        """How many prompts an image is given in prediction."""
        return 1

    def forward(self, images: Tensor, draw: int = 0) -> Tensor:
        """Return prompts (B, n D) of image features (B, E), L2-normalised, in the scale of the labels."""
        raise NotImplementedError

    def stages(self) -> Sequence[Stage]:
        """Return how it is learned (stage II)."""
        raise NotImplementedError

    def resize(self, state: Mapping[str, Tensor]) -> None:
        """Make room for a state of another number of domains, or one from which the end of training left things out."""

    def finish(self) -> None:
        """Drop what prediction does not need."""

    def scaled(self, images: Tensor) -> Tensor:
        """Return image features (B, E), `balanced` with variance 1."""
        return images * self.width**0.5 if self.config.balanced else images

    def of(self, batch: Batch) -> Tensor:
        """Return the image features of a batch (B, E), L2-normalised."""
        assert batch.image_features is not None
        return F.normalize(batch.image_features.float(), dim=-1)

    def target(self, batch: Batch) -> Tensor:
        """Return the label of each image's domain (B, n D), in the scale of the labels."""
        assert batch.domains is not None
        return self.labels.units[batch.domains]


class MeanLabel(PromptSource):
    """The mean of the labels, the same for every image."""

    def forward(self, images: Tensor, draw: int = 0) -> Tensor:
        """Return the mean label (1, n D)."""
        return self.labels.units.mean(dim=0, keepdim=True)

    def stages(self) -> Sequence[Stage]:
        """Return nothing: there is nothing to learn."""
        return []


class Mixture(PromptSource):
    """The labels, weighted by what a linear classifier of domains says of the image: sum_d p(d|f) v^d."""

    weight: Tensor
    offset: Tensor

    def __init__(self, width: int, labels: PromptLabels, config: SPGConfig) -> None:
        super().__init__(width, labels, config)
        self._make(len(labels.values))

    def _make(self, domains: int) -> None:
        device = self.labels.values.device
        self.register_buffer("weight", torch.zeros(domains, self.width, device=device))
        self.register_buffer("offset", torch.zeros(domains, device=device))

    def resize(self, state: Mapping[str, Tensor]) -> None:
        """Make room for another number of domains."""
        if "offset" in state:
            self._make(len(state["offset"]))

    def forward(self, images: Tensor, draw: int = 0) -> Tensor:
        """Return mixtures of the labels (B, n D)."""
        return (images @ self.weight.T + self.offset).softmax(dim=-1) @ self.labels.units

    def stages(self) -> Sequence[Stage]:
        """Return the single stage that fits the classifier."""
        return [SolverStage("domains", self._fit)]

    def _fit(self, train: Feed, val: Feed | None) -> dict[str, float]:
        """Fit a logistic regression of the domains, each weighing the same, on image features of variance 1."""
        from sklearn.linear_model import LogisticRegression

        batch = train.batch(torch.arange(len(train)))
        assert batch.domains is not None
        self._make(len(self.labels.values))
        if len(self.labels.values) == 1:
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

    def __init__(self, width: int, labels: PromptLabels, config: SPGConfig) -> None:
        super().__init__(width, labels, config)
        self.network = self._make_network().to(labels.values.device)

    def _make_network(self) -> nn.Module:
        return PromptGenerator(self.width, self.outputs, self.config.norm_epsilon, self.config.labels == "raw")

    def forward(self, images: Tensor, draw: int = 0) -> Tensor:
        """Return prompts (B, n D)."""
        return self.network(self.scaled(images))

    def stages(self) -> Sequence[Stage]:
        """Return the single stage that learns the network."""
        epochs = self.config.epochs or EPOCHS
        parameters = list(self.network.parameters())
        return [GradientStage(self.config.generator, self.config, epochs, self._loss, parameters, drop_last=True)]

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"squared_distance": F.mse_loss(self(self.of(batch)), self.target(batch))}


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

    def __init__(self, width: int, labels: PromptLabels, config: SPGConfig) -> None:
        super().__init__(width, labels, config)
        device = labels.values.device
        inputs = config.noise_width + width
        self.generator = PromptGenerator(inputs, self.outputs, config.norm_epsilon, config.labels == "raw").to(device)
        self.discriminator: Discriminator | None = None  # among what is learned while stage II goes on
        self._drawn = [Discriminator(self.outputs + width).to(device)]
        draws = torch.randn(self.draws, config.noise_width, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", draws.to(device), persistent=False)  # the same in every run

    @property
    def draws(self) -> int:
        """How many prompts an image is given in prediction."""
        return self.config.noise_draws if self.config.test_noise == "mean" else 1

    def forward(self, images: Tensor, draw: int = 0) -> Tensor:
        """Return prompts (B, n D), with the noise of prediction."""
        return self.generate(images, self._test_noise(len(images), draw))

    def generate(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return prompts (B, n D) of image features (B, E), L2-normalised, and noise (B, Z)."""
        return self.generator(torch.cat([noise, self.scaled(images)], dim=1))

    def _test_noise(self, images: int, draw: int) -> Tensor:
        if self.config.test_noise == "fresh":
            return torch.randn(images, self.config.noise_width, device=self.noise.device)
        if self.config.test_noise == "zero":
            return torch.zeros(images, self.config.noise_width, device=self.noise.device)
        return self.noise[draw].expand(images, -1)

    def stages(self) -> Sequence[Stage]:
        """Return the single stage in which both networks learn."""
        config, generator = self.config, self.generator
        self.discriminator = discriminator = self._drawn[0]
        turns = [
            Turn(
                self.discriminating,
                list(discriminator.parameters()),
                limits=discriminator_limits(discriminator, config.clipping),
            ),
            Turn(self.generating, list(generator.parameters()), limits=generator_limits(generator, config.clipping)),
        ]
        batches = 2 if config.fake_batch == "independent" else 1
        epochs = config.epochs or EPOCHS
        return [AlternatingStage("gan", config, epochs, turns, batches, drop_last=True, watched=WATCHED)]

    def discriminating(self, real: Batch, other: Batch | None = None) -> dict[str, Tensor]:
        """Return the loss of the discriminator, and how often it is right; the prompts serve the next turn, too."""
        labels, images = self.target(real), self.of(real)
        self._images = images if other is None else self.of(other)
        noise = torch.randn(len(self._images), self.config.noise_width, device=self._images.device)
        self._prompts = self.generate(self._images, noise)
        loss, threshold = ADVERSARIAL[self.config.adversarial], THRESHOLD[self.config.adversarial]
        on_labels, on_prompts = self._verdict(labels, images), self._verdict(self._prompts.detach(), self._images)
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

    def resize(self, state: Mapping[str, Tensor]) -> None:
        """Have a discriminator where the state has one."""
        has_one = any(name.startswith("discriminator.") for name in state)
        self.discriminator = self._drawn[0] if has_one else None

    def finish(self) -> None:
        """Drop the discriminator, and the prompts of the last step."""
        self.discriminator = None
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
