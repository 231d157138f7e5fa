"""Kernel ridge regression in closed form, with exact leave-one-out scores; see `acclimate.methods.kernel_ridge`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.parts.kernels import kernel_of, squared_distances, usual_distance

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # beta in inverse median squared distances, that are tried
STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # of the regularisation, that are tried
STEPS = 4  # a mix is made of shares of a quarter
TEMPERATURES = tuple(0.01 * 1.25**step for step in range(30))  # 0.01 ... 6.5
USUAL_WIDTH, USUAL_STRENGTH, USUAL_TEMPERATURE = 0.5, 0.1, 0.3  # where nothing tells that others are better
CERTAINTY = 2.0  # standard errors by which others must be better ...
NOTICEABLE = 0.01  # ... and nats: where nothing is learned, all losses are alike, and so are their differences
CHOSEN_ON = 1000  # points that settings are chosen on; an eigendecomposition of more takes seconds
CENTRES = 5000  # points that a regression stands on; with more, the others are learned from through these


@dataclass(frozen=True)
class Targets:
    """What a regression is to give for each of its training points.

    Attributes:
        values: (N, C) y.
        base: (N, C) f0, from which the regression goes on.
        weights: (N,) w, which count a point.
        judged: (N,) which points have another one of their class, so that leaving them out tells something.
        apart: whether columns are labels, each of which a point has or has not, and not classes, of which it has one.
    """

    values: Tensor
    base: Tensor
    weights: Tensor
    judged: Tensor
    apart: bool = False

    def take(self, rows: Tensor) -> Targets:
        """Return those of some points."""
        return Targets(self.values[rows], self.base[rows], self.weights[rows], self.judged[rows], self.apart)


@dataclass(frozen=True)
class Solution:
    """A regression, and what it says of each training point when it has not learned from it.

    Attributes:
        strength: lambda.
        coefficients: (N, C) a.
        left_out: (N, C) what the regression without a point, everything else as it is, gives for it.
    """

    strength: float
    coefficients: Tensor
    left_out: Tensor


@dataclass(frozen=True)
class Choice:
    """Settings of a regression.

    Attributes:
        betas: of each kernel exp(-beta |x - y|^2).
        shares: of each kernel in their sum.
        strength: lambda.
        rule: "leave-one-out", or "usual" where nothing tells that other settings than the usual ones are better.
    """

    betas: tuple[float, ...]
    shares: tuple[float, ...]
    strength: float
    rule: str = "usual"


def make_targets(values: Tensor, base: Tensor) -> Targets:
    """Return targets in which every class counts as much as any other.

    w_i = sum_c y_ic N / (C N_c), over the C classes that have points.

    Args:
        values: (N, C) y, rows that sum to 1.
        base: (N, C) f0.
    """
    counts = values.sum(0)
    present = counts > 0
    share = torch.where(present, len(values) / (present.sum() * counts.clamp(min=1e-12)), 0.0)
    alone = (values > 0).sum(0) < 2
    judged = ~((values > 0) & alone).any(-1) & (present.sum() > 1)
    return Targets(values, base, (values * share).sum(-1), judged)


def uniform_targets(values: Tensor) -> Targets:
    """Return targets y (N, C) of a regression that goes on from the same score for every class."""
    return make_targets(values, torch.full_like(values, 1.0 / values.shape[1]))


def label_targets(values: Tensor) -> Targets:
    """Return targets y (N, K) of a regression onto labels, which goes on from the share of the points that have each.

    Every point counts the same, so that one solution serves all labels. The share is (N_k + 1/2) / (N + 1).
    """
    prior = (values.sum(0) + 0.5) / (len(values) + 1)
    judged = torch.full((len(values),), len(values) > 1)
    return Targets(values, prior.expand_as(values), torch.ones_like(values[:, 0]), judged, apart=True)


def label_logits(scores: Tensor, base: Tensor, temperature: Tensor | float) -> Tensor:
    """Return logit(f0) + (f - f0) / T (N, K): of a regression that says nothing, the share of the points."""
    return torch.logit(base) + (scores - base) / temperature


def solutions(kernel: Tensor, targets: Targets, strengths: Sequence[float]) -> Iterator[Solution]:
    """Yield for each strength what minimises sum_i w_i |y_i - f(x_i)|^2 + lambda |f - f0|^2.

    f(x) = f0(x) + sum_i k(x, x_i) a_i with a = (K + lambda W^-1)^-1 (Y - f0). With G that inverse, the regression
    without point i is off by a_i / G_ii there, exactly. One eigendecomposition of W^1/2 K W^1/2 serves all strengths.

    Args:
        kernel: (N, N) K.
        targets: of the points.
        strengths: lambda, each above 0.
    """
    root = targets.weights.sqrt()[:, None]
    values, vectors = torch.linalg.eigh(root * kernel * root.T)
    values, turned = values.clamp(min=0.0), vectors.T @ (root * (targets.values - targets.base))
    for strength in strengths:
        found = vectors @ (turned / (values + strength)[:, None])  # W^-1/2 a
        own = (vectors**2 @ (1.0 / (values + strength)))[:, None]  # G_ii / w_i
        yield Solution(strength, root * found, targets.values - found / (root * own))


def solve(kernel: Tensor, targets: Targets, strength: float, together: Iterable[Tensor] = ()) -> Solution:
    """Return the solution of one strength, see `solutions`; the quicker way where there is one.

    Args:
        kernel, targets, strength: as there.
        together: rows (M,) of points that are left out as one, such as images of a patient: the regression without
            rows g is off there by (G_gg)^-1 a_g, exactly.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel + torch.diag(strength / targets.weights)))
    coefficients = inverse @ (targets.values - targets.base)
    left_out = targets.values - coefficients / inverse.diagonal()[:, None]
    for rows in together:
        off = torch.linalg.solve(inverse[rows][:, rows], coefficients[rows])
        left_out[rows] = targets.values[rows] - off
    return Solution(strength, coefficients, left_out)


