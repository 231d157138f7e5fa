from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import BackboneError, ConfigError
from acclimate.methods import TrainingFacts
from acclimate.prompts import PromptSet
from tests.helpers import plain
from tests.helpers.methods import CLASSES, LONG, UNSEEN, make, whole
from tests.helpers.tensors import close

POSITIONS = ["end", "middle", "front"]


def padded_logits(world, method, batch, context):
    """Logits the plain way: every class at full length through transformers' own layers."""
    backbone, model = world.backbone, world.plain
    names = backbone.class_tokens(list(method.class_names))
    each = context if context.ndim == 3 else context.expand(len(names), -1, -1)
    sequences, pool, _ = plain.context_sequences(backbone, model, each, names, method.config.class_position)
    assert sequences.shape[1] == backbone.context_length
    classes = F.normalize(plain.text_features(model, sequences, pool), dim=-1)
    images = F.normalize(batch.image_features, dim=-1)
    logits = model.logit_scale.exp() * images @ classes.T
    return logits + model.logit_bias if hasattr(model, "logit_bias") else logits


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("specific", [False, True])
def test_loss_and_gradient_equal_the_padded_way(world, position, specific):
    method = make(world, "coop", LONG, context_tokens=4, class_position=position, class_specific=specific)
    batch = whole(world.train)
    loss = method.loss(batch)["cross_entropy"]
    context = method.context.detach().clone().requires_grad_()
    expected = F.cross_entropy(padded_logits(world, method, batch, context), batch.labels)
    close(loss, expected)
    ours, theirs = torch.autograd.grad(loss, method.context)[0], torch.autograd.grad(expected, context)[0]
    close(ours, theirs, 1e-4)
    assert theirs.abs().max() > 1e-3


@pytest.mark.parametrize("classes", [CLASSES, LONG])
def test_starting_from_the_words_of_a_template_is_zero_shot(world, classes):
    method = make(world, "coop", classes, context_init="a photo of a")
    assert method.context.shape == (4, world.backbone.text_width)
    expected = make(world, "zero-shot", classes, PromptSet("natural", template="a photo of a {}."))
    with torch.no_grad():
        close(method.eval().logits(whole(world.test)), expected.eval().logits(whole(world.test)), 1e-4)


def test_starting_from_the_domain_template(world):
    prompts = PromptSet("natural", template="large dog of {}.")
    method = make(world, "coop", prompts=prompts, context_init="template")
    close(method.context.detach(), world.backbone.word_embeddings("large dog of"))


def test_number_of_learned_parameters(world):
    width = world.backbone.text_width
    assert make(world, "coop", context_tokens=16).learned_parameters() == 16 * width
    assert make(world, "coop", context_tokens=4).learned_parameters() == 4 * width
    assert make(world, "coop", class_specific=True).learned_parameters() == 3 * 16 * width


def test_initial_context_is_small_noise(world):
    context = make(world, "coop", [f"class {letter}" for letter in "abcdefgh"], class_specific=True).context.detach()
    assert abs(float(context.mean())) < 0.002
    assert float(context.std()) == pytest.approx(0.02, rel=0.1)
    assert not torch.allclose(context[0], context[1])


def test_every_class_has_a_context_of_its_own(world):
    method = make(world, "coop", context_tokens=4, class_specific=True, context_init="a photo of a")
    assert torch.equal(method.context[0], method.context[1])
    rows = method.class_directions()
    gradient = torch.autograd.grad(rows[1].sum(), method.context)[0]
    assert gradient[1].abs().max() > 0
    assert not gradient[[0, 2]].any()


def test_a_class_specific_context_serves_no_other_classes(world):
    method = make(world, "coop", class_specific=True, context_tokens=4)
    with pytest.raises(ConfigError, match="use class_specific=false to serve new classes"):
        method.bind(UNSEEN)
    method.bind(CLASSES)


def test_class_positions_differ(world):
    found = [make(world, "coop", context_tokens=4, class_position=place).class_directions() for place in POSITIONS]
    assert not torch.allclose(found[0], found[1], atol=1e-4)
    assert not torch.allclose(found[1], found[2], atol=1e-4)


def test_published_number_of_epochs(world):
    def epochs(shots, **settings):
        return make(world, "coop", **settings).stages(TrainingFacts(9, shots))[0].epochs

    assert [epochs(shots) for shots in (1, 2, 4, 8, 16, 100)] == [50, 100, 100, 200, 200, 200]
    assert epochs(16, epochs=7) == 7


def test_only_the_context_is_learned(world):
    method = make(world, "coop", context_tokens=4)
    (stage,) = method.stages(TrainingFacts(9, 3))
    assert [tuple(parameter.shape) for parameter in stage.parameters] == [(4, world.backbone.text_width)]
    assert list(method.learned_state()) == ["context"]


def test_directions_follow_the_context(world):
    """What is kept for evaluation is dropped as soon as the context may have changed."""
    method = make(world, "coop", context_tokens=4).eval()
    with torch.no_grad():
        first = method.logits(whole(world.test))
        method.train()
        method.context *= -20.0
        method.eval()
        second = method.logits(whole(world.test))
        method.load_learned_state({"context": method.context.detach() / -20.0})
        third = method.logits(whole(world.test))
    assert not torch.allclose(first, second, atol=1e-2)
    close(third, first, 1e-4)


def test_more_context_than_the_tower_has_room_for(world):
    with pytest.raises(BackboneError, match="context"):
        make(world, "coop", context_tokens=40).class_directions()
