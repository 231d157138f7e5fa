from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.prompts import PromptSet
from tests.helpers.methods import CLASSES, make, text_runs, whole
from tests.helpers.plain_prompts import plain_logits
from tests.helpers.tensors import close


@pytest.mark.parametrize("depth", [1, 2, 12])
def test_loss_and_gradient_equal_the_plain_way(world, depth):
    method = make(world, "vpt", prompts=PromptSet("natural", template="a photo of a {}."), depth=depth)
    method.vision.data += torch.randn_like(method.vision)
    vision = method.vision.detach().clone().requires_grad_()
    batch = whole(world.train)
    expected = plain_logits(world, CLASSES, batch.pixels, vision=vision)
    close(method.logits(batch), expected)
    loss, reference = method.loss(batch)["cross_entropy"], F.cross_entropy(expected, batch.labels)
    close(loss, reference)
    theirs = torch.autograd.grad(reference, vision)[0]
    close(torch.autograd.grad(loss, method.vision)[0], theirs, 1e-4)
    assert theirs.abs().amax(dim=(1, 2)).min() > 1e-5


def test_no_layers_with_prompts_is_zero_shot(world):
    method = make(world, "vpt", depth=0)
    with torch.no_grad():
        expected = make(world, "zero-shot").eval().logits(whole(world.test))
        close(method.eval().logits(whole(world.test)), expected)
    assert method.learned_parameters() == 0


def test_number_of_learned_parameters(world):
    width = world.backbone.vision_width
    assert make(world, "vpt").learned_parameters() == 3 * 8 * width
    assert make(world, "vpt", depth=1, prompt_tokens=50).learned_parameters() == 50 * width


def test_the_frozen_text_is_encoded_once(world):
    runs, stop = text_runs(world)
    method = make(world, "vpt")
    for _ in range(2):
        method.loss(world.train.batch(torch.arange(2)))["cross_entropy"].backward()
    stop()
    assert len(runs) == 1
    assert "templates" not in method.learned_state()
