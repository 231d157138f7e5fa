"""A method on the tiny world of `tests/methods`: made, taught and asked."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import torch

from acclimate.methods import TrainingFacts, get_method
from acclimate.methods.parts.scores import accuracy
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.training.devices import make_accelerator
from acclimate.training.feeds import FeatureFeed
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal

# one feed serves every method
NEEDS = frozenset({"pixels", "image_features", "pooled_features", "domain_pixels", "domain_features"})
TILED = frozenset(
    f"{kind}_{grid}x{grid}" for kind in ("image_features", "pooled_features", "domain_features") for grid in (2, 3)
)  # what methods read of tiles by default
CLASSES = ("cat", "dog", "river")
UNSEEN = ("bare land", "storage tank")
DOMAINS = ("day", "night")
LONG = ("cat", "storage tank", "bare land of the large mill")  # classes of one word, of two and of many
FACTS = TrainingFacts(images=18, shots=6)  # of the training images


def needs_of(backbone):
    """What one feed has to serve for every method on a backbone."""
    tiles = {name for name in TILED if name.startswith("domain") or name[: -len("_2x2")] in backbone.widths}
    return frozenset({"pixels", "domain_pixels", "domain_features", *backbone.widths, *tiles})


def make(world, name, classes=CLASSES, prompts=None, seed=0, adopt=True, **settings):
    kind = get_method(name)
    config = make_config(kind.Config, settings)
    domain_encoder = getattr(world, "domain_encoder", None)  # a test may make a world without one
    method = kind(world.backbone, config, prompts or PromptSet("natural"), domain_encoder)
    torch.manual_seed(seed)
    method.bind(classes)
    learned = {}
    if not adopt:
        return method
    for number, (domain, one) in enumerate(kind.prerequisites(config, DOMAINS).items()):  # as if they had been learned
        own = SimpleNamespace(backbone=world.backbone.dual, domain_encoder=None) if one.dual else world
        state = make(own, one.method, classes, prompts, seed + number, **one.settings).learned_state()
        learned[domain] = {name: tensor + 0.02 * torch.randn_like(tensor) for name, tensor in state.items()}
    if learned:
        method.adopt(learned)
    return method


def on_vit_b_16(name, **settings):
    """An unbound method with its learned tensors on towers, and beside a domain encoder, of published sizes."""
    sizes = {"text_width": 512, "vision_width": 768, "embed_dim": 512, "text_layers": 12, "vision_layers": 12}
    backbone = SimpleNamespace(**sizes, device=torch.device("cpu"), kind="dual", name="ViT-B/16")
    kind = get_method(name)
    config = make_config(kind.Config, {"context_init": None, **settings})
    method = kind(backbone, config, PromptSet("natural"), SimpleNamespace(width=512))
    method.build()
    return method


def learn(world, method, facts, val=None):
    """Run the stages of a method; returns the lines of its log."""
    lines = descend(method, stages_of(method, facts), world.train, val)
    method.end_training()
    method.eval()
    return lines


def stages_of(method, facts=FACTS):
    """The stages of a method that is prepared for so much training data."""
    method.prepare(facts)
    return method.stages(facts)


def descend(method, stages, train, val=None):
    """Run stages; returns the lines of the log."""
    journal = Journal()
    context = FitContext(make_accelerator(torch.device("cpu")), journal=journal)
    score = partial(accuracy, logits=method.logits, device=torch.device("cpu"))
    fit(method, stages, train, val, context=context, score=score)
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
    return other, whole(world.test).without("domain_features", "domain_pixels")


def text_runs(world):
    """Count passes through the text tower from now on: a list that grows by one at each."""
    runs = []
    text, modules = world.backbone.model.text_model, world.backbone.model.named_modules()
    names = (one for name, one in modules if name.endswith("text_model.final_layer_norm"))
    last = text.encoder.layer[-1] if hasattr(text.encoder, "layer") else next(names)
    handle = last.register_forward_hook(lambda *_: runs.append(1))
    return runs, handle.remove


def zero_shot(world, classes=CLASSES, **settings):
    with torch.no_grad():
        return make(world, "zero-shot", classes, **settings).eval().logits(whole(world.test))


def without(world, missing):
    """The same world, without training images of one class."""
    batch = whole(world.train)
    kept = batch.labels != missing
    train = FeatureFeed(batch.image_features[kept], batch.labels[kept])
    return type(world)(**{**vars(world), "train": train})
