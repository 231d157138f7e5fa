"""GDPL, DPLQ and DCPL the plain way: their equations for one image, one class, one token and one entry at a time."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.helpers import plain
from tests.helpers.plain_prompts import changed, class_direction

OFF = {"conditioning": "none", "image_bias": False}  # no domain encoder


def logits_of(world, words, pixels, text, vision, directions, start="a photo of a"):
    """Logits (B, C).

    Args:
        world: the fixture, or a `changed` one.
        words: of the classes.
        pixels: (B, 3, H, W).
        text, vision: for each image a list of prompts, entry l (n, D) at layer l.
        directions: turns image features (B, E) into directions.
        start: what the sentence says before the class.
    """
    model = world.plain
    features = [
        plain.image_features(model, image[None], prompts=[prompt[None] for prompt in prompts])[0]
        for image, prompts in zip(pixels, vision, strict=True)
    ]
    rows = []
    for image, prompts in zip(directions(torch.stack(features)), text, strict=True):
        classes = [class_direction(world, f"{start} {word}.", prompts) for word in words]
        rows.append(torch.stack([image @ direction for direction in classes]))
    logits = model.logit_scale.exp() * torch.stack(rows)
    return logits + model.logit_bias if hasattr(model, "logit_bias") else logits


def domain_features(config, batch):
    """The domain features as meta-nets read them: as they are, or standardised image by image."""
    rows = list(batch.domain_features)
    if config.feature_norm:
        rows = [(row - row.mean()) / (row.var(unbiased=False) + 1e-5).sqrt() for row in rows]
    return torch.stack(rows)


def meta_net(weights, name, feature):
    """W_2 relu(W_1 f + c_1) + c_2."""
    hidden = (weights[f"{name}.0.weight"] @ feature + weights[f"{name}.0.bias"]).clamp(min=0)
    return weights[f"{name}.2.weight"] @ hidden + weights[f"{name}.2.bias"]


def quaternion_layer(weight, offset, x):
    """W x + offset with x = [x_r | x_i | x_j | x_k]."""
    r, i, j, k = weight
    x_r, x_i, x_j, x_k = x.chunk(4)
    y = [
        x_r @ r - x_i @ i - x_j @ j - x_k @ k,
        x_r @ i + x_i @ r - x_j @ k + x_k @ j,
        x_r @ j + x_i @ k + x_j @ r - x_k @ i,
        x_r @ k - x_i @ j + x_j @ i + x_k @ r,
    ]
    return torch.cat(y) + offset


def mix(kind, weights, place, prompt, bias):
    """What a mixer makes of prompts (n, D) and a bias (D): (n, outputs)."""
    tokens = []
    for token in prompt:
        both = token + bias
        if kind == "dense":
            mixed = weights[f"{place}.layer.0.weight"] @ both + weights[f"{place}.layer.0.bias"]
        elif kind == "bottleneck":
            low = weights[f"{place}.layer.0.weight"] @ both
            mixed = weights[f"{place}.layer.1.weight"] @ low + weights[f"{place}.layer.1.bias"]
        else:
            nothing = torch.zeros_like(token)
            padded = [nothing, both] if kind == "quaternion-padded" else [token, bias, nothing, nothing]
            x = torch.cat(padded)
            mixed = quaternion_layer(weights[f"{place}.layer.weight"], weights[f"{place}.layer.bias"], x)
        tokens.append(mixed)
    return torch.stack(tokens)


def dplq_logits(world, method, batch, weights, noise=None, start="a photo of a"):
    """Logits (B, C) of DPLQ; `noise` (B, D) is drawn from N(0, 1)."""
    config, learned, depth = method.config, weights["text"], len(weights["text"])
    features = domain_features(config, batch)
    layers = {"none": 0, "first": 1, "deep": depth}[config.conditioning]
    std = 0.0 if noise is None else features.mean() if config.noise_std is None else config.noise_std
    noise = torch.zeros(len(features), learned.shape[-1]) if noise is None else noise
    coupling = torch.stack([weights["coupling.weight"] @ token + weights["coupling.bias"] for token in learned[0]])
    text, vision = [], []
    for feature, eps in zip(features, noise, strict=True):
        conditioned = config.conditioning != "none"
        bias = meta_net(weights, "meta_net", feature) if conditioned else torch.zeros(learned.shape[-1])
        own, images = list(learned), [coupling]
        for layer in range(layers):
            shift = bias + eps * std if layer == 0 else bias
            mixed = mix(config.mixer, weights, f"text_mixers.{layer}", learned[layer], shift)
            own[layer] = learned[layer] + mixed if config.residual else mixed
        for layer in range(1, depth):
            mixed = mix(config.mixer, weights, f"vision_mixers.{layer - 1}", learned[layer], bias)
            images.append(weights["vision"][layer - 1] + mixed if config.residual else mixed)
        text.append(own)
        vision.append(images)

    def directions(rows):
        if config.image_bias:
            shifts = torch.stack([meta_net(weights, "image_net", feature) for feature in features])
            rows = rows / rows.norm(dim=-1, keepdim=True) + shifts
        return F.normalize(rows, dim=-1)

    words = method.prompts.words(method.class_names)
    return logits_of(world, words, batch.pixels, text, vision, directions, start)


def gdpl_logits(world, method, batch, weights, noise=None):
    """Logits (B, C) of GDPL: those of DPLQ with other attention weights."""
    return dplq_logits(changed(world, weight_changes(method, weights)), method, batch, weights, noise)


def weight_changes(method, weights):
    """What GDPL adds to the attention weights, by tower, layer and projection."""
    config, changes = method.config, {}
    if config.low_rank == "none":
        return changes
    strength = config.alpha / config.rank
    for number, tower in enumerate(("text", "vision")):
        a, b, a_out, b_out = (weights[f"low_rank.{name}.{tower}"] for name in ("a", "b", "a_out", "b_out"))
        width = a.shape[-1]
        for layer in range(len(a)):
            values = [singular_value(config, weights, layer, rank, number) for rank in range(config.rank)]
            whole = sum(
                value * torch.outer(b[layer][:, rank], a[layer][rank]) for rank, value in enumerate(values)
            )  # (3 D, D)
            inner = strength / 4 if config.low_rank_start == "released" else strength
            for place, name in enumerate("qkv"):
                changes[tower, layer, name] = inner * whole[place * width : (place + 1) * width]
            changes[tower, layer, "out"] = strength * b_out[layer] @ a_out[layer]
    return changes


def singular_value(config, weights, layer, rank, tower):
    """S'[l, r, m] = S[l, r, m] + sum over j of S[l, r, j] R[j, m]."""
    if config.low_rank == "plain":
        return 1.0
    s = weights["low_rank.s"][layer, rank]
    if config.low_rank == "diagonal":
        return s[tower]
    relation = weights["low_rank.r"][{"shared": (), "layer": (layer,), "rank": (layer, rank)}[config.relation]]
    return s[tower] + sum(s[other] * relation[other, tower] for other in range(2))


