"""Tip-Adapter: the training images themselves are a classifier beside the text, through a cache of keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.text import TemplateClassifier
from acclimate.methods.registry import register
from acclimate.methods.tip_adapter.search import Choice, evidence, search
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.feeds import AT_ONCE, Feed, chunks
from acclimate.training.recipe import Recipe, Views
from acclimate.training.stages import GradientStage, SolverStage, Stage


@dataclass(frozen=True, kw_only=True)
class TipAdapterConfig(Views):
    """Settings of the training-free Tip-Adapter."""

    search: Literal["auto", "validation", "leave-one-out", "fixed"] = option(
        "auto", "how alpha and beta are chosen: on validation images where there are some, else by leaving one out"
    )
    alpha: float = option(1.0, "weight of the cache where it is not chosen", low=0.0)
    beta: float = option(5.5, "sharpness of the cache where it is not chosen", low=0.0)
    views: int = option(10, "augmented views whose mean is the key of an image, where there is augmentation", low=1)
    crop_scale: float = option(0.5, "smallest share of the image's area in a random crop", low=0.01, high=1.0)


@register
class TipAdapter(TemplateClassifier):
    """Training-free Tip-Adapter.

    logits = s cos(x, w_c) + alpha sum_i exp(-beta (1 - cos(x, k_i))) [y_i = c]: keys k_i are the directions of the
    training images, values their one-hot classes, w_c the frozen directions of the domain template.
    The rule for alpha and beta, over a grid of 30 x 30 values in 0.1 ... 30, never on test images:

    1. with validation images: the pair that gets most of them right;
    2. without: the pair that gets most training images right, each judged with its own key left out; the class that has
       lost one of N keys counts N / (N - 1) times;
    3. one image in every class allows neither: alpha = 1, beta = 5.5, the paper's best on ImageNet.

    A class that is known by name keeps its cached images when other classes are bound; a new one has its text alone.
    Source: Zhang et al. 2022 (arXiv 2207.09519), section 3.1; ablation of alpha and beta in section 4.
    """

    name = "tip-adapter"
    title = "Tip-Adapter, training-free"
    paper = "arXiv 2207.09519"
    learns = "per training image: joint width + 1 numbers, without training"
    Config = TipAdapterConfig
    config: TipAdapterConfig
    sized_by_data = frozenset({"keys", "labels"})
    keys: Tensor
    labels: Tensor
    alpha: Tensor
    beta: Tensor

    def make(self) -> None:
        """Make an empty cache: keys (M, E), and labels (M,) that count the classes of the training images."""
        device = self.backbone.device
        self._make_keys(torch.zeros(0, self.backbone.embed_dim, device=device))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.long, device=device))
        self.register_buffer("alpha", torch.zeros((), device=device))  # no cache yet: zero-shot
        self.register_buffer("beta", torch.zeros((), device=device))

    def _make_keys(self, keys: Tensor) -> None:
        self.register_buffer("keys", keys)

    @property
    def values(self) -> Tensor:
        """Which of the bound classes each cached image is of (M, C); zeros where its class is not bound."""
        return self.kept("values", self._values)

    def _values(self) -> Tensor:
        index, count = {name: place for place, name in enumerate(self.class_names)}, len(self.class_names)
        places = [*(index.get(name, count) for name in self.trained_classes), count]  # label -1 is no class
        return F.one_hot(torch.tensor(places, device=self.labels.device)[self.labels], count + 1)[:, :-1].float()

    def logits(self, batch: Batch) -> Tensor:
        """Return s cos(x, w_c) + alpha exp(-beta (1 - x K^T)) L (B, C)."""
        affinity = self.image_directions(batch) @ self.keys.T  # (B, M)
        return super().logits(batch) + self.alpha * evidence(affinity, self.values, self.beta)

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the one pass over the training images."""
        return [SolverStage(self.name, self._solve)]

    def _solve(self, train: Feed, val: Feed | None) -> dict[str, float]:
        self._fill(train)
        return self._choose(train, val)

    @torch.no_grad()
    def _fill(self, train: Feed) -> None:
        """Make the cache: the direction of each training image, or of the mean over its augmented views."""
        views: Sequence[int | None] = [None] if self.config.augment == "none" else range(self.config.views)
        keys = []
        for index in torch.arange(len(train)).split(AT_ONCE):
            features = [train.batch(index, view).image_features.float() for view in views]
            keys.append(F.normalize(torch.stack(features).mean(dim=0), dim=-1))
        self.replace("keys", torch.cat(keys))
        self.replace("labels", train.labels)

    def _choose(self, train: Feed, val: Feed | None) -> dict[str, float]:
        """Set alpha and beta; returns them with the rule that was used."""
        rule = self._rule(val)
        if rule == "fixed":
            choice = Choice(self.config.alpha, self.config.beta)
        elif rule == "leave-one-out":
            choice = self._search(train, leave_out=True)
        else:
            assert val is not None
            choice = self._search(val)
        self.alpha.fill_(choice.alpha)
        self.beta.fill_(choice.beta)
        return {"rule": rule} | {name: value for name, value in vars(choice).items() if value is not None}

    def _rule(self, val: Feed | None) -> str:
        rule = self.config.search
        seen, repeated = val is not None and len(val) > 0, bool(self.values.sum(dim=0).max() >= 2)
        if rule == "validation" and not seen:
            raise ConfigError("search=validation needs validation images and there are none; use search=auto")
        if rule == "leave-one-out" and not repeated:
            raise ConfigError("search=leave-one-out needs two training images of some class; use search=auto")
        if rule == "auto":
            return "validation" if seen else "leave-one-out" if repeated else "fixed"
        return rule

    @torch.no_grad()
    def _search(self, feed: Feed, leave_out: bool = False) -> Choice:
        batches = list(chunks(feed))
        device = self.keys.device
        queries = torch.cat([self.image_directions(batch).to(device) for batch in batches])
        text = torch.cat([self.similarities(batch.to(device), self.templates) for batch in batches])
        labels, own = feed.labels.to(device), None
        if leave_out:  # a class of one image has nothing left to be recognised by
            own = (self.values.sum(dim=0)[labels] >= 2).nonzero()[:, 0]
            queries, labels, text = queries[own], labels[own], text[own]
        return search(queries, labels, text, self.keys.detach(), self.values, own=own)

    def check_learned(self, state: Mapping[str, Tensor]) -> None:
        """Refuse a cache whose labels do not fit its keys or the classes.

        Raises:
            ConfigError: so it is.
        """
        keys, labels = len(state["keys"]), state["labels"]
        if len(labels) != keys or (keys and int(labels.max()) >= len(self.trained_classes)):
            known = f"{int(labels.max()) + 1} classes or more" if len(labels) else "no classes"
            raise ConfigError(
                f"these weights do not belong to this {self.name}: {keys} keys and {len(labels)} labels that know "
                f"{known}, and it is bound to {len(self.trained_classes)}"
            )