def solve_through(centres: Sequence[Tensor], points: Sequence[Tensor], targets: Targets, choice: Choice) -> Tensor:
    """Return coefficients (M, C) of M centres that minimise what `solutions` do, over all points.

    f(x) = f0(x) + sum_m k(x, c_m) a_m with (K_mn W K_nm + lambda K_mm) a = K_mn W (Y - f0): the subset of regressors.

    Args:
        centres: (M, F_k) in several spaces k.
        points: (N, F_k), of which the centres are some.
        targets: of the points.
        choice: the settings.
    """
    own = kernel_of(centres, centres, choice.betas, choice.shares)
    left = choice.strength * own + 1e-8 * torch.eye(len(own), dtype=own.dtype)
    right = own.new_zeros(len(own), targets.values.shape[1])
    for rows in torch.arange(len(targets.values)).split(CHOSEN_ON):
        some = kernel_of([space[rows] for space in points], centres, choice.betas, choice.shares)
        weighted = targets.weights[rows, None] * some
        left += some.T @ weighted
        right += weighted.T @ (targets.values[rows] - targets.base[rows])
    return torch.cholesky_solve(right, torch.linalg.cholesky(left))


def judge(left_out: Tensor, targets: Targets) -> tuple[Tensor, float]:
    """Return the weighted log loss (J,) of softmax(f / T) on what is judged, at the T where it is least, and that T.

    Of labels, the sum of their log losses, see `label_logits`.

    A log loss at its own T does not mind how large the scores are, which squared errors do: with a few images a class,
    these are least where all scores are those of the base.

    Args:
        left_out: (N, C) f.
        targets: of the points.
    """
    if not targets.judged.any():
        return left_out.new_zeros(0), USUAL_TEMPERATURE
    scores, known = left_out[targets.judged], targets.take(targets.judged)
    losses = torch.stack([known.weights * _losses(scores, known, one) for one in TEMPERATURES])
    best = int(losses.mean(-1).argmin())
    return losses[best], TEMPERATURES[best]


def _losses(scores: Tensor, targets: Targets, temperature: float) -> Tensor:
    """Return the log loss (N,) of scores f (N, C) at a temperature."""
    if targets.apart:
        logits = label_logits(scores, targets.base, temperature)
        return F.binary_cross_entropy_with_logits(logits, targets.values, reduction="none").sum(-1)
    return -(targets.values * (scores / temperature).log_softmax(-1)).sum(-1)


def usual_settings(points: Sequence[Tensor], shares: Sequence[float]) -> Choice:
    """Return the usual settings for points (N, F_k) in several spaces k, whose kernels have these shares."""
    return usual_choice([usual_distance(squared_distances(some, some)) for some in points], shares)


def usual_choice(medians: Sequence[float], shares: Sequence[float]) -> Choice:
    """Return the usual settings of kernels with these median squared distances and shares."""
    return Choice(tuple(USUAL_WIDTH / median for median in medians), tuple(shares), USUAL_STRENGTH)


