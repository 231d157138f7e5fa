"""Linear probe: multinomial logistic regression on frozen image features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.backbones.kinds import KINDS
from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.labeller import Labeller
from acclimate.methods.parts.plain import PlainForm
from acclimate.methods.parts.scales import Scales, check_kind, input_of, scales, widths
from acclimate.methods.parts.scores import NEVER
from acclimate.methods.registry import register
from acclimate.options import Checked, option
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, chunks
from acclimate.training.inputs import IMAGE, Inputs
from acclimate.training.stages import SolverStage

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from acclimate.methods.capabilities import Classifier

GRID = tuple(float(c) for c in np.logspace(-3, 1, 9))  # inverse regularisation strengths that are tried
FOLDS = 5
SEARCH_ITERATIONS = 200  # of L-BFGS for each strength that is tried; the chosen one is solved to convergence


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Checked):
    """Settings of a linear probe, whatever it reads."""

    regularisation: Literal["auto", "validation", "cross-validation", "fixed"] = option(
        "auto", "how C is chosen: on validation images where there are some, else by cross-validation; or fixed"
    )
    C: float = option(0.1, "inverse regularisation strength of regularisation=fixed, and of 1 shot", low=1e-9)
    max_iter: int = option(1000, "iterations of L-BFGS", low=1)


@dataclass(frozen=True, kw_only=True)
class LinearProbeConfig(Scales, ProbeConfig):
    """Settings of the linear probe on the backbone."""


@register
class LinearProbe(Labeller):
    """Multinomial logistic regression, p(c|x) = softmax_c(a_c . x + b_c), L2-regularised with strength 1/C.

    Features are L2-normalised, centred on the training mean and divided by one scalar, their root mean square, so that
    C means the same for every backbone. Where tiles are read, theirs stand behind them. The rule for C, in order:

    1. with validation images: the C of the grid 10^-3 ... 10 with the lowest log loss on them;
    2. without: the C with the lowest log loss in stratified cross-validation over the training images, with as many
       folds (at most 5) as the rarest class has images;
    3. one image in some class allows neither: C = 0.1, which under this scaling was best or next to it on the
       validation parts of three quite different sets (aerial scenes, thin sections, radiographs).

    Of labels, of which an image may have several, each has a logistic regression of its own, all with one C by the sum
    of their log losses; a label that only one image has, or lacks, is not cross-validated.

    Source: Radford et al. 2021 (arXiv 2103.00020), section 3.2 and appendix A.3, who choose C on validation images.
    """

    name = "linear-probe"
    title = "Linear probe on image features"
    paper = "arXiv 2103.00020"
    learns = "per class: joint width + 1 numbers"
    serves_new_classes = False
    baseline = 2
    backbones = frozenset(KINDS)
    Config: ClassVar[type] = LinearProbeConfig
    config: LinearProbeConfig
    weight: Tensor
    bias: Tensor
    strength: float  # C, once it is chosen

    @classmethod
    def inputs_of(cls, config: LinearProbeConfig) -> Inputs:  # type: ignore[override]
        """Return the features that the settings ask for."""
        return Inputs({input_of(config, config.kind)})

    @property
    def width(self) -> int:
        """Width F of the features."""
        check_kind(self.config, self.backbone)
        return sum(widths(self.config, self.backbone.widths[self.config.kind]))

    def features(self, batch: Batch) -> Tensor:
        """Return the features (B, F) that the probe reads, each scale L2-normalised, see `scales`."""
        return torch.cat(scales(batch, self.config, self.config.kind), dim=-1)

    def make(self) -> None:
        """Make weights and biases, all zero; a probe has none for classes that it was not trained on."""
        shape = (len(self.class_names), self.width)
        self.register_buffer("weight", torch.zeros(shape, device=self.backbone.device))  # (C, F)
        self.register_buffer("bias", torch.zeros(shape[0], device=self.backbone.device))  # (C,)

    def logits(self, batch: Batch) -> Tensor:
        """Return a . norm(x) + b (B, C)."""
        return F.linear(self.features(batch), self.weight, self.bias)

    def plain_form(self) -> PlainForm | None:
        """Return weights and biases, where the features are those of whole images in the joint space."""
        return PlainForm(self.weight, 1.0, self.bias) if self.inputs.prediction == {IMAGE} else None

    def stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the one convex problem."""
        return [SolverStage(self.name, self._solve)]

    def label_solvers(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the convex problems of all labels."""
        return self.stages(facts)

    def _solve(self, train: Feed, val: Feed | None) -> dict[str, float]:
        x, y = self._arrays(train)
        centre = x.mean(axis=0)
        scale = float(np.sqrt(np.mean((x - centre) ** 2))) or 1.0
        x = (x - centre) / scale
        strength, rule = self._choose(x, y, val, centre, scale)
        self.strength = strength
        fits = [_fit(x, asked, strength, self._answers, self.config.max_iter) for asked in _questions(y)]
        weight, bias = _as_labels(fits) if self.apart else fits[0]
        weight = weight / scale  # centring and scaling folded in: the probe reads normalised features as they are
        bias = bias - weight @ centre
        self.weight.copy_(torch.from_numpy(weight))
        self.bias.copy_(torch.from_numpy(bias))
        return {"C": strength, "rule": rule}  # type: ignore[dict-item]

    @property
    def _answers(self) -> int:
        """How many classes are told apart at once."""
        return 2 if self.apart else len(self.class_names)

    def settled(self) -> ProbeConfig:
        """Return its settings with the C that it has chosen."""
        return replace(self.config, regularisation="fixed", C=self.strength)

    def _choose(
        self, x: np.ndarray, y: np.ndarray, val: Feed | None, centre: np.ndarray, scale: float
    ) -> tuple[float, str]:
        rule, questions = self.config.regularisation, _questions(y)
        if all(_is_settled(asked) for asked in questions):
            return self.config.C, "fixed"  # one class: there is nothing to choose by
        divisible = [asked for asked in questions if not _is_settled(asked) and _fewest(asked) >= 2]
        has_val = val is not None and len(val) > 0
        if rule == "validation" and not has_val:
            raise ConfigError("regularisation=validation needs validation images and there are none; use auto")
        if rule == "cross-validation" and not divisible:
            raise ConfigError("regularisation=cross-validation needs two training images of every class; use auto")
        if rule == "validation" or (rule == "auto" and has_val):
            assert val is not None
            x_val, y_val = self._arrays(val)
            problems = []
            for asked, told in zip(questions, _questions(y_val), strict=True):
                known = np.isin(told, asked)  # a class without training images says nothing about C
                if not _is_settled(asked):
                    problems.append(_Problem(x, asked, (x_val[known] - centre) / scale, told[known]))
            return _best_strength(problems), "validation"
        if rule == "cross-validation" or (rule == "auto" and divisible):
            problems = [
                _Problem(x[~part], asked[~part], x[part], asked[part])
                for asked in divisible
                for part in _folds(asked, min(FOLDS, _fewest(asked)))
            ]
            return _best_strength(problems), "cross-validation"
        return self.config.C, "fixed"

    def _arrays(self, feed: Feed) -> tuple[np.ndarray, np.ndarray]:
        """Return features (N, F) in float32 and classes (N,), or labels (N, K), of a feed."""
        x = torch.cat([self.features(batch).cpu() for batch in chunks(feed, 1024)])
        return x.numpy(), feed.labels.cpu().numpy()


class FeatureProbe(LinearProbe):
    """A linear probe on features that lie ready, in the field `image_features` of its batches.

    Args:
        owner: the method whose classes are told apart.
        width: F of the features.
    """

    def __init__(self, owner: Classifier, width: int) -> None:
        self._width = width
        super().__init__(owner.backbone, LinearProbeConfig(), owner.prompts)
        self.bind(owner.trained_classes)

    @property
    def width(self) -> int:
        """Width F of the features."""
        return self._width


def _questions(y: np.ndarray) -> list[np.ndarray]:
    """Return what there is to tell, each as classes (N,): the classes (N,), or of labels (N, K) each, 1 and 0."""
    return [y] if y.ndim == 1 else [*y.T.astype(np.int64)]


def _is_settled(asked: np.ndarray) -> bool:
    """Return whether all images are of one class."""
    return len(np.unique(asked)) == 1


def _fewest(asked: np.ndarray) -> int:
    """Return how many images the rarest class has, of those that have any."""
    return int(np.unique(asked, return_counts=True)[1].min())


def _as_labels(fits: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (K, E) and biases (K,) of labels from those of two classes each, without it and with it."""
    biases = np.stack([bias[1] - bias[0] for _, bias in fits]).clip(NEVER, -NEVER)
    return np.stack([weight[1] - weight[0] for weight, _ in fits]), biases


def _folds(y: np.ndarray, folds: int) -> list[np.ndarray]:
    """Return one mask (N,) a fold; the images of each class are dealt round in their order."""
    place = np.zeros(len(y), dtype=int)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        place[rows] = np.arange(len(rows)) % folds
    return [place == fold for fold in range(folds)]


class _Problem:
    """A training part with the part that it is judged on; each strength starts from the solution before it."""

    def __init__(self, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> None:
        self.x, self.y, self.x_val, self.y_val = x, y, x_val, y_val
        self.solver = _solver(SEARCH_ITERATIONS)

    def loss(self, strength: float) -> float:
        """Return the total log loss on the second part."""
        _solve(self.solver, self.x, self.y, strength)
        place = np.searchsorted(self.solver.classes_, self.y_val)
        probability = self.solver.predict_proba(self.x_val)[np.arange(len(place)), place]
        return -float(np.log(probability.clip(min=1e-12)).sum())


def _best_strength(problems: list[_Problem]) -> float:
    """Walk the grid from strong to weak regularisation; the walk ends when the loss has risen twice in a row.

    The weakly regularised end is by far the slowest to solve and lies behind the minimum.
    """
    losses: list[float] = []
    for strength in GRID:
        losses.append(sum(problem.loss(strength) for problem in problems))
        if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
            break
    return GRID[int(np.argmin(losses))]


def _solver(max_iter: int) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=max_iter, warm_start=True)


def _solve(solver: LogisticRegression, x: np.ndarray, y: np.ndarray, strength: float) -> None:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished search still ranks the strengths
        warnings.simplefilter("ignore", UserWarning)  # one shot of many classes looks like regression to scikit-learn
        solver.set_params(C=strength).fit(x, y)


def _fit(x: np.ndarray, y: np.ndarray, strength: float, classes: int, max_iter: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (C, E) and biases (C,); a class without training images is never predicted."""
    present = np.unique(y)
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, NEVER)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    solver = _solver(max_iter)
    _solve(solver, x, y, strength)
    if len(present) == 2:  # scikit-learn keeps one vector for two classes
        weight[present[1]], bias[present] = solver.coef_[0], (0.0, solver.intercept_[0])
    else:
        weight[present], bias[present] = solver.coef_, solver.intercept_
    return weight, bias
