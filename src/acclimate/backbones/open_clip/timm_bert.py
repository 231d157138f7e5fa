"""Checkpoints of open_clip whose image tower is a plain ViT of timm and whose text tower is a BERT (BiomedCLIP).

What the weights do not say follows from the names in `open_clip_config.json`, or they are refused. A plain ViT of timm
(`vit_base_patch16_224` and its like) has heads of 64, GELU, norms with an epsilon of 1e-6 and is read at its class
token. A BERT has GELU and 1e-12, 12 heads where it is 768 wide and 16 where it is 1024.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from acclimate.backbones.open_clip.configuration import PLAIN_VIT
from acclimate.backbones.open_clip.facts import Facts, check_sizes, image_size_of, pixels_of, tower_configs
from acclimate.backbones.open_clip.mapping import ONE_MODEL, Sizes, grid_of, layers_of
from acclimate.errors import BackboneError

WORDS = "text.transformer.embeddings.word_embeddings.weight"
POSITIONS = "text.transformer.embeddings.position_embeddings.weight"
NEEDED = (
    "visual.trunk.patch_embed.proj.weight",
    "visual.trunk.cls_token",
    "visual.trunk.pos_embed",
    "visual.head.proj.weight",
    POSITIONS,
    "text.transformer.embeddings.token_type_embeddings.weight",
    "logit_scale",
)
BLOCKS, LAYERS = "visual.trunk.blocks", "text.transformer.encoder.layer"
VIT_WIDTHS = {"tiny": 192, "small": 384, "base": 768, "large": 1024}
BERT_HEADS = {768: 12, 1024: 16}
TYPES = 2  # of BERT's segments; RoBERTa has one
CONTEXT = 77  # open_clip's default
EPSILONS = (1e-6, 1e-12)


def is_timm_bert(names: Iterable[str]) -> bool:
    """Return whether these are the names of such weights."""
    found = list(names)
    return WORDS in found and any(name.startswith(f"{BLOCKS}.") for name in found)


def sizes_of(file: Path, tensors: Mapping[str, Tensor], path: Path, text: Mapping[str, Any]) -> Sizes:
    """Read the sizes of a model from the shapes of its weights, but for the text positions that were trained.

    Args:
        file: to name.
        tensors: by their names in open_clip.
        path: of the configuration, to name.
        text: its block `text_cfg`.

    Raises:
        BackboneError: a weight is missing, or shapes do not belong together.
    """
    absent = [name for name in NEEDED if name not in tensors]
    if absent:
        raise BackboneError(f"{file} has towers of timm and BERT, and no {absent[0]}; {ONE_MODEL}")
    conv = tensors["visual.trunk.patch_embed.proj.weight"]
    types = len(tensors["text.transformer.embeddings.token_type_embeddings.weight"])
    if types != TYPES:
        raise BackboneError(
            f"{file}: the text tower has {types} types of tokens, and a BERT has {TYPES}; this is another model, such "
            "as a RoBERTa: use one with CLIP's own text tower, such as laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
        )
    return Sizes(
        int(tensors["visual.head.proj.weight"].shape[0]),
        int(conv.shape[-1]),
        grid_of(file, conv, tensors["visual.trunk.pos_embed"].shape[1] - 1),
        int(conv.shape[0]),
        *layers_of(file, tensors, "image", BLOCKS, "norm1", "mlp.fc1"),
        int(tensors[WORDS].shape[1]),
        *layers_of(file, tensors, "text", LAYERS, "output.LayerNorm", "intermediate.dense"),
        int(tensors[WORDS].shape[0]),
        _context_length(path, text, len(tensors[POSITIONS])),
    )


def _context_length(path: Path, text: Mapping[str, Any], positions: int) -> int:
    """How many of so many positions were trained."""
    length = text.get("context_length", CONTEXT)
    if type(length) is not int or not 2 < length <= positions:
        raise BackboneError(
            f"{path}: text_cfg.context_length={repr(length)[:40]}, and the weights have {positions} positions; "
            f"{ONE_MODEL}"
        )
    return length


def facts_of(path: Path, blocks: Mapping[str, Any], sizes: Sizes) -> Facts:
    """Return what is known of a checkpoint beside its weights.

    Args:
        path: of the configuration, to name.
        blocks: its content, from `read_config`.
        sizes: from the shapes of the weights.

    Raises:
        BackboneError: something is not known, or does not belong to the weights.
    """
    check_sizes(path, blocks, sizes)
    vision, text = blocks["vision_cfg"], blocks["text_cfg"]
    name = str(vision["timm_model_name"])
    kind = PLAIN_VIT.fullmatch(name)
    if kind is None or VIT_WIDTHS[kind[1]] != sizes.vision_width:
        raise BackboneError(
            f"{path}: vision_cfg.timm_model_name={name[:60]!r}, and the weights are {sizes.vision_width} wide; "
            f"{ONE_MODEL}"
        )
    heads = text.get("heads", BERT_HEADS.get(sizes.text_width))
    if type(heads) is not int or heads < 1 or sizes.text_width % heads:
        raise BackboneError(
            f"{path}: how many attention heads a BERT of width {sizes.text_width} has is not known ({heads!r}); write "
            "text_cfg.heads"
        )
    return Facts(
        ("gelu", "gelu"),
        (sizes.vision_width // 64, heads),
        image_size_of(path, vision, sizes),
        path.name,
        EPSILONS,
        **pixels_of(path, blocks["preprocess_cfg"]),
        tokenizer=text.get("hf_tokenizer_name") or text.get("hf_model_name"),
    )


def config_of(tensors: Mapping[str, Tensor], sizes: Sizes, facts: Facts, pad: int) -> dict[str, Any]:
    """Return what config.json says of a `VitBertModel`.

    Args:
        tensors: by their names in open_clip.
        sizes, facts: of the model.
        pad: the token that pads texts.
    """
    first = tensors.get("text.proj.0.weight")
    vision, text = tower_configs(sizes, facts)
    return {
        "architectures": ["VitBertModel"],
        "model_type": "vit-bert-clip",
        "projection_dim": sizes.embed_dim,
        "text_projection_dim": None if first is None else len(first),
        "context_length": sizes.context_length,
        "text_config": {
            "model_type": "bert",
            **text,
            "vocab_size": sizes.vocabulary,
            "max_position_embeddings": len(tensors[POSITIONS]),
            "type_vocab_size": TYPES,
            "pad_token_id": pad,
        },
        "vision_config": {
            "model_type": "vit",
            **vision,
            "image_size": facts.image_size,
            "patch_size": sizes.patch,
            "qkv_bias": True,
        },
    }
