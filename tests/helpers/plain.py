"""The plain way through transformers' own modules, that every shortcut is compared with."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BERT = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
_DENSE = {"out": "attention.output.dense", "fc1": "intermediate.dense", "fc2": "output.dense"}
_VIT_NORMS = {"norm1": "layernorm_before", "norm2": "layernorm_after"}
_MLP = {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}

# What transformers calls the parts of a layer.
PARTS = {
    "clip": {**{one: f"self_attn.{one}_proj" for one in ("q", "k", "v", "out")}, **_MLP}
    | {"norm1": "layer_norm1", "norm2": "layer_norm2"},
    "bert": {**_BERT, **_DENSE, "norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm"},
    "vit": {one: f"attention.{one}_proj" for one in ("q", "k", "v")}
    | {"out": "attention.o_proj", **_MLP, **_VIT_NORMS},
    "older-vit": {one: place.replace("self", "attention") for one, place in _BERT.items()} | _DENSE | _VIT_NORMS,
}


def layers_of(tower: Any) -> Any:
    """The layers of a tower."""
    inside = getattr(tower, "encoder", tower)
    return inside.layers if hasattr(inside, "layers") else inside.layer


def part_of(layer: Any, name: str) -> Any:
    """A part of a layer: q, k, v, out, fc1, fc2, norm1 or norm2."""
    known = {place for place, _ in layer.named_modules()}
    return next(layer.get_submodule(parts[name]) for parts in PARTS.values() if {*parts.values()} <= known)


class PlainVisionText(nn.Module):
    """A text tower of BERT's kind and an image tower, joined as the families that have them say.

    Args:
        model: `VisionTextDualEncoderModel`, or the container of a ViT and a BERT.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.text_model, self.vision_model = model.text_model, model.vision_model
        self.text_projection, self.visual_projection = model.text_projection, model.visual_projection
        self.logit_scale, self.config = model.logit_scale, model.config

    def get_text_features(self, ids: Tensor) -> Any:
        """Of padded texts (N, L)."""
        return self._projected(self.text_model, self.text_projection, ids, attention_mask=ids != self.pad)

    def get_image_features(self, pixels: Tensor) -> Any:
        """Of pixels (B, 3, H, W)."""
        return self._projected(self.vision_model, self.visual_projection, pixels)

    def forward(self, input_ids: Tensor, pixel_values: Tensor) -> Any:
        """Logits of images and texts."""
        image = F.normalize(self.get_image_features(pixel_values).pooler_output, dim=-1)
        text = F.normalize(self.get_text_features(input_ids).pooler_output, dim=-1)
        return SimpleNamespace(logits_per_image=self.logit_scale.exp() * image @ text.T)

    @property
    def pad(self) -> int:
        """The token that pads texts."""
        return self.config.text_config.pad_token_id

    def pooled(self, tower: Any, *inputs: Tensor, **options: Any) -> Tensor:
        """What a tower gives before its projection."""
        found = tower(*inputs, **options)
        return found.last_hidden_state[:, 0] if found.pooler_output is None else found.pooler_output

    def _projected(self, tower: Any, projection: Any, *inputs: Tensor, **options: Any) -> Any:
        return SimpleNamespace(pooler_output=projection(self.pooled(tower, *inputs, **options)))


def pooled_text(model: Any, ids: Tensor) -> Tensor:
    """Texts (N, L), padded, before the projection."""
    if isinstance(model, PlainVisionText):
        return model.pooled(model.text_model, ids, attention_mask=ids != model.pad)
    return model.text_model(ids).pooler_output


def pooled_image(model: Any, pixels: Tensor) -> Tensor:
    """Images before the projection."""
    if isinstance(model, PlainVisionText):
        return model.pooled(model.vision_model, pixels)
    return model.vision_model(pixels).pooler_output


def text_features(
    model: Any, embeddings: Tensor, pool: Tensor, *, project: bool = True, deep: Any = None, slots: Tensor | None = None
) -> Tensor:
    """Full-length sequences (N, L, D) of token embeddings through the text model's layers, pooled at `pool` (N,).

    BERTs are read at the first token, and `pool` is the last one that is no padding.

    deep[i] (N, n, D) overwrites positions slots (N, n) at the input of layer i + 1.
    """
    text = model.text_model
    x = text.embeddings(inputs_embeds=embeddings)
    if isinstance(model, PlainVisionText):
        seen = (torch.arange(x.shape[1]) <= pool[:, None])[:, None, None].expand(-1, 1, x.shape[1], -1)
        mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
        x = _head(text, _layers(layers_of(text), x, mask, deep, slots)[:, 0])
        return model.text_projection(x) if project else x
    x = _layers(layers_of(text), x, _mask(model, x), deep, slots)
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
    x = _layers(layers_of(vision), x, None, prompts[1:], slots)
    if hasattr(vision, "head"):
        return vision.head(vision.post_layernorm(x))
    norm = vision.layernorm if hasattr(vision, "layernorm") else vision.post_layernorm
    x = _head(vision, norm(x[:, 0]))
    return model.visual_projection(x) if project else x


def _head(tower: Any, x: Tensor) -> Tensor:
    pooler = getattr(tower, "pooler", None)
    return x if pooler is None else pooler(x[:, None])


def _layers(layers: Any, x: Tensor, mask: Tensor | None, deep: Any, slots: Tensor | None) -> Tensor:
    for index, layer in enumerate(layers):
        if deep and 0 < index <= len(deep):
            x = x.clone()
            x[torch.arange(len(x))[:, None], slots] = deep[index - 1]
        masked = "attention_mask" in inspect.signature(layer.forward).parameters  # ViT has none in older releases
        x = layer(x, **({"attention_mask": mask} if masked else {}))
        x = x[0] if isinstance(x, tuple) else x
    return x


def _mask(model: Any, x: Tensor) -> Tensor | None:
    if model.config.model_type == "siglip":
        return None
    length = x.shape[1]
    return torch.full((length, length), float("-inf")).triu(1).expand(len(x), 1, length, length)


def token_table(model: Any) -> Tensor:
    """Embeddings of all tokens."""
    return model.text_model.get_input_embeddings().weight


def context_sequences(
    backbone: Any, model: Any, context: Tensor, names: Any, position: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Padded sequences (C, L, D) with one context (n, D) per class, where each is pooled, and where its context is."""
    tokenizer = backbone.tokenizer.tokenizer
    table = token_table(model)
    n, length = context.shape[1], backbone.context_length
    cut = {"end": n, "middle": n // 2, "front": 0}[position]
    lead = tokenizer("")["input_ids"][:-1]
    eos, pad = tokenizer("")["input_ids"][-1], tokenizer.pad_token_id
    sequences, pools, slots = [], [], []
    for words, vectors in zip(names.words, context, strict=True):
        name = tokenizer(words)["input_ids"][len(lead) : -1]
        stop = tokenizer(words + ".")["input_ids"][len(lead) + len(name) : -1]
        parts = [
            table[lead], vectors[:cut], table[name], vectors[cut:], table[stop], table[[eos]],
        ]  # fmt: skip
        used = sum(map(len, parts))
        sequences.append(torch.cat([*parts, table[[pad] * (length - used)]]))
        pools.append(length - 1 if model.config.model_type == "siglip" else used - 1)
        before = list(range(len(lead), len(lead) + cut))
        slots.append(before + list(range(len(lead) + cut + len(name), len(lead) + n + len(name))))
    return torch.stack(sequences), torch.tensor(pools), torch.tensor(slots)