def mixes(kernels: int) -> Iterator[tuple[float, ...]]:
    """Yield every way to share 1 among some kernels in quarters, the most even ones first."""
    shares = [some for some in product(range(STEPS + 1), repeat=kernels) if sum(some) == STEPS]
    for some in sorted(shares, key=lambda some: sum(share**2 for share in some)):
        yield tuple(share / STEPS for share in some)


def choose(points: Sequence[Tensor], targets: Targets, usual: Sequence[float]) -> Choice:
    """Choose widths, shares and strength by leave-one-out.

    First a width for each kernel alone, then the shares of all; each time with the strength that has the least log
    loss. The usual settings, beta = 1 / (2 median), lambda = 0.1 and given shares, stay unless what is found so is
    better by two standard errors of the difference, and by 0.01. Of many points, some of every class are judged.

    Args:
        points: (N, F_k) in several spaces k.
        targets: of the points.
        usual: shares of the kernels.
    """
    if len(targets.values) > CHOSEN_ON:
        rows = spread_out(targets.values.argmax(-1), CHOSEN_ON)
        points, targets = [some[rows] for some in points], targets.take(rows)
    squares = [squared_distances(some, some) for some in points]
    medians = [usual_distance(square) for square in squares]
    plain = usual_choice(medians, usual)
    if not targets.judged.any():
        return plain
    betas, kernels = [], []
    for square, median in zip(squares, medians, strict=True):
        tried = [(torch.exp(-width / median * square), width / median) for width in WIDTHS]
        kernel, beta = min(tried, key=lambda one: float(_least(one[0], targets)[0].mean()))
        betas.append(beta)
        kernels.append(kernel)
    found: list[tuple[Tensor, Choice]] = []
    for shares in mixes(len(kernels)):
        mix = torch.stack([share * one for share, one in zip(shares, kernels, strict=True)]).sum(0)
        losses, strength = _least(mix, targets)
        found.append((losses, Choice(tuple(betas), shares, strength, "leave-one-out")))
    losses, best = min(found, key=lambda one: float(one[0].mean()))
    first = solve(kernel_of(points, points, plain.betas, plain.shares), targets, plain.strength)
    gain = judge(first.left_out, targets)[0] - losses
    needed = max(NOTICEABLE, CERTAINTY * float(gain.std()) / len(gain) ** 0.5)
    return best if float(gain.mean()) > needed else plain


def _least(kernel: Tensor, targets: Targets) -> tuple[Tensor, float]:
    """Return the losses (J,) of the strength with the least of them, and that strength; among equals the largest."""
    tried = [
        (judge(one.left_out, targets)[0], one.strength)
        for one in solutions(kernel, targets, sorted(STRENGTHS, reverse=True))
    ]
    return min(tried, key=lambda one: float(one[0].mean()))


def spread_out(labels: Tensor, count: int) -> Tensor:
    """Return `count` rows or a few less, as many of each class as there are, or as an equal share allows; in order."""
    rows = [(labels == label).nonzero()[:, 0] for label in labels.unique()]
    share = left = count
    for place, some in enumerate(sorted(rows, key=len)):  # what small classes leave, the others have
        share = max(1, left // (len(rows) - place))
        left -= min(len(some), share)
    picked = [some[torch.linspace(0, len(some) - 1, min(len(some), share)).round().long()] for some in rows]
    return torch.cat(picked).sort().values


@dataclass(frozen=True)
class Regression:
    """What `regress` gives.

    Attributes:
        points: (M, F_k) in several spaces k, that it stands on.
        coefficients: (M, C) of these.
        temperature: T of the probabilities softmax(f / T).
    """

    points: list[Tensor]
    coefficients: Tensor
    temperature: float


def regress(points: Sequence[Tensor], targets: Targets, choice: Choice) -> Regression:
    """Return the regression with chosen settings on all points.

    Args:
        points: (N, F_k) in several spaces k.
        targets: of the points.
        choice: the settings.
    """
    labels, through = targets.values.argmax(-1), len(targets.values) > CENTRES
    judged = spread_out(labels, CHOSEN_ON) if through else torch.arange(len(labels))
    some, known = [space[judged] for space in points], targets.take(judged)
    solution = solve(kernel_of(some, some, choice.betas, choice.shares), known, choice.strength)
    found = Regression(some, solution.coefficients, judge(solution.left_out, known)[1])
    if not through:
        return found
    rows = spread_out(labels, CENTRES)
    centres = [space[rows] for space in points]
    return replace(found, points=centres, coefficients=solve_through(centres, points, targets, choice))
