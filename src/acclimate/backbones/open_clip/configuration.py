"""What `open_clip_config.json` says: which form of model it describes, and whether all of it can be followed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.backbones.checkpoints import read_json
from acclimate.backbones.open_clip import naming
from acclimate.errors import BackboneError

PLAIN_VIT = re.compile(r"vit_(tiny|small|base|large)_patch\d+_\d+(\.\w+)?")
POOLER = "cls_last_hidden_state_pooler"


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration of open_clip: its blocks `model_cfg`, `vision_cfg`, `text_cfg` and `preprocess_cfg`.

    Raises:
        BackboneError: it is missing or damaged, or asks for what nothing here follows.
    """
    content = read_json(path.parent, path.name)
    model = content.get("model_cfg", {key: value for key, value in content.items() if key != "preprocess_cfg"})
    blocks = {"model_cfg": model, "preprocess_cfg": content.get("preprocess_cfg") or {}}
    for name in ("vision_cfg", "text_cfg"):
        blocks[name] = model.get(name) if isinstance(model, Mapping) else None
        if not isinstance(blocks[name], Mapping):
            raise BackboneError(f"{path} has no {name}, which says how the model is built; copy or download it again")
    if not isinstance(blocks["preprocess_cfg"], Mapping):
        raise BackboneError(f"{path}: preprocess_cfg holds no entries; copy or download it again")
    form = form_of(blocks)
    _check_entries(path, form, blocks)
    if form == "timm_bert":
        _check_towers(path, blocks["vision_cfg"], blocks["text_cfg"])
    return blocks


def form_of(blocks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which form of model in naming.yaml a configuration describes: "clip" or "timm_bert"."""
    named = blocks["vision_cfg"].get("timm_model_name") and blocks["text_cfg"].get("hf_model_name")
    return "timm_bert" if named else "clip"


def _check_entries(path: Path, form: str, blocks: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse entries that would change the forward pass and that nothing here follows."""
    for block, known in naming()["entries"][form].items():
        for key, value in blocks[block].items():
            allowed = known.get(key)
            fine = value in (None, False, "", {}) if allowed is None else not allowed or value in allowed
            if not fine:
                raise BackboneError(
                    f"{path}: {block}.{key}={repr(value)[:60]} is not followed here, and the model would not be the "
                    "same without; use a model with CLIP's own towers"
                )


def _check_towers(path: Path, vision: Mapping[str, Any], text: Mapping[str, Any]) -> None:
    """Refuse other towers than a plain ViT of timm beside a BERT, and those that are read in another way."""
    name, pool = vision.get("timm_model_name"), vision.get("timm_pool", "avg")
    pooler = text.get("hf_pooler_type", text.get("pooler_type", "mean_pooler"))
    for entry, value, fine, known in (
        ("vision_cfg.timm_model_name", name, bool(PLAIN_VIT.fullmatch(str(name))), "a plain ViT, vit_base_patch16_224"),
        ("vision_cfg.timm_pool", pool, pool in ("", "token"), "the class token, ''"),
        ("text_cfg.hf_pooler_type", pooler, pooler == POOLER, POOLER),
    ):
        if not fine:
            raise BackboneError(
                f"{path}: {entry}={repr(value)[:60]} is not followed here beside a BERT, only {known}; use a model "
                "with CLIP's own towers"
            )
