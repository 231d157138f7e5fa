"""Memory of domain-conditioned prompts: what bounds it changes no logit and no gradient."""

from __future__ import annotations

import pytest
import torch

from acclimate.methods.parts import scores
from acclimate.training.batch import Batch
from tests.helpers.methods import make
from tests.helpers.tensors import close

BATCH = 5


def start(world, name, **settings):
    """A method whose every learned tensor is away from zero, and a batch."""
    method = make(world, name, **settings)
    torch.manual_seed(1)
    for weight in method.parameters():
        weight.data.add_(torch.randn_like(weight) * 0.1)
    feed = world.train.batch(torch.arange(BATCH))
    return method, Batch(pixels=feed.pixels, domain_features=feed.domain_features, labels=torch.arange(BATCH) % 3)


def logits_of(method, batch):
    torch.manual_seed(2)  # for the noise of the released variant
    return method.logits(batch)


def count_at_once(method, monkeypatch):
    """Record how many images' prompts reach the text tower at once: a list that grows."""
    seen, encode = [], method.backbone.encode_context

    def watched(context, *args, **how):
        seen.append(len(context) if context.ndim == 3 else 0)
        return encode(context, *args, **how)

    monkeypatch.setattr(method.backbone, "encode_context", watched)
    return seen


@pytest.mark.parametrize(("name", "variant"), [("gdpl", "corrected"), ("gdpl", "released"), ("dcpl", "released")])
def test_chunks_of_images_change_nothing(world, monkeypatch, name, variant):
    method, batch = start(world, name, variant=variant)
    method.eval()
    whole = logits_of(method, batch)
    seen = count_at_once(method, monkeypatch)
    for pairs, expected in ((1, [1] * BATCH), (6, [2, 2, 1]), (15, [BATCH])):
        monkeypatch.setattr(scores, "PAIRS", pairs)
        seen.clear()
        close(logits_of(method, batch), whole)
        assert seen == expected


def test_chunks_of_images_change_no_gradient(world, monkeypatch):
    method, batch = start(world, "gdpl", conditioning="deep", low_rank="relation")
    gradients = []
    for pairs in (scores.PAIRS, 3):
        monkeypatch.setattr(scores, "PAIRS", pairs)
        method.zero_grad()
        method.loss(batch)["cross_entropy"].backward()
        gradients.append([weight.grad.clone() for weight in method.parameters()])
    for one, other in zip(*gradients, strict=True):
        close(one, other, 1e-4)


@pytest.mark.parametrize("name", ["gdpl", "dcpl"])
def test_checkpoint_keeps_loss_and_gradients_and_less_memory(world, name):
    results = []
    for checkpoint in (False, True):
        method, batch = start(world, name, checkpoint=checkpoint)
        kept = 0

        def pack(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = method.loss(batch)["cross_entropy"]
        loss.backward()
        results.append((loss.detach(), [weight.grad for weight in method.parameters()], kept))
    (loss, gradients, kept), (again, recomputed, less) = results
    close(again, loss)
    for one, other in zip(recomputed, gradients, strict=True):
        close(one, other)
    assert less < kept


def test_prompts_for_all_images_are_encoded_once(world, monkeypatch):
    method, batch = start(world, "dplq", conditioning="none")
    method.eval()
    seen = count_at_once(method, monkeypatch)
    close(method.logits(batch), method.logits(batch))
    assert seen == [0]
