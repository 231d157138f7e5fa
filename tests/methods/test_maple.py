from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.helpers.methods import LONG, make, whole
from tests.helpers.plain_prompts import plain_logits
from tests.helpers.tensors import close


@pytest.mark.one_family
@pytest.mark.parametrize("depth", [1, 2, 9])
@pytest.mark.parametrize("start", ["a photo of a", None])
def test_loss_and_gradient_equal_the_plain_way(world, depth, start):
    method = make(world, "maple", LONG, depth=depth, context_init=start)
    layers = min(depth, 3)
    for parameter in method.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    batch = whole(world.train)
    copies = {name: value.detach().clone().requires_grad_() for name, value in method.named_parameters()}
    text = list(copies["text"])
    vision = [  # V_l = W_l P_l + b_l, token by token
        torch.stack([copies[f"couplings.{i}.weight"] @ token + copies[f"couplings.{i}.bias"] for token in text[i]])
        for i in range(layers)
    ]
    expected = plain_logits(world, LONG, batch.pixels, text, vision, start=start or "a a")
    close(method.logits(batch), expected)
    loss, reference = method.loss(batch)["cross_entropy"], F.cross_entropy(expected, batch.labels)
    close(loss, reference)
    ours = torch.autograd.grad(loss, list(method.parameters()))
    theirs = torch.autograd.grad(reference, list(copies.values()))
    assert len(ours) == 1 + 2 * layers
    for own, other in zip(ours, theirs, strict=True):
        close(own, other, 1e-4)
        assert other.abs().max() > 1e-5


def test_number_of_learned_parameters(world):
    """J (n D + (D + 1) Dv)."""
    text, vision = world.backbone.text_width, world.backbone.vision_width
    assert make(world, "maple").learned_parameters() == 3 * (2 * text + (text + 1) * vision)
    assert make(world, "maple", depth=1, prompt_tokens=4).learned_parameters() == 4 * text + (text + 1) * vision


def test_couplings_start_as_released(world):
    """Torch's default draw; the deeper ones are copies of one, and learn apart."""
    method = make(world, "maple")
    first, second, third = method.couplings
    bound = world.backbone.text_width**-0.5
    assert 0.9 * bound < first.weight.abs().max() <= bound
    assert torch.equal(second.weight, third.weight)
    assert not torch.equal(first.weight, second.weight)
    method.loss(whole(world.train))["cross_entropy"].backward()
    assert not torch.equal(second.weight.grad, third.weight.grad)


def test_image_prompts_follow_the_text_prompts(world):
    """Their only gradient is through the text prompts and the couplings: nothing else is learned."""
    method = make(world, "maple")
    before = method.image_directions(whole(world.test)).detach()
    method.text.data += 1.0
    assert not torch.allclose(method.image_directions(whole(world.test)), before, atol=1e-3)


def test_without_couplings_and_deep_prompts_the_text_is_zero_shot(world):
    """The words of the template give the directions of zero-shot; image prompts are tokens and never nothing."""
    method = make(world, "maple", LONG, depth=1).eval()
    expected = make(world, "zero-shot", LONG).eval()
    with torch.no_grad():
        close(method.class_weights(), expected.class_weights())
