"""Models of transformers written as OpenAI's CLIP and open_clip name their weights, and the files around them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPModel

from tests.helpers.tiny_backbones import MINI_CLIP, tiny_clip

CONFIG = "open_clip_config.json"
WIDE = {"hidden_size": 64, "num_attention_heads": 1}  # heads of 64, as a bare file's are taken to be


def open_clip_names(model: CLIPModel) -> dict[str, Tensor]:
    """Weights of a CLIPModel under the names of open_clip."""
    found: dict[str, Tensor] = {"logit_scale": model.logit_scale}
    for inner, outer, projection in (
        (model.vision_model, "visual.", model.visual_projection),
        (model.text_model, "", model.text_projection),
    ):
        tower = getattr(inner, "vision_model", getattr(inner, "text_model", inner))
        found["visual.proj" if outer else "text_projection"] = projection.weight.t()
        found[f"{outer}positional_embedding"] = tower.embeddings.position_embedding.weight
        for number, layer in enumerate(tower.encoder.layers):
            begin, heads = f"{outer}transformer.resblocks.{number}.", layer.self_attn
            for kind in ("weight", "bias"):
                parts = [getattr(part, kind) for part in (heads.q_proj, heads.k_proj, heads.v_proj)]
                found[f"{begin}attn.in_proj_{kind}"] = torch.cat(parts)
                for name, part in (
                    ("attn.out_proj", heads.out_proj),
                    ("ln_1", layer.layer_norm1),
                    ("ln_2", layer.layer_norm2),
                    ("mlp.c_fc", layer.mlp.fc1),
                    ("mlp.c_proj", layer.mlp.fc2),
                ):
                    found[f"{begin}{name}.{kind}"] = getattr(part, kind)
        norms = {"visual.ln_pre": "pre_layrnorm", "visual.ln_post": "post_layernorm"} if outer else {}
        for name, part in (norms or {"ln_final": "final_layer_norm"}).items():
            found[f"{name}.weight"], found[f"{name}.bias"] = getattr(tower, part).weight, getattr(tower, part).bias
        if outer:
            found["visual.class_embedding"] = tower.embeddings.class_embedding
            found["visual.conv1.weight"] = tower.embeddings.patch_embedding.weight
        else:
            found["token_embedding.weight"] = tower.embeddings.token_embedding.weight
    return {name: value.detach().clone() for name, value in found.items()}


def open_clip_config(model: CLIPModel, **changes: Any) -> dict[str, Any]:
    """What open_clip_config.json says of a CLIPModel; `changes` by block and entry, as in `text_cfg__heads=3`."""
    vision, text = model.config.vision_config, model.config.text_config
    config: dict[str, Any] = {
        "model_cfg": {
            "embed_dim": model.config.projection_dim,
            "quick_gelu": vision.hidden_act == "quick_gelu",
            "vision_cfg": {
                "image_size": vision.image_size,
                "layers": vision.num_hidden_layers,
                "width": vision.hidden_size,
                "head_width": vision.hidden_size // vision.num_attention_heads,
                "patch_size": vision.patch_size,
            },
            "text_cfg": {
                "context_length": text.max_position_embeddings,
                "vocab_size": text.vocab_size,
                "width": text.hidden_size,
                "heads": text.num_attention_heads,
                "layers": text.num_hidden_layers,
            },
        },
        "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
    }
    for key, value in changes.items():
        block, _, entry = key.rpartition("__")
        where = config["preprocess_cfg"] if block == "preprocess_cfg" else config["model_cfg"]
        where.get(block, where)[entry] = value
    return config


def copy_tokenizer(folder: Path) -> None:
    """Copy mini-clip's tokenizer, which the tiny models have."""
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(MINI_CLIP / name, folder)


def tiny_model(folder: Path, **options: Any) -> CLIPModel:
    """A small random CLIPModel whose heads are 64 wide, saved in the folder by transformers as well."""
    options = {"text": WIDE, "vision": WIDE, **options}
    return CLIPModel.from_pretrained(tiny_clip(folder, **options)).eval()


def write_layout(folder: Path, model: CLIPModel, weights: str = "open_clip_model.safetensors", **changes: Any) -> Path:
    """Write a folder as open_clip pushes it to the Hub: configuration, weights, tokenizer."""
    folder.mkdir(parents=True)
    tensors = {name: value.contiguous() for name, value in open_clip_names(model).items()}
    if weights.endswith(".safetensors"):
        save_file(tensors, folder / weights)
    else:
        torch.save(tensors, folder / weights)
    (folder / CONFIG).write_text(json.dumps(open_clip_config(model, **changes)))
    copy_tokenizer(folder)
    return folder