@dataclass(frozen=True, kw_only=True)
class TipAdapterFConfig(TipAdapterConfig, Recipe):
    """Settings of Tip-Adapter-F; the recipe is that of its released code."""

    epochs: int | None = option(None, "passes over the training images; none: 20, as published", low=1)
    batch_size: int = option(256, "images in a step", low=1)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the keys")
    lr: float = option(1e-3, "learning rate", low=0.0)
    weight_decay: float = option(0.01, "weight decay of the keys", low=0.0)
    epsilon: float = option(1e-4, "term that AdamW adds to the denominator", low=0.0)
    warmup_epochs: int = option(0, "epochs of warm-up before the cosine", low=0)
    search_when: Literal["before", "after"] = option(
        "before", "whether alpha and beta are chosen before the keys are fine-tuned, or after it, as published"
    )

    def __post_init__(self) -> None:
        """Refuse a choice that would judge fine-tuned keys on the images that they were tuned to."""
        super().__post_init__()
        if self.search == "leave-one-out" and self.search_when == "after":
            raise ConfigError(
                "search=leave-one-out is no test of fine-tuned keys, which know the image that is left out; "
                "use search_when=before, or search=validation"
            )


@register
class TipAdapterF(TipAdapter):
    """Tip-Adapter-F: Tip-Adapter with fine-tuned keys.

    The logits are those of Tip-Adapter. The cache is made and alpha and beta are chosen as there; then the keys (M, E)
    are learned with the cross-entropy, from the cache as their start. Values and text stay. With search_when=after, the
    published order, keys are fine-tuned with the given alpha and beta, which are then chosen on validation images where
    there are some.
    Source: Zhang et al. 2022 (arXiv 2207.09519), section 3.2; recipe of section 4: AdamW, learning rate 0.001, batches
    of 256, 20 epochs. The released code keeps the epoch with the best test accuracy; here the last is kept.
    """

    name = "tip-adapter-f"
    title = "Tip-Adapter-F, fine-tuned keys"
    learns = "per training image: joint width + 1 numbers, the keys by training"
    Config = TipAdapterFConfig
    config: TipAdapterFConfig

    def _make_keys(self, keys: Tensor) -> None:
        self.keys = nn.Parameter(keys)

    def prepare(self, facts: TrainingFacts) -> None:
        """Make room for the keys, which the optimiser is given before the cache is made."""
        self.replace("keys", self.keys.new_zeros(facts.images, self.backbone.embed_dim))
        self.replace("labels", self.labels.new_zeros(facts.images))

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the making of the cache, the fine-tuning of its keys, and the choice of alpha and beta."""
        epochs, learned = self.config.epochs or 20, list(self.parameters())
        keys = GradientStage("keys", self.config, epochs, self.loss, learned, divisible=True)
        if self.config.search_when == "before":
            return [SolverStage("cache", self._solve), keys]
        return [SolverStage("cache", self._start), keys, SolverStage("search", self._choose_after)]

    def _start(self, train: Feed, val: Feed | None) -> dict[str, float]:
        self._fill(train)
        self.alpha.fill_(self.config.alpha)
        self.beta.fill_(self.config.beta)
        return {"images": len(train)}

    def _rule(self, val: Feed | None) -> str:
        rule = super()._rule(val)
        return "fixed" if rule == "leave-one-out" and self.config.search_when == "after" else rule

    def _choose_after(self, train: Feed, val: Feed | None) -> dict[str, float]:
        return self._choose(train, val)
