"""From a name, a folder or a Hub id to a `GenerativeVLM`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from acclimate.backbones.checkpoints import (
    followed,
    load_model,
    model_config,
    processor_config,
    read_json,
    read_tokenizer,
    weight_files,
)
from acclimate.backbones.families import FAMILIES
from acclimate.backbones.fingerprint import stored_weights
from acclimate.backbones.generative.families import VLM_FAMILIES, VLMFamily
from acclimate.backbones.generative.vlm import GenerativeVLM
from acclimate.backbones.hub import Place, find_folder
from acclimate.backbones.kinds import DUAL, GENERATIVE, KINDS, is_composed
from acclimate.backbones.preprocessing import image_transform
from acclimate.errors import BackboneError

TEMPLATE, OLD_TEMPLATE = "chat_template.jinja", "chat_template.json"


def load_vlm(name: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> GenerativeVLM:
    """Load a frozen generative vision-language model in evaluation mode.

    Args:
        name: an embedded model ("mini-vlm"), a folder in Hugging Face format, a Hub id ("org/name"), or a dual encoder
            and a language model, "mini-clip+mini-vlm", see `compose_vlm`.
        device: where to put the weights.
        dtype: type of the loaded weights, whatever type they are stored in.

    Raises:
        BackboneError: nothing found under that name, an unreachable Hub, a model of an unsupported family, files that
            are missing, damaged, pickled or not of one model, no chat template, weights that do not fill the model or
            are not finite, or what transformers would change on loading.
    """
    import transformers

    if is_composed(str(name)):
        from acclimate.backbones.generative.composing import compose_vlm

        return compose_vlm(str(name), device, dtype)
    folder = find_folder(str(name), own="mini-vlm")
    config = model_config(folder)
    model_type = config.get("model_type")
    family_class = VLM_FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family_class is None:
        raise BackboneError(_refusal(folder, model_type))
    files, processor = weight_files(folder), processor_config(folder)
    advice = f"use a complete {family_class.name} checkpoint with vision tower and language model"
    model = load_model(folder, getattr(transformers, family_class.model_class), files, dtype, advice)
    with followed(folder, "config.json"):
        family = family_class(model)
        _ = family.architecture
    model.to(device)
    tokenizer = read_tokenizer(folder)
    with followed(folder, "the tokenizer"):
        weights = partial(stored_weights, files)
        backbone = GenerativeVLM(str(name), family, tokenizer, _template(folder, family, tokenizer), processor, weights)
        _check_tokens(folder, backbone, family)
    backbone.place = Place.of(str(name), folder)
    with followed(folder, "preprocessor_config.json"):
        squared = family.processor_config(processor)
    image_transform(folder, squared, family.processor, (family.side, family.side))
    return backbone


def _refusal(folder: Path, model_type: Any) -> str:
    where = f"{folder / 'config.json'}: model_type {repr(model_type)[:80]}"
    if isinstance(model_type, str) and model_type in FAMILIES:
        return (
            f"{where} is a {KINDS[DUAL].title}, and a {KINDS[GENERATIVE].title} is wanted here, such as "
            f"{KINDS[GENERATIVE].example}; a {KINDS[DUAL].title} is adapted by other methods, such as "
            f"{KINDS[DUAL].method}"
        )
    return f"{where} is not supported; use a model of one of these families: {', '.join(VLM_FAMILIES)}"


def _template(folder: Path, family: VLMFamily, tokenizer: Any) -> str | None:
    """The chat template of the folder, in its own file or one of the older places."""
    if family.plain_text(tokenizer, "x", None) is not None:
        return None
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    held = read_json(folder, OLD_TEMPLATE).get("chat_template") if (folder / OLD_TEMPLATE).is_file() else None
    template = held or tokenizer.chat_template
    if not isinstance(template, str):
        raise BackboneError(
            f"{folder} has no chat template ({TEMPLATE}), which says how instructions are written; copy it from a "
            "model that was tuned on instructions, and tune that one"
        )
    return template


def _check_tokens(folder: Path, backbone: GenerativeVLM, family: VLMFamily) -> None:
    rows, tokens = family.embedding.weight.shape[0], backbone.tokenizer.tokenizer.get_vocab().values()
    highest = max(index for index in tokens if index != family.image_id)
    if highest >= rows:
        raise BackboneError(
            f"{folder}: the tokenizer has tokens up to {highest}, the model {rows}; use the files of one model"
        )
    backbone.conversation("x", "x")  # what cannot be followed should fail here, not at the first image