def dcpl_logits(world, method, batch, weights, noise=None):
    """Logits (B, C) of DCPL; `noise` (B, E) is drawn from N(0, 1)."""
    config, learned = method.config, weights["text"]
    features = domain_features(config, batch)
    vision = [
        torch.stack(
            [weights[f"couplings.{layer}.weight"] @ token + weights[f"couplings.{layer}.bias"] for token in own]
        )
        for layer, own in enumerate(learned)
    ]
    text = [[learned[0] + meta_net(weights, "meta_net", feature), *learned[1:]] for feature in features]
    shifts = torch.stack([meta_net(weights, "image_net", feature) for feature in features])

    def directions(rows):
        if config.variant == "corrected":
            rows = rows / rows.norm(dim=-1, keepdim=True)
        eps = 0.0 if noise is None else noise * (rows.mean() if config.noise_std is None else config.noise_std)
        return F.normalize(rows + shifts + eps, dim=-1)

    words = method.prompts.words(method.class_names)
    return logits_of(world, words, batch.pixels, text, [vision] * len(features), directions)


def compare(world, method, batch, reference, noise=None, seed=7):
    """Yield logits, loss and gradients: (what, of the method, of the reference), with all weights and noise alike."""
    copies = {name: value.detach().clone().requires_grad_() for name, value in method.named_parameters()}
    torch.manual_seed(seed)
    ours = method.logits(batch)
    torch.manual_seed(seed)
    drawn = None if noise is None else torch.randn(len(batch.pixels), noise)
    theirs = reference(world, method, batch, copies, drawn)
    yield "logits", ours, theirs
    torch.manual_seed(seed)
    own, other = method.loss(batch)["cross_entropy"], F.cross_entropy(theirs, batch.labels)
    yield "loss", own, other
    found, expected = (
        torch.autograd.grad(loss, values)
        for loss, values in ((own, list(method.parameters())), (other, list(copies.values())))
    )
    yield from zip(copies, found, expected, strict=True)


def stir(method, scale=0.3, seed=5):
    """Move all that is learned, so that zeros and symmetries of the start hide nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
    return method
