from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from acclimate.methods.lp_plus_plus import Blend
from acclimate.training.stages import SolverStage
from tests.helpers.methods import CLASSES, FACTS, learn, make, whole, without
from tests.helpers.plain_heads import loop_loss, text_features
from tests.helpers.tensors import close


def problem(seed=0, images=24, width=10, classes=4, scale=20.0):
    """Images around class means, half of which the text describes badly; of every class there is one."""
    torch.manual_seed(seed)
    y = torch.cat([torch.arange(classes), torch.randint(classes, (images - classes,))])
    means = torch.randn(classes, width, dtype=torch.float64)
    text = F.normalize(means + torch.randn_like(means), dim=-1)
    x = F.normalize(means[y] + torch.randn(images, width, dtype=torch.float64), dim=-1)
    return Blend(x, y, text, scale)


def plain_loss(blend, w, alpha):
    """The cross-entropy, one image and one class at a time."""
    rows = [torch.stack([x @ (w[c] + alpha[c] * t) for c, t in enumerate(blend.text)]) for x in blend.x]
    return loop_loss(torch.stack(rows), blend.y)


def test_start_in_loops():
    blend = problem()
    for c in range(4):
        own = [x for x, y in zip(blend.x, blend.y, strict=True) if int(y) == c]
        close(blend.w[c], sum(own) / len(own))
    cosines = [torch.stack([x @ t for x, y in zip(blend.x, blend.y, strict=True) if int(y) == c]).mean()
               for c, t in enumerate(blend.text)]  # fmt: skip
    close(blend.alpha, (2.5 * 20.0 * sum(cosines) / 4).expand(4))
    close(blend.loss(), plain_loss(blend, blend.w, blend.alpha))


def test_a_step_of_each_block_is_the_gradient_by_the_bound():
    blend = problem()
    blend.majorise(3)
    w, alpha = blend.w.clone().requires_grad_(), blend.alpha.clone()
    of_w, of_alpha = blend.curvatures()
    (by_w,) = torch.autograd.grad(plain_loss(blend, w, alpha), w)
    moved = w.detach() - by_w / of_w
    alpha.requires_grad_()
    (by_alpha,) = torch.autograd.grad(plain_loss(blend, moved, alpha), alpha)
    blend.majorise(1)
    close(blend.w, moved, 1e-9)
    close(blend.alpha, alpha.detach() - by_alpha / of_alpha, 1e-9)
    assert by_w.abs().max() > 1e-3
    assert by_alpha.abs().max() > 1e-5


def test_bounds_are_those_of_the_second_derivatives():
    """By autograd: no second derivative along w, or by the multipliers, is larger anywhere."""
    blend = problem(images=12, width=5, classes=3)
    of_w, of_alpha = blend.curvatures()
    close(of_w, torch.linalg.eigvalsh(blend.x.T @ blend.x)[-1] / 24)
    for _ in range(5):
        w, alpha = torch.randn_like(blend.w), torch.randn_like(blend.alpha)
        hessian = torch.autograd.functional.hessian(lambda w, a=alpha: plain_loss(blend, w.view(3, 5), a), w.flatten())
        assert torch.linalg.eigvalsh(hessian)[-1] <= of_w
        hessian = torch.autograd.functional.hessian(lambda a, w=w: plain_loss(blend, w, a), alpha)
        assert torch.linalg.eigvalsh(torch.diag(of_alpha) - hessian)[0] >= 0  # the bound lies above in all directions


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 30), st.integers(2, 40), st.floats(1, 200))
def test_the_quadratic_lies_above_the_loss(seed, images, width, scale):
    blend = problem(seed, images, width, scale=scale)
    of_w, of_alpha = blend.curvatures()
    before, residuals = blend.loss(), blend.residuals()
    by_w, by_alpha = residuals.T @ blend.x, (residuals * blend.cosines).sum(0)
    w, alpha = blend.w, blend.alpha
    step = torch.randn_like(w) * 3
    blend.w = w + step
    assert blend.loss() <= before + (by_w * step).sum() + of_w / 2 * step.square().sum() + 1e-9
    step = torch.randn_like(alpha) * 10
    blend.w, blend.alpha = w, alpha + step
    assert blend.loss() <= before + (by_alpha * step).sum() + (of_alpha * step.square()).sum() / 2 + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 30), st.integers(2, 40), st.floats(1, 200))
