"""`Labeller`: what a method can do that tells of each label by itself whether an image has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.data.several import rarest
from acclimate.errors import ConfigError
from acclimate.methods.capabilities import Classifier
from acclimate.methods.parts import folds
from acclimate.methods.parts.scores import BATCH
from acclimate.methods.parts.thresholds import calibrate, choose_thresholds
from acclimate.training.feeds import Feed, chunks
from acclimate.training.stages import SolverStage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from acclimate.methods.facts import TrainingFacts
    from acclimate.training.batch import Batch

THRESHOLDS = "label_thresholds"


class Labeller(Classifier):
    """A classifier that can also tell of each label by itself whether an image has it.

        p_k(x) = sigmoid(a s_k(x) + b_k),    label k is given where p_k(x) >= t_k

    with its scores s. a, b and t come from out-of-fold scores of the training images, of which those of a group stay
    together, see `calibrate` and `choose_thresholds`; of a method that learns nothing, from their scores as they are.
    Labels in a batch are (B, K) then.

    Attributes:
        apart: whether labels are told apart by themselves, and are not classes of which each image has one.
    """

    apart: bool = False
    label_slope: Tensor
    label_offsets: Tensor
    label_thresholds: Tensor

    def learn_labels(self, names: Sequence[str]) -> None:
        """Be bound to labels, which are told each by itself, for good.

        Raises:
            ConfigError: as `bind`, or its settings do not allow it.
        """
        self.apart = True
        self.bind(names)
        device, count = self.backbone.device, len(self.class_names)
        self.register_buffer("label_slope", torch.ones((), device=device))  # a
        self.register_buffer("label_offsets", torch.zeros(count, device=device))  # b (K,)
        self.register_buffer(THRESHOLDS, torch.full((count,), 0.5, device=device))  # t (K,)

    @staticmethod
    def told_by(tensors: Mapping[str, Tensor]) -> bool:
        """Return whether learned tensors are of a method that has learned labels."""
        return THRESHOLDS in tensors

    def check_binding(self, names: Sequence[str]) -> None:
        """Refuse other labels than those that thresholds were chosen for.

        Raises:
            ConfigError: so they are.
        """
        if self.apart and self.trained_classes and tuple(names) != self.trained_classes:
            raise ConfigError(
                f"{self.name} has thresholds for the labels that it has learned ({', '.join(self.trained_classes)}); "
                "adapt again for others"
            )

    def label_scores(self, batch: Batch) -> Tensor:
        """Return s (B, K), the higher the more an image looks as if it had a label; by default the logits."""
        return self.logits(batch)

    def label_probabilities(self, batch: Batch) -> Tensor:
        """Return p (B, K), float64."""
        return torch.sigmoid(
            self.label_slope.double() * self.label_scores(batch).double() + self.label_offsets.double()
        )

    def label_solvers(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return what the fit loop has to do before thresholds are chosen: by default nothing."""
        return ()

    def label_stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return what the fit loop has to do with images of several labels."""
        chosen = SolverStage("thresholds", lambda train, val: self._choose_thresholds(train, facts))
        return [*self.label_solvers(facts), chosen]

    @torch.no_grad()
    def _choose_thresholds(self, train: Feed, facts: TrainingFacts) -> dict[str, Any]:
        truth = train.labels.cpu().bool()
        fold, told = torch.zeros(len(truth), dtype=torch.int64), torch.ones_like(truth)
        if not self.label_solvers(facts):
            scores = _scores(self, train)
        else:
            fold = folds.deal(torch.from_numpy(rarest(truth.numpy())), facts.groups)
            if not fold.any():  # nothing can be left out: there is one unit
                return {"folds": 1}
            scores = folds.left_out(lambda kept: self._learned_from(kept, facts), _scores, train, fold)
            told = _tells(truth, fold)
        slope, offsets = calibrate(scores, truth, told)
        found = torch.sigmoid(slope * scores + offsets)
        self.label_slope.fill_(slope)
        self.label_offsets.copy_(offsets)
        self.label_thresholds.copy_(choose_thresholds(found, truth, told))
        thresholds = dict(zip(self.trained_classes, self.label_thresholds.tolist(), strict=True))
        return {"folds": int(fold.max()) + 1, "thresholds": thresholds}

    def _learned_from(self, train: Feed, facts: TrainingFacts) -> Labeller:
        """Return a method that has learned from some of the images, with what this one has chosen on all of them."""
        other = type(self)(self.backbone, self.settled(), self.prompts, self.domain_encoder)
        other.learn_labels(self.trained_classes)
        return folds.learned(other, other.label_solvers(facts), train)


def _scores(one: Labeller, feed: Feed) -> Tensor:
    """Return s (N, K) of a feed in float64, on the CPU."""
    device = one.backbone.device
    return torch.cat([one.label_scores(some.to(device)).double().cpu() for some in chunks(feed, BATCH)])


def _tells(truth: Tensor, fold: Tensor) -> Tensor:
    """Return which scores out of fold (N, K) say something: other folds have images with the label and without it."""
    having = torch.stack([(truth & (fold != number)[:, None]).sum(0) for number in range(int(fold.max()) + 1)])
    others = torch.stack([(fold != number).sum() for number in range(int(fold.max()) + 1)])
    return ((having > 0) & (having < others[:, None]))[fold]
