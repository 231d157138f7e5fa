from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.prompts import PromptSet
from tests.helpers.methods import CLASSES, LONG, make, whole
from tests.helpers.plain_prompts import plain_logits
from tests.helpers.tensors import close


@pytest.mark.one_family
@pytest.mark.parametrize(("text_depth", "vision_depth"), [(12, 12), (2, 1), (1, 3), (3, 0)])
@pytest.mark.parametrize("start", ["a photo of a", None])
def test_loss_and_gradient_equal_the_plain_way(world, text_depth, vision_depth, start):
    depths = {"text_depth": text_depth, "vision_depth": vision_depth}
    method = make(world, "ivlp", LONG, context_init=start, vision_tokens=3, **depths)
    for parameter in method.parameters():  # far from the start, so that every layer matters
        parameter.data += torch.randn_like(parameter)
    batch = whole(world.train)
    copies = [parameter.detach().clone().requires_grad_() for parameter in method.parameters()]
    expected = plain_logits(world, LONG, batch.pixels, *copies, start=start or "a a")
    close(method.logits(batch), expected)
    loss = method.loss(batch)["cross_entropy"]
    reference = F.cross_entropy(expected, batch.labels)
    close(loss, reference)
    ours, theirs = torch.autograd.grad(loss, list(method.parameters())), torch.autograd.grad(reference, copies)
    for own, other in zip(ours, theirs, strict=True):
        close(own, other, 1e-4)
        assert other.abs().amax(dim=(1, 2)).min() > 1e-5  # every layer's prompts reach the loss


@pytest.mark.parametrize("classes", [CLASSES, LONG])
def test_the_words_of_the_template_without_deep_and_image_prompts_are_zero_shot(world, classes):
    method = make(world, "ivlp", classes, text_depth=1, vision_depth=0).eval()
    assert list(method.learned_state()) == ["text"]
    expected = make(world, "zero-shot", classes, PromptSet("natural", template="a photo of a {}.")).eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), expected.logits(whole(world.test)))


def test_number_of_learned_parameters(world):
    text, vision = world.backbone.text_width, world.backbone.vision_width
    assert make(world, "ivlp").learned_parameters() == 2 * 3 * (text + vision)
    method = make(world, "ivlp", text_tokens=4, text_depth=2, vision_tokens=5, vision_depth=1)
    assert method.learned_parameters() == 4 * 2 * text + 5 * vision


def test_text_prompts_are_always_learned(world):
    with pytest.raises(ConfigError, match="text_depth=0 is out of range"):
        make(world, "ivlp", text_depth=0)
