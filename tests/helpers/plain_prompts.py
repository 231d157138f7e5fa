"""Deep prompts the plain way: one class and one image at a time, at full length, through transformers' own layers."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import torch
from torch.nn import functional as F

from tests.helpers import plain


def plain_logits(world, words, pixels, text=None, vision=None, start="a photo of a"):
    """Logits (B, C).

    Args:
        world: the fixture.
        words: of the classes.
        pixels: (B, 3, H, W).
        text: entry l (n, D) overwrites the first n tokens of the sentence at layer l; none leaves it as it is.
        vision: entry l (m, Dv) stands behind the patches at layer l; none for none.
        start: what the sentence says before the class.
    """
    model = world.plain
    images = torch.stack([image_direction(model, image, vision) for image in pixels])
    classes = torch.stack([class_direction(world, f"{start} {word}.", text) for word in words])
    logits = model.logit_scale.exp() * images @ classes.T
    return logits + model.logit_bias if hasattr(model, "logit_bias") else logits


def image_direction(model, image, prompts):
    if prompts is None:
        return F.normalize(model.get_image_features(image[None]).pooler_output, dim=-1)[0]
    return F.normalize(plain.image_features(model, image[None], prompts=[p[None] for p in prompts]), dim=-1)[0]


def class_direction(world, sentence, prompts):
    model, length = world.plain, world.backbone.context_length
    tokenizer = world.backbone.tokenizer.tokenizer
    ids = tokenizer(sentence)["input_ids"]
    first = len(tokenizer("")["input_ids"]) - 1  # prompts follow SOS where there is one
    pool = len(ids) - 1 if world.backbone.causal_text else length - 1
    row = torch.tensor(ids + [tokenizer.pad_token_id] * (length - len(ids)))
    x = model.text_model.embeddings.token_embedding(row)
    deep = slots = None
    if prompts is not None:
        n = len(prompts[0])
        x = torch.cat([x[:first], prompts[0], x[first + n :]])
        deep, slots = [p[None] for p in prompts[1:]], torch.arange(first, first + n)[None]
    return F.normalize(plain.text_features(model, x[None], torch.tensor([pool]), deep=deep, slots=slots), dim=-1)[0]


def changed(world, changes):
    """The world with other weights in its plain model.

    Args:
        world: the fixture.
        changes: what is added to the weight of a projection, by (tower, layer, "q", "k", "v" or "out").
    """
    model = copy.deepcopy(world.plain)
    for (tower, layer, name), change in changes.items():
        attention = getattr(model, f"{tower}_model").encoder.layers[layer].self_attn
        place = "out_proj" if name == "out" else f"{name}_proj"
        setattr(attention, place, Changed(getattr(attention, place), change))
    return SimpleNamespace(backbone=world.backbone, plain=model)


class Changed(torch.nn.Module):
    """A linear layer W + change, with gradient for the change."""

    def __init__(self, layer, change):
        super().__init__()
        self.matrix, self.offset = layer.weight.detach() + change, layer.bias

    def forward(self, x):
        return x @ self.matrix.T + self.offset
