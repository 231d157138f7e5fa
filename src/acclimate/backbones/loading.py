"""From a name, a folder or a Hub id to a `DualEncoder`."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import torch

from acclimate.backbones.checkpoints import (
    followed,
    load_model,
    model_config,
    processor_config,
    read_tokenizer,
    weight_files,
)
from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.families import FAMILIES, Family
from acclimate.backbones.fingerprint import stored_names, stored_weights
from acclimate.backbones.generative.families import VLM_FAMILIES
from acclimate.backbones.hub import Place, find_folder
from acclimate.backbones.preprocessing import image_transform
from acclimate.errors import BackboneError

SIBLINGS = {
    "siglip2": "its image tower reads images of many shapes (NaFlex); use a SigLIP 2 of one size, such as "
    "google/siglip2-base-patch16-224",
    "altclip": "its text tower is an XLM-R; use a CLIP of many languages, such as "
    "facebook/metaclip-2-worldwide-huge-quickgelu",
    "chinese_clip": "its text tower is a BERT; use a CLIP of many languages, such as "
    "facebook/metaclip-2-worldwide-huge-quickgelu",
}
"""What to say of dual encoders that are known and not served, by their `model_type`."""

TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("tokenizer.model",),
    ("vocab.txt",),
)


def load_backbone(
    name: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> DualEncoder:
    """Load a frozen dual encoder in evaluation mode.

    Args:
        name: an embedded backbone ("mini-clip"), a folder in Hugging Face format, or a Hub id ("org/name").
        device: where to put the weights.
        dtype: type of the loaded weights, whatever type they are stored in.

    Raises:
        BackboneError: nothing found under that name, an unreachable Hub, a model of an unsupported family, files that
            are missing, damaged, pickled or not of one model, weights that do not fill the model or are not finite, or
            what transformers would change on loading.
    """
    folder = find_folder(str(name))
    config = model_config(folder)
    model_type = config.get("model_type")
    family_class = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family_class is None:
        raise BackboneError(_refusal(folder, model_type))
    with followed(folder, "config.json"):
        family_class.check_config(config)
    files = weight_files(folder)
    processor = processor_config(folder)
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise BackboneError(f"{folder} has no tokenizer (tokenizer.json); copy its files from the original model")
    advice = f"use a complete {family_class.name} checkpoint with both towers"
    model = load_model(folder, family_class.model_class(), files, dtype, advice)
    with followed(folder, "config.json"):
        family = family_class(model)
        _ = family.architecture
    _check_layers(folder, family, files)
    family.model.to(device)
    tokenizer = read_tokenizer(folder)  # after the model, since transformers reads config.json for it, too
    with followed(folder, "the tokenizer"):
        backbone = DualEncoder(str(name), family, tokenizer, processor, partial(stored_weights, files))
        _check_tokenizer(folder, backbone, family)
    backbone.place = Place.of(str(name), folder)
    # What cannot be followed should fail here, not at the first image.
    image_transform(folder, processor, family.processor, (family.image_size, family.image_size))
    return backbone


def _refusal(folder: Path, model_type: object) -> str:
    where = f"{folder / 'config.json'}: model_type {repr(model_type)[:80]}"
    if isinstance(model_type, str) and model_type in VLM_FAMILIES:
        return (
            f"{where} is a generative model, and a dual encoder is wanted here, such as mini-clip; the methods vitask "
            "and instruct adapt generative models"
        )
    if isinstance(model_type, str) and model_type in SIBLINGS:
        return f"{where} is not supported: {SIBLINGS[model_type]}"
    return f"{where} is not supported; use a model of one of these families: {', '.join(FAMILIES)}"


def _check_layers(folder: Path, family: Family, files: list[Path]) -> None:
    """Refuse a tower with fewer layers than its files: the fingerprint counts those that would be left out."""
    for name, kept in (("text", len(family.text.blocks)), ("vision", len(family.vision.blocks))):
        found = re.compile(rf"{name}_model\.(?:.*\.)?layers?\.(\d+)\.")
        numbers = [int(match[1]) for key in stored_names(files) if (match := found.match(key))]
        if numbers and max(numbers) >= kept:
            raise BackboneError(
                f"{folder}: config.json says {name}_config.num_hidden_layers={kept}, the files hold {max(numbers) + 1} "
                "layers; write the number of the files, or the shortened model with save_pretrained"
            )


def _check_tokenizer(folder: Path, backbone: DualEncoder, family: Family) -> None:
    rows, eos = len(family.token_table), backbone.tokenizer.eos
    ids = backbone.tokenizer.tokenizer.get_vocab().values()
    # A table of tokens may be rounded up, by far less than a third.
    if max(*ids, eos, backbone.tokenizer.pad) >= rows or 4 * len(ids) < 3 * rows:
        raise BackboneError(
            f"{folder}: the tokenizer has {len(ids)} tokens, the model {rows}; use the files of one model"
        )
    whole, pad = [*backbone.tokenizer.lead, eos], backbone.tokenizer.pad
    marked = not family.trims_text or family.causal_text  # by the token that ends it, and not by the padding behind
    if int(family.text_lengths(torch.tensor([whole if marked else [*whole, pad]]))[0]) != len(whole):
        entry, does, value = ("eos_token_id", "ends", eos) if marked else ("pad_token_id", "pads", pad)
        raise BackboneError(
            f"{folder}: the tokenizer {does} texts with id {value}, config.json says text_config.{entry}="
            f"{getattr(family.text_config, entry)}; set it to {value}"
        )
