from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPModel, SiglipModel

from acclimate.methods import get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.prompts.references import compose_reference_prompts
from acclimate.training.devices import make_accelerator
from acclimate.training.feeds import join_feeds
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal
from acclimate.training.serving import evaluation_feed, reference_feed
from tests.helpers.pictures import with_domains

NEEDS = frozenset({"pixels", "image_features", "pooled_features", "domain_features"})  # one feed serves every method
CLASSES = ("cat", "dog", "river")
UNSEEN = ("bare land", "storage tank")
DOMAINS = ("day", "night")


@pytest.fixture(scope="session", params=["clip", "siglip"])
def world(request, tiny_backbones, tiny_folders, domain_encoder, pictures):
    """A tiny backbone and a tiny domain encoder with the features of some pictures; the backbone in transformers."""
    backbone = tiny_backbones[request.param]
    pictures = with_domains(pictures, DOMAINS)
    references = compose_reference_prompts(pictures.class_names, PromptSet("natural"))
    train = evaluation_feed(NEEDS, backbone, pictures.train, domain_encoder=domain_encoder)
    kind = CLIPModel if request.param == "clip" else SiglipModel
    return SimpleNamespace(
        backbone=backbone,
        domain_encoder=domain_encoder,
        plain=kind.from_pretrained(tiny_folders[request.param]).eval().requires_grad_(False),
        data=pictures,
        train=join_feeds([train, reference_feed(backbone, references, pictures.train)]),
        val=evaluation_feed(NEEDS, backbone, pictures.val, domain_encoder=domain_encoder),
        test=evaluation_feed(NEEDS, backbone, pictures.test, domain_encoder=domain_encoder),
    )


def make(world, name, classes=CLASSES, prompts=None, seed=0, **settings):
    kind = get_method(name)
    config = make_config(kind.Config, settings)
    domain_encoder = getattr(world, "domain_encoder", None)  # a test may make a world without one
    method = kind(world.backbone, config, prompts or PromptSet("natural"), domain_encoder)
    torch.manual_seed(seed)
    method.bind(classes)
    learned = {}
    for number, (domain, one) in enumerate(kind.prerequisites(config, DOMAINS).items()):  # as if they had been learned
        state = make(world, one.method, classes, prompts, seed + number, **one.settings).learned_state()
        learned[domain] = {name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in state.items()}
    method.adopt(learned)
    return method


def on_vit_b_16(name, **settings):
    """An unbound method with its learned tensors on towers, and beside a domain encoder, of published sizes."""
    sizes = {"text_width": 512, "vision_width": 768, "embed_dim": 512, "text_layers": 12, "vision_layers": 12}
    backbone = SimpleNamespace(**sizes, device=torch.device("cpu"))
    kind = get_method(name)
    config = make_config(kind.Config, {"context_init": None, **settings})
    method = kind(backbone, config, PromptSet("natural"), SimpleNamespace(width=512))
    method.make_prompts()
    return method


def learn(world, method, facts, val=None):
    """Run the stages of a method; returns the lines of its log."""
    journal = Journal()
    context = FitContext(make_accelerator(torch.device("cpu")), journal=journal)
    fit(method, method.stages(facts), world.train, val, context=context)
    method.eval()
    return journal.lines


def whole(feed):
    return feed.batch(torch.arange(len(feed)))


def some(feed, images=4):
    """Images from all of a feed."""
    return feed.batch(torch.arange(0, len(feed), len(feed) // images)[:images])


def count(*tensors):
    return sum(tensor.numel() for tensor in tensors)


def without_domain_encoder(world):
    """The world, and a batch of it, as they are where no domain encoder is named."""
    other = SimpleNamespace(**{**vars(world), "domain_encoder": None})
    return other, dataclasses.replace(whole(world.test), domain_features=None)


def text_runs(world):
    """Count passes through the text tower from now on: a list that grows by one at each."""
    runs = []
    model = world.backbone._family.text_model
    handle = model.final_layer_norm.register_forward_hook(lambda *_: runs.append(1))
    return runs, handle.remove


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)
