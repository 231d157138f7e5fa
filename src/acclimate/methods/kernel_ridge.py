"""Kernel ridge regression on features of frozen encoders; leave-one-out chooses all that is to be chosen, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.labeller import Labeller
from acclimate.methods.parts import kernels, ridge
from acclimate.methods.parts.scales import TwoScales, check_kind, input_of, scales, widths
from acclimate.methods.parts.scores import NEVER
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, chunks
from acclimate.training.inputs import DOMAIN, POOLED, Inputs, tiled
from acclimate.training.stages import SolverStage

TILE_SHARE = 0.75  # usual share of the tiles beside the whole image


@dataclass(frozen=True, kw_only=True)
class KernelRidgeConfig(TwoScales):
    """Settings of kernel ridge regression."""

    base: Literal["uniform", "zero-shot"] = option(
        "uniform", "what the regression goes on from: the same score for every class, or the zero-shot probabilities"
    )
    domain: bool = option(True, "read the domain encoder, too, where one is named")


@register
class KernelRidge(Labeller):
    """Kernel ridge regression onto the classes.

    p(c|x) = softmax_c(f_c(x) / T),    f(x) = f0(x) + sum_i k(x, x_i) a_i,    a = (K + lambda W^-1)^-1 (Y - f0)

    minimises sum_i w_i |y_i - f(x_i)|^2 + lambda |f - f0|^2 over N training images with one-hot classes y_i. Each class
    counts the same, w_i = N / (C N_{y_i}); exact copies of an image count once. The kernel is a sum over what is read,

        k(x, x') = sum_k mu_k exp(-beta_k |z_k(x) - z_k(x')|^2),    sum_k mu_k = 1,

    with z_k the features of whole images and those of their tiles, of the backbone and, where one is named, of the
    domain encoder. f0 is 1/C, or softmax(s cos(x, t_c) + b). Leave-one-out needs no refit: y_i - f_{-i}(x_i) = a_i /
    [(K + lambda W^-1)^-1]_ii. It chooses T by the log loss, and beta_k, mu_k and lambda, where others have a
    log loss that is less by two standard errors and by 0.01 than the usual ones: beta_k = 1 / (2 median squared
    distance), mu_k = 3/4 for tiles and 1/4 for whole images, lambda = 0.1. Classes of one image are not judged; where
    all are such, T = 0.3.
    Of labels, of which an image may have several, each has a column of Y of its own, with w_i = 1, f0 the share of the
    images that have it, and the score logit(f0) + (f(x) - f0) / T; the log loss is the sum of theirs.
    Source: Bendou et al. 2025 (arXiv 2501.11175), ProKeR, for the regression on zero-shot scores, whose settings are
    chosen on validation images there; Rifkin and Lippert 2007, "Notes on regularized least squares" (MIT CSAIL TR
    2007-025), for leave-one-out.
    """

    name = "kernel-ridge"
    title = "Kernel ridge regression at two scales"
    paper = "arXiv 2501.11175"
    learns = "per training image: width of the features + number of classes, without gradient"
    inputs = Inputs({tiled(POOLED, 2), tiled(DOMAIN, 2)})
    serves_new_classes = False
    domain_encoder_is_optional = True
    sized_by_data = frozenset({"points", "coefficients"})
    Config = KernelRidgeConfig
    config: KernelRidgeConfig
    points: Tensor
    coefficients: Tensor
    betas: Tensor
    shares: Tensor
    temperature: Tensor
    known: Tensor
    templates: Tensor
    prior: Tensor

    @classmethod
    def inputs_of(cls, config: KernelRidgeConfig) -> Inputs:  # type: ignore[override]
        """Return the features that the settings ask for."""
        return Inputs({input_of(config, kind) for kind in (config.kind, *([DOMAIN] if config.domain else []))})

    def make(self) -> None:
        """Make a regression on no points, which leaves the base as it is."""
        check_kind(self.config, self.backbone)
        device, classes = self.backbone.device, len(self.class_names)
        self.sizes = widths(self.config, self.backbone.widths[self.config.kind])
        if self.domain_encoder is not None:
            self.sizes += widths(self.config, self.domain_encoder.width)
        self.register_buffer("points", torch.zeros(0, sum(self.sizes), device=device))  # z (N, sum of F_k)
        self.register_buffer("coefficients", torch.zeros(0, classes, device=device))  # a (N, C)
        self.register_buffer("betas", torch.zeros(len(self.sizes), device=device))
        self.register_buffer("shares", torch.zeros(len(self.sizes), device=device))
        self.register_buffer("temperature", torch.ones((), device=device))
        self.register_buffer("known", torch.zeros(classes, device=device))  # (C,) 1 if it can give it, 2 if always
        if self.apart:
            self.register_buffer("prior", torch.full((classes,), 0.5, device=device))  # f0 (K,)

    def learn_labels(self, names: Sequence[str]) -> None:
        """Be bound to labels.

        Raises:
            ConfigError: the regression is to go on from zero-shot probabilities, which are those of classes.
        """
        if self.config.base != "uniform":
            raise ConfigError(f"base={self.config.base} is for classes, of which an image has one; use base=uniform")
        super().learn_labels(names)

    def set_classes(self) -> None:
        """Encode the sentences of the classes, where the text is gone on from."""
        if self.config.base == "zero-shot":
            texts = self.backbone.encode_text(self.prompts.sentences(self.class_names))
            self.register_buffer("templates", F.normalize(texts.float(), dim=-1), persistent=False)  # t (C, E)

    def features(self, batch: Batch) -> Tensor:
        """Return all that it reads of each image, side by side (B, sum of F_k)."""
        found = scales(batch, self.config, self.config.kind)
        if self.domain_encoder is not None:
            found += scales(batch, self.config, DOMAIN)
        return torch.cat(found, dim=-1)

    def base(self, batch: Batch) -> Tensor:
        """Return f0(x) (B, C)."""
        if self.config.base == "uniform":
            return torch.full((batch.size, len(self.known)), 1.0 / len(self.known), device=self.known.device)
        whole = getattr(batch, input_of(self.config, self.config.kind)).float()
        whole = whole if self.config.tiles == "none" else whole[:, 0]
        if self.config.kind == POOLED:
            whole = whole @ self.backbone.vision_projection.float().T
        return self.backbone.scaled(F.normalize(whole, dim=-1) @ self.templates.T).softmax(-1)

    def logits(self, batch: Batch) -> Tensor:
        """Return f(x) / T (B, C)."""
        with torch.autocast(self.points.device.type, enabled=False):
            found = (self.base(batch) + self._learned(batch)) / self.temperature
            return torch.where(self.known > 0, found, NEVER)

    def label_scores(self, batch: Batch) -> Tensor:
        """Return logit(f0) + (f(x) - f0) / T (B, K)."""
        with torch.autocast(self.points.device.type, enabled=False):
            found = ridge.label_logits(self.prior + self._learned(batch), self.prior, self.temperature)
            return torch.where(self.known > 0, torch.where(self.known > 1, -NEVER, found), NEVER)

    def _learned(self, batch: Batch) -> Tensor:
        """Return f(x) - f0(x) (B, C)."""
        seen, points = (some.split(self.sizes, dim=-1) for some in (self.features(batch), self.points))
        return kernels.kernel_of(seen, points, self.numbers("betas"), self.numbers("shares")) @ self.coefficients

    def usual_shares(self) -> list[float]:
        """Return the share of each kernel where leave-one-out has nothing to say; all encoders have the same."""
        own = scale_shares(1 if self.config.tiles == "none" else 2)
        encoders = len(self.sizes) // len(own)
        return [share / encoders for share in own] * encoders

    def stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the choice of the settings and the solution."""
        return [SolverStage(self.name, self._solve)]

    def label_solvers(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the same."""
        return self.stages(facts)

    @torch.no_grad()
    def _solve(self, train: Feed, val: Feed | None) -> dict[str, Any]:
        batches = [batch.to(self.points.device) for batch in chunks(train)]
        features = torch.cat([self.features(batch).cpu() for batch in batches])
        rows, targets = self._targets(features, train.labels.cpu(), batches)
        points = [some.double() for some in features[rows].split(self.sizes, dim=-1)]
        choice = ridge.choose(points, targets, self.usual_shares())
        solved = ridge.regress(points, targets, choice)
        self.replace("points", torch.cat(solved.points, dim=-1).float())
        self.replace("coefficients", solved.coefficients.float())
        self.betas.copy_(torch.tensor(choice.betas))
        self.shares.copy_(torch.tensor(choice.shares))
        self.drop_kept()
        self.temperature.fill_(solved.temperature)
        self.known.copy_((targets.values.sum(0) > 0) | (self.config.base == "zero-shot"))
        if self.apart:
            self.prior.copy_(targets.base[0])
            self.known.add_((targets.values > 0).all(0))  # what all images have says nothing else
        return {"images": len(rows), "temperature": solved.temperature} | vars(choice)

    def _targets(self, features: Tensor, labels: Tensor, batches: Sequence[Batch]) -> tuple[Tensor, ridge.Targets]:
        """Return a row for each different image, in order, and what the regression is to give there."""
        if self.apart:
            rows, values = distinct_labels(features, labels)
            return rows, ridge.label_targets(values)
        base = torch.cat([self.base(batch).cpu() for batch in batches]).double()
        rows, values = distinct(features, labels, len(self.known))
        return rows, ridge.make_targets(values, base[rows])

    def check_learned(self, state: Mapping[str, Tensor]) -> None:
        """Refuse points and coefficients that do not belong together.

        Raises:
            ConfigError: so it is.
        """
        points, coefficients = len(state["points"]), len(state["coefficients"])
        if points != coefficients:
            raise ConfigError(
                f"these weights do not belong to this {self.name}: {points} points and {coefficients} coefficients"
            )


def scale_shares(scales: int) -> list[float]:
    """Return the usual shares of the kernels of an encoder: of whole images alone, or of these and of their tiles."""
    return [1.0] if scales == 1 else [1.0 - TILE_SHARE, TILE_SHARE]


def distinct(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return one row for each different image, and its classes, of which copies may have several.

    Args:
        features: (N, F) of images.
        labels: (N,) their classes.
        classes: C.

    Returns:
        The rows (M,), in order, and y (M, C), equal shares for the classes of an image.
    """
    rows, values = distinct_labels(features, F.one_hot(labels, classes))
    return rows, values / values.sum(-1, keepdim=True)


def distinct_labels(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return one row for each different image, and which labels it has (M, K), those of all its copies.

    Args:
        features: (N, F) of images.
        labels: (N, K) which they have.
    """
    _, group = torch.unique(features, dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(labels)).scatter_reduce_(
        0, group, torch.arange(len(labels)), "amin"
    )
    named = torch.zeros(len(first), labels.shape[1], dtype=torch.float64)
    named.index_add_(0, group, labels.double())
    rows, order = first.sort()
    return rows, (named[order] > 0).double()
