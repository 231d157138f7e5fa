"""A ViT and a BERT of transformers, written as open_clip writes BiomedCLIP: timm's names, BERT's own, an MLP behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from tests.helpers.open_clip_layout import CONFIG
from tests.helpers.plain import layers_of, part_of
from tests.helpers.tiny_backbones import bert_tokenizer, randomise

NAME = "org/some-bert"
JOINT = 24


@dataclass
class Joined:
    """The parts of a model.

    Attributes:
        text, vision: towers.
        head: from the class token into the joint space.
        projection: from the first token of a text into the joint space.
        scale: logarithm of the factor of cosines.
    """

    text: BertModel
    vision: ViTModel
    head: nn.Linear
    projection: nn.Module
    scale: float = 2.5

    def images(self, pixels: Tensor) -> Tensor:
        """Features (B, E) of pixels."""
        return self.head(self.vision(pixel_values=pixels).last_hidden_state[:, 0])

    def texts(self, tokens: Any) -> Tensor:
        """Features (N, E) of what the tokenizer makes of texts, with padding and its mask."""
        return self.projection(self.text(**tokens).last_hidden_state[:, 0])


def joined(mlp: bool = True, side: int = 32, seed: int = 0) -> Joined:
    """A small random model: a ViT as wide as timm's tiny one, a BERT of 4 heads.

    Args:
        mlp: whether texts pass two matrices, or one.
        side: of images, in pixels.
        seed: of the weights.
    """
    width, inner = 64, (64 + JOINT) // 2
    tokenizer = bert_tokenizer(20)
    text = BertConfig(
        hidden_size=width, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=len(tokenizer), max_position_embeddings=32,
    )  # fmt: skip
    vision = ViTConfig(
        hidden_size=192, intermediate_size=256, num_hidden_layers=2, num_attention_heads=3,
        image_size=side, patch_size=16, layer_norm_eps=1e-6,
    )  # fmt: skip
    two = nn.Sequential(nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, JOINT, bias=False))
    parts = nn.ModuleList(
        [
            BertModel(text, add_pooling_layer=False),
            ViTModel(vision, add_pooling_layer=False),
            nn.Linear(192, JOINT, bias=False),
            two if mlp else nn.Linear(width, JOINT, bias=False),
        ]
    )
    return Joined(*randomise(parts, seed).requires_grad_(False))


def timm_bert_names(model: Joined) -> dict[str, Tensor]:
    """Its weights under the names of open_clip, with the buffer that older releases of transformers saved."""
    embeddings, patches = model.vision.embeddings, model.vision.embeddings.patch_embeddings.projection
    found: dict[str, Tensor] = {
        "logit_scale": torch.tensor(model.scale),
        "visual.trunk.cls_token": embeddings.cls_token,
        "visual.trunk.pos_embed": embeddings.position_embeddings,
        "visual.head.proj.weight": model.head.weight,
        "text.transformer.embeddings.position_ids": torch.arange(32)[None],
    }
    found |= {f"text.transformer.{name}": value for name, value in model.text.named_parameters()}
    found |= {f"text.proj.{name}": value for name, value in model.projection.named_parameters()}
    for kind in ("weight", "bias"):
        found[f"visual.trunk.patch_embed.proj.{kind}"] = getattr(patches, kind)
        found[f"visual.trunk.norm.{kind}"] = getattr(model.vision.layernorm, kind)
        for number, layer in enumerate(layers_of(model.vision)):
            begin = f"visual.trunk.blocks.{number}."
            found[f"{begin}attn.qkv.{kind}"] = torch.cat([getattr(part_of(layer, name), kind) for name in "qkv"])
            places = {"attn.proj": "out", "norm1": "norm1", "norm2": "norm2", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}
            for name, own in places.items():
                found[f"{begin}{name}.{kind}"] = getattr(part_of(layer, own), kind)
    return {name: value.detach().clone().contiguous() for name, value in found.items()}


def timm_bert_config(model: Joined, **changes: Any) -> dict[str, Any]:
    """What open_clip_config.json says, as that of BiomedCLIP does; `changes` by block and entry, "text_cfg__heads"."""
    side = model.vision.config.image_size
    config: dict[str, Any] = {
        "model_cfg": {
            "embed_dim": JOINT,
            "vision_cfg": {
                "timm_model_name": f"vit_tiny_patch16_{side}",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": side,
            },
            "text_cfg": {
                "hf_model_name": NAME,
                "hf_tokenizer_name": NAME,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 20,
                "heads": 4,
            },
        },
        "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
    }
    for key, value in changes.items():
        block, _, entry = key.rpartition("__")
        config["model_cfg"].get(block, config["model_cfg"])[entry] = value
    return config


def write_timm_bert(folder: Path, model: Joined, **changes: Any) -> Path:
    """Write a folder as that of BiomedCLIP on the Hub: configuration, pickled weights, tokenizer."""
    folder.mkdir(parents=True)
    torch.save(timm_bert_names(model), folder / "open_clip_pytorch_model.bin")
    (folder / CONFIG).write_text(json.dumps(timm_bert_config(model, **changes)))
    tokenizer = bert_tokenizer(20)
    tokenizer.save_pretrained(folder)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words))
    return folder
