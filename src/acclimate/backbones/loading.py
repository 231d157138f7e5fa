"""From a name, a folder or a Hub id to a `DualEncoder`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from acclimate.backbones.checkpoints import first_line, load_model, processor_config, quiet, read_json, weight_files
from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.families import FAMILIES, Family
from acclimate.backbones.fingerprint import stored_weights
from acclimate.backbones.hub import Place, find_folder
from acclimate.errors import BackboneError

TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))


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
            are missing, damaged or pickled, or weights that do not fill the model.
    """
    folder = find_folder(str(name))
    config = read_json(folder, "config.json")
    family_class = FAMILIES.get(config.get("model_type", ""))
    if family_class is None:
        raise BackboneError(
            f"{folder / 'config.json'}: model_type {config.get('model_type')!r} is not supported; "
            f"use a model of one of these families: {', '.join(FAMILIES)}"
        )
    files = weight_files(folder)
    processor = processor_config(folder)
    tokenizer = _tokenizer(folder)
    advice = f"use a complete {family_class.name} checkpoint with both towers"
    family = family_class(load_model(folder, family_class.model_class(), files, dtype, advice).to(device))
    backbone = DualEncoder(str(name), family, tokenizer, processor, partial(stored_weights, files))
    backbone.place = Place.of(str(name), folder)
    _check_tokenizer(folder, backbone, family, len(tokenizer))
    _ = backbone.transform  # a configuration that cannot be read should fail here, not at the first image
    return backbone


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise BackboneError(f"{folder} has no tokenizer (tokenizer.json); copy its files from the original model")
    try:
        with quiet():
            try:
                return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            except ImportError:  # SigLIP names a class that wants sentencepiece; tokenizer.json does without it
                if not (folder / "tokenizer.json").is_file():
                    raise
                return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise BackboneError(f"{folder}: the tokenizer cannot be read ({first_line(error)})") from error


def _check_tokenizer(folder: Path, backbone: DualEncoder, family: Family, size: int) -> None:
    rows, eos = family.text_model.embeddings.token_embedding.num_embeddings, backbone.tokenizer.eos
    if max(eos, backbone.tokenizer.pad) >= rows:
        raise BackboneError(f"{folder}: the tokenizer has {size} tokens, the model {rows}; use the files of one model")
    if int(family.text_pool(torch.tensor([[*backbone.tokenizer.lead, eos]]))[0]) != len(backbone.tokenizer.lead):
        raise BackboneError(
            f"{folder}: the tokenizer ends texts with id {eos}, config.json says text_config.eos_token_id="
            f"{family.text_config.eos_token_id}; set it to {eos}"
        )