def test_the_loss_never_rises(seed, images, width, scale):
    blend = problem(seed, images, width, scale=scale)
    losses = [float(blend.loss())]
    for _ in range(20):
        blend.majorise(1)
        losses.append(float(blend.loss()))
    assert all(after <= before + 1e-12 for before, after in pairwise(losses))
    assert losses[-1] < losses[0] or losses[0] < 1e-6


def test_steps_as_released_in_loops():
    """Momentum on w and b; every tenth step the multipliers, by the sum of all gradients so far."""
    ours, plain = problem(), problem()
    ours.as_released(23)
    n = len(plain.y)
    w, alpha, bias = plain.w.clone(), plain.alpha.clone(), torch.zeros(4, dtype=torch.float64)
    optimizer = torch.optim.SGD([w.requires_grad_(), bias.requires_grad_()], momentum=0.9,
                                lr=float(4 * n / torch.linalg.eigvalsh(plain.x.T @ plain.x)[-1]))  # fmt: skip
    alpha.requires_grad_()
    rate = n / (4 * max(sum((x @ t) ** 2 for x in plain.x) for t in plain.text))
    for step in range(1, 24):
        optimizer.zero_grad()
        F.cross_entropy(plain.x @ w.T + alpha * (plain.x @ plain.text.T) + bias, plain.y).backward()
        optimizer.step()
        if step % 10 == 0:
            with torch.no_grad():
                alpha -= rate * alpha.grad
    for mine, other in ((ours.w, w), (ours.alpha, alpha), (ours.bias, bias)):
        close(mine, other.detach(), 1e-8)


@pytest.mark.parametrize("missing", [None, 1])
@pytest.mark.parametrize("variant", ["corrected", "released"])
def test_the_method_is_the_blend_of_its_own_text_and_images(world, variant, missing):
    small = world if missing is None else without(world, missing)
    method = make(small, "lp++", steps=7, variant=variant)
    (line,) = learn(small, method, FACTS)
    batch, rows = whole(small.train), [row for row in range(3) if row != missing]
    text = text_features(world, [f"a photo of a {name}." for name in CLASSES])[rows].double()
    y = torch.tensor([rows.index(int(label)) for label in batch.labels])
    blend = Blend(F.normalize(batch.image_features, dim=-1).double(), y, text, world.backbone.logit_scale)
    first = float(blend.loss())
    (blend.majorise if variant == "corrected" else blend.as_released)(7)
    test = F.normalize(whole(world.test).image_features, dim=-1)
    expected = test @ blend.directions.float().T + blend.bias.float()
    with torch.no_grad():
        logits = method.logits(whole(world.test))
    close(logits[:, rows], expected, 1e-3)
    assert missing is None or (logits[:, missing] < -1000).all()
    assert line["first_loss"] == pytest.approx(first, rel=1e-4)
    assert line["loss"] == pytest.approx(float(blend.loss()), rel=1e-3)
    assert line["least_multiplier"] <= line["largest_multiplier"]


def test_one_class_alone(world):
    small = without(without(world, 0), 1)
    method = make(small, "lp++")
    learn(small, method, FACTS)
    with torch.no_grad():
        assert (method.logits(whole(world.test)).argmax(-1) == 2).all()


def test_what_is_learned(world):
    (stage,) = make(world, "lp++").stages(FACTS)
    assert isinstance(stage, SolverStage)
    assert list(make(world, "lp++").learned_state()) == ["weight"]
    assert sorted(make(world, "lp++", variant="released").learned_state()) == ["bias", "weight"]
    one, other = (make(world, "lp++", ensemble=ensemble) for ensemble in (False, True))
    learn(world, one, FACTS)
    learn(world, other, FACTS)
    assert (one.weight - other.weight).abs().max() > 1e-3
