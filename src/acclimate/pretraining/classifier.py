"""A vision encoder that is fine-tuned with labels: what is learned, what epochs are chosen by, what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from acclimate.data import ImageData
from acclimate.metrics import evaluate_classification, evaluate_labels, mean_average_precision
from acclimate.options import option
from acclimate.pretraining.labelled import LabelledSet, Slices
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, PixelFeed, chunks
from acclimate.training.fine_tuning import TIE, FineTuneRecipe, VisionClassifier, binary_cross_entropy, cross_entropy

CHUNK = 64  # images that are measured at once


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(FineTuneRecipe):
    """Settings of a classifier that becomes a domain encoder."""

    rate_option: ClassVar[str] = "lr={:g}"

    share_labels: bool = option(True, "whether data sets with the very same labels share a slice of the head")


class MixedFeed:
    """The images of several sets, with what the head has to say of them.

    A batch has `pixels`, `targets` (B, C) and `sets` (B,), which set each image is of.

    Args:
        sets: the data sets.
        part: "train", "val" or "test".
        slices: of the head.
        network: its encoder has the transform.
        seed: of random views, which training images have.
    """

    def __init__(
        self, sets: Sequence[LabelledSet], part: str, slices: Slices, network: VisionClassifier, seed: int = 0
    ) -> None:
        encoder: Any = network.encoder  # has the transform, which is all that pixels need
        self.feeds = [
            PixelFeed(one.parts[part], encoder, one.augmentation if part == "train" else None, seed) for one in sets
        ]
        self.targets = torch.cat([slices.spread(one.targets(one.parts[part]), one.name) for one in sets])
        sizes = [len(feed) for feed in self.feeds]
        self.sets = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self.rows = torch.cat([torch.arange(size) for size in sizes])
        self.labels = self.targets.argmax(-1)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the images at `index` (B,)."""
        sets, rows = self.sets[index], self.rows[index]
        pixels: list[Tensor | None] = [None] * len(index)
        for number in sets.unique().tolist():
            places = (sets == number).nonzero().flatten()
            found = self.feeds[number].batch(rows[places], epoch).pixels
            for place, image in zip(places.tolist(), found, strict=True):
                pixels[place] = image
        stacked = torch.stack([image for image in pixels if image is not None])
        return Batch(pixels=stacked, targets=self.targets[index], sets=sets, index=index)


class ClassifierLearner:
    """A classifier of several data sets as the fit loop sees it: each image by the slice of its own set.

    L = 1/B Σ_i l_i, with l the cross-entropy of a softmax over the slice, or where images have several labels the mean
    binary cross-entropy over it. Source: Bai et al. 2024 (arXiv 2410.06456), appendix A.2, for the loss over the
    classes of the image's own data set.

    Args:
        network: what learns.
        sets: the data sets.
        slices: of its head.
        config: its settings.
    """

    def __init__(
        self, network: VisionClassifier, sets: Sequence[LabelledSet], slices: Slices, config: ClassifierConfig
    ) -> None:
        self.network, self.sets, self.slices, self.config = network, sets, slices, config
        self.among = slices.among().to(network.head.weight.device)
        self.several = torch.tensor([one.several for one in sets], device=self.among.device)

    def train(self, mode: bool = True) -> ClassifierLearner:
        """Switch between training and evaluation."""
        self.network.train(mode)
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that occur with these sets."""
        outputs, among, several = self.network(batch.pixels), self.among[batch.sets], self.several[batch.sets]
        terms = {}
        if not bool(self.several.all()):
            each = cross_entropy(outputs, batch.targets, among, self.config.label_smoothing)
            terms["cross_entropy"] = (each * ~several).mean()
        if bool(self.several.any()):
            terms["binary_cross_entropy"] = (binary_cross_entropy(outputs, batch.targets, among) * several).mean()
        return terms

    def learned_state(self) -> dict[str, Tensor]:
        """Return all weights."""
        return dict(self.network.state_dict())

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put such weights back."""
        self.network.load_state_dict(state)

    @torch.no_grad()
    def probabilities(self, feed: Feed) -> list[np.ndarray]:
        """Return for each set the probabilities (N, K) of its labels, for the images of a `MixedFeed`."""
        found: list[list[Tensor]] = [[] for _ in self.sets]
        for batch in chunks(feed, CHUNK):
            outputs = self.network(batch.pixels.to(self.among.device)).double().cpu()
            for number, (one, (first, end)) in enumerate(zip(self.sets, self.slices.places.values(), strict=True)):
                own = outputs[batch.sets == number, first:end]
                found[number].append(own.sigmoid() if one.several else own.softmax(-1))
        return [torch.cat(parts).numpy() for parts in found]

    def score(self, feed: Feed) -> float:
        """Return the mean over the sets of what epochs are chosen by: accuracy, or mean average precision.

        Of epochs with equal figures the one with the larger probability of the true labels is better.
        """
        assert isinstance(feed, MixedFeed)
        figures = []
        for number, (one, found) in enumerate(zip(self.sets, self.probabilities(feed), strict=True)):
            if not len(found):
                continue
            first, end = self.slices.places[one.name]
            truth = feed.targets[feed.sets == number, first:end].numpy() > 0
            if one.several:
                figure, sure = mean_average_precision(found, truth) or 0.0, np.where(truth, found, 1 - found).mean()
            else:
                figure, sure = float((found.argmax(1) == truth.argmax(1)).mean()), found[truth].mean()
            figures.append(figure + TIE * float(sure))
        return float(np.mean(figures))

    def measure(self, part: str, resamples: int = 1000) -> dict[str, dict[str, Any] | None]:
        """Return the metrics of each set on its validation or test images, by name; none where it has none."""
        self.network.eval()
        feed = MixedFeed(self.sets, part, self.slices, self.network)
        if not len(feed):
            return dict.fromkeys(one.name for one in self.sets)
        scores: Mapping[str, np.ndarray] = dict(
            zip((one.name for one in self.sets), self.probabilities(feed), strict=True)
        )
        return {one.name: _metrics(one, one.parts[part], scores[one.name], resamples) for one in self.sets}


def _metrics(one: LabelledSet, data: ImageData, scores: np.ndarray, resamples: int) -> dict[str, Any] | None:
    if not len(data):
        return None
    if one.several:
        return evaluate_labels(scores, one.targets(data).numpy() > 0, one.labels)
    return evaluate_classification(scores, data.labels, one.labels, groups=data.groups, resamples=resamples)
