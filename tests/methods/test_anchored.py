from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from acclimate.methods import list_methods
from acclimate.methods.parts import anchored
from acclimate.methods.parts.anchored import anchored_probabilities
from acclimate.tasks.folder import can_adapt
from tests.helpers.methods import CLASSES, make, whole
from tests.helpers.tensors import close


def problem(images=14, classes=4, width=6, present=3):
    """Unit vectors around some of the classes, anchors that lie beside them, and what is said of each alone."""
    torch.manual_seed(0)
    means = torch.randn(classes, width, dtype=torch.float64)
    t = F.normalize(means + 0.5 * torch.randn_like(means), dim=-1)
    x = F.normalize(means[torch.arange(images) % present] + 0.5 * torch.randn(images, width).double(), dim=-1)
    return x, t, (8.0 * x @ t.T).softmax(-1)


def unit(v):
    return v / math.sqrt(float(v @ v))


def plain(x, t, p):
    """The equations, one image, one class and one dimension at a time."""
    n, classes = len(x), len(t)
    near = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        cosines = [(-2.0 if i == j else float(x[i] @ x[j])) for j in range(n)]
        for j in sorted(range(n), key=lambda j: -cosines[j])[: min(3, n - 1)]:
            near[i, j] = max(0.0, cosines[j])
    v0 = sum(p[i, k] * (x[i] - t[k]) ** 2 for i in range(n) for k in range(classes)) / n
    z, mu, v = p.clone(), t.clone(), torch.stack([v0] * classes)
    for _ in range(10):
        for _ in range(5):
            new = torch.zeros_like(z)
            for i in range(n):
                for k in range(classes):
                    density = -0.5 * ((x[i] - mu[k]) ** 2 / v[k] + v[k].log()).sum()
                    agreed = sum((near[i, j] + near[j, i]) * z[j, k] for j in range(n))
                    new[i, k] = p[i, k].log() + (density + 50 / 6 * agreed) / 50
            z = torch.stack([(row - row.max()).exp() / (row - row.max()).exp().sum() for row in new])
        for k in range(classes):
            count = sum(int(row.argmax()) == k for row in z)
            beta, total = count / (count + 1), z[:, k].sum()
            own = unit(sum(z[i, k] * x[i] for i in range(n)) / total)
            mu[k] = unit(beta * own + (1 - beta) * t[k])
            spread = sum(z[i, k] * (x[i] - mu[k]) ** 2 for i in range(n)) / total
            v[k] = beta * spread + (1 - beta) * (v0 + (t[k] - mu[k]) ** 2)
    return z


@pytest.mark.parametrize("images", [1, 2, 9])
def test_equals_the_equations_in_loops(images):
    x, t, p = problem(images)
    found = anchored_probabilities(x, t, p)
    close(found, plain(x, t, p), 1e-9)
    close(found.sum(-1), torch.ones(images, dtype=torch.float64))
    assert images < 9 or (found - p).abs().max() > 0.01


def test_images_are_compared_in_chunks(monkeypatch):
    found = anchored_probabilities(*problem())
    monkeypatch.setattr(anchored, "CHUNK", 5)
    close(anchored_probabilities(*problem()), found)


def test_order_does_not_matter():
    x, t, p = problem()
    order = torch.randperm(len(x))
    close(anchored_probabilities(x[order], t, p[order]), anchored_probabilities(x, t, p)[order])


def test_a_class_that_no_image_is_taken_for_keeps_its_anchor():
    x, t, _ = problem(present=2)
    z = F.one_hot(torch.arange(len(x)) % 2, 4).double()
    first = torch.rand(x.shape[1]).double()
    means, variances = anchored._gaussians(x, t, z, first)
    close(means[2:], t[2:])
    close(variances[2:], first.expand(2, -1))
    assert ((means[:2] - t[:2]).norm(dim=-1) > 0.05).all()


def test_certain_images_stay_what_they_are():
    x, t, p = problem()
    certain = F.one_hot(p.argmax(-1), 4).double()
    close(anchored_probabilities(x, t, certain), certain, 1e-6)


@pytest.mark.parametrize("name", [method.name for method in list_methods() if can_adapt(method)])
def test_methods_that_can_be_adapted_have_directions(worlds, name):
    world = worlds("clip")
    method = make(world, name).eval()
    with torch.no_grad():
        classes, images = method.class_weights(), method.image_directions(whole(world.test))
    assert classes.shape == (len(CLASSES), world.backbone.embed_dim)
    assert images.shape == (len(world.test), world.backbone.embed_dim)
    for vectors in (classes, images):
        close(vectors.norm(dim=-1), torch.ones(len(vectors)))
