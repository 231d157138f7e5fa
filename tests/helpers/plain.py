"""The plain way through transformers' own modules, that every shortcut is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def text_features(
    model: Any, embeddings: Tensor, pool: Tensor, *, project: bool = True, deep: Any = None, slots: Tensor | None = None
) -> Tensor:
    """Full-length sequences (N, L, D) of token embeddings through the text model's layers, pooled at `pool` (N,).

    deep[i] (N, n, D) overwrites positions slots (N, n) at the input of layer i + 1.
    """
    text = model.text_model
    x = text.embeddings(inputs_embeds=embeddings)
    x = _layers(text.encoder.layers, x, _mask(model, x), deep, slots)
    x = text.final_layer_norm(x)[torch.arange(len(x)), pool]
    if not project:
        return x
    return model.text_projection(x) if hasattr(model, "text_projection") else text.head(x)


def image_features(model: Any, pixels: Tensor, *, prompts: Any, project: bool = True) -> Tensor:
    """Images with prompts[0] (B, n, D) after the patches, and prompts[l] in its place at the input of layer l."""
    vision = model.vision_model
    x = vision.embeddings(pixels)
    start, n = x.shape[1], prompts[0].shape[1]
    x = torch.cat([x, prompts[0]], dim=1)
    if hasattr(vision, "pre_layrnorm"):
        x = vision.pre_layrnorm(x)
    slots = torch.arange(start, start + n).expand(len(x), n)
    x = _layers(vision.encoder.layers, x, None, prompts[1:], slots)
    if hasattr(vision, "head"):
        return vision.head(vision.post_layernorm(x))
    x = vision.post_layernorm(x[:, 0])
    return model.visual_projection(x) if project else x


def _layers(layers: Any, x: Tensor, mask: Tensor | None, deep: Any, slots: Tensor | None) -> Tensor:
    for index, layer in enumerate(layers):
        if deep and 0 < index <= len(deep):
            x = x.clone()
            x[torch.arange(len(x))[:, None], slots] = deep[index - 1]
        x = layer(x, attention_mask=mask)
        x = x[0] if isinstance(x, tuple) else x
    return x


def _mask(model: Any, x: Tensor) -> Tensor | None:
    if model.config.model_type == "siglip":
        return None
    length = x.shape[1]
    return torch.full((length, length), float("-inf")).triu(1).expand(len(x), 1, length, length)


def context_sequences(
    backbone: Any, model: Any, context: Tensor, names: Any, position: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Padded sequences (C, L, D) with one context (n, D) per class, where each is pooled, and where its context is."""
    tokenizer = backbone.tokenizer.tokenizer
    table = model.text_model.embeddings.token_embedding.weight
    n, length = context.shape[1], backbone.context_length
    cut = {"end": n, "middle": n // 2, "front": 0}[position]
    lead = tokenizer("")["input_ids"][:-1]
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    sequences, pools, slots = [], [], []
    for words, vectors in zip(names.words, context, strict=True):
        name = tokenizer(words)["input_ids"][len(lead) : -1]
        stop = tokenizer(words + ".")["input_ids"][len(lead) + len(name) : -1]
        parts = [
            table[lead], vectors[:cut], table[name], vectors[cut:], table[stop], table[[eos]],
        ]  # fmt: skip
        used = sum(map(len, parts))
        sequences.append(torch.cat([*parts, table[[pad] * (length - used)]]))
        pools.append(used - 1 if backbone.causal_text else length - 1)
        before = list(range(len(lead), len(lead) + cut))
        slots.append(before + list(range(len(lead) + cut + len(name), len(lead) + n + len(name))))
    return torch.stack(sequences), torch.tensor(pools), torch.tensor(slots)
