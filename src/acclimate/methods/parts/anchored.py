"""StatA: probabilities of images made from all of them together, by a Gaussian for each class that the text anchors."""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 3  # images that each image is compared with
SMOOTHNESS = 50.0  # weight of what neighbours say, and of the prior, against the likelihood
ANCHOR = 1.0  # images that the anchor of a class counts for
ROUNDS = 10  # of probabilities, then Gaussians
INNER = 5  # updates of the probabilities in a round
CHUNK = 1024  # images that are compared with all at once


def anchored_probabilities(images: Tensor, classes: Tensor, prior: Tensor) -> Tensor:
    """Return the probabilities (N, C) of images that are predicted together.

    Lowers by turns, over probabilities z, means mu and variances v (a diagonal for each class),

        - sum_ik z_ik log N(x_i; mu_k, v_k) - S sum_ij a_ij z_i . z_j / (2 n) + S sum_i KL(z_i || p_i)
        + A sum_k KL(N(t_k, v0) || N(mu_k, v_k))

    in 10 rounds of 5 updates of z, then one of the Gaussians,

        z_ik ~ p_ik exp([log N(x_i; mu_k, v_k) + S / (2 n) sum_j (a_ij + a_ji) z_jk] / S),    sum_k z_ik = 1
        beta_k = n_k / (n_k + A)                                 n_k: images whose most probable class is k
        mu_k = norm(beta_k norm(sum_i z_ik x_i / sum_i z_ik) + (1 - beta_k) t_k)
        v_k = beta_k sum_i z_ik (x_i - mu_k)^2 / sum_i z_ik + (1 - beta_k) (v0 + (t_k - mu_k)^2)

    with S = 50, n = 3 neighbours, A = 1. a_ij is the cosine of x_i and x_j, 0 at least, where x_j is one of the
    neighbours of x_i, else 0. Starts from z = p, mu = t and v = v0, the mean of p_ik (x_i - t_k)^2 over images.
    A class that no image is taken for keeps its anchor.
    Source: Zanella et al. 2025 (arXiv 2501.03729), built from its equations; the start is this package's reading.

    Args:
        images: x (N, E), L2-normalised, at least one.
        classes: t (C, E), L2-normalised, the anchors.
        prior: p (N, C), what is said of each image alone.
    """
    x, t, p = images.double(), classes.double(), prior.double()
    first = (p.sum(0) @ t.square() - 2 * ((p.T @ x) * t).sum(0) + p.sum(-1) @ x.square()) / len(x)  # (E,)
    first = first.clamp(min=1e-12)
    log_prior, near = p.clamp(min=1e-300).log(), _neighbours(x)
    z, means, variances = p, t, first.expand_as(t)
    for _ in range(ROUNDS):
        likelihood = _log_density(x, means, variances)
        for _ in range(INNER):
            agreed = SMOOTHNESS / (2 * NEIGHBOURS) * _agreement(near, z)
            z = (log_prior + (likelihood + agreed) / SMOOTHNESS).softmax(-1)
        means, variances = _gaussians(x, t, z, first)
    return z


def _log_density(x: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Return log N(x_i; mu_k, v_k) (N, C), but for what is the same for all."""
    precisions = 1 / variances
    squares = x.square() @ precisions.T - 2 * x @ (means * precisions).T + (means.square() * precisions).sum(-1)
    return -0.5 * (squares + variances.log().sum(-1))


def _gaussians(x: Tensor, t: Tensor, z: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and variances (C, E)."""
    counts = z.argmax(-1).bincount(minlength=len(t)).to(x.dtype)
    beta, total = (counts / (counts + ANCHOR))[:, None], z.sum(0).clamp(min=1e-12)[:, None]
    own = torch.nn.functional.normalize(z.T @ x / total, dim=-1)
    means = torch.nn.functional.normalize(beta * own + (1 - beta) * t, dim=-1)
    spread = (z.T @ x.square() - 2 * (z.T @ x) * means) / total + means.square()
    return means, beta * spread.clamp(min=1e-12) + (1 - beta) * (first + (t - means).square())


def _neighbours(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return which images are nearest to each (N, n), and their cosines, 0 at least."""
    count = min(NEIGHBOURS, len(x) - 1)
    places, cosines = [], []
    for rows in torch.arange(len(x), device=x.device).split(CHUNK):
        found = x[rows] @ x.T
        found[torch.arange(len(rows), device=x.device), rows] = -2.0  # not itself
        nearest, which = found.topk(count, dim=-1)
        places.append(which)
        cosines.append(nearest.clamp(min=0))
    return torch.cat(places), torch.cat(cosines)


def _agreement(near: tuple[Tensor, Tensor], z: Tensor) -> Tensor:
    """Return sum_j (a_ij + a_ji) z_j (N, C)."""
    places, cosines = near
    found = (cosines[..., None] * z[places]).sum(1)
    for place, cosine in zip(places.T, cosines.T, strict=True):
        found = found.index_add(0, place, cosine[:, None] * z)
    return found
