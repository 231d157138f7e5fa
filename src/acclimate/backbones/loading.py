"""From a name, a folder or a Hub id to a `DualEncoder`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.families import FAMILIES, Family
from acclimate.backbones.fingerprint import stored_weights
from acclimate.backbones.hub import find_folder
from acclimate.errors import BackboneError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))

log = logging.getLogger("acclimate.backbones")


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
    config = _read_json(folder, "config.json")
    family_class = FAMILIES.get(config.get("model_type", ""))
    if family_class is None:
        raise BackboneError(
            f"{folder / 'config.json'}: model_type {config.get('model_type')!r} is not supported; "
            f"use a model of one of these families: {', '.join(FAMILIES)}"
        )
    files = _weight_files(folder)
    processor = _processor_config(folder)
    tokenizer = _tokenizer(folder)
    family = family_class(_model(folder, family_class, files, dtype).to(device))
    backbone = DualEncoder(str(name), family, tokenizer, processor, partial(stored_weights, files))
    _check_tokenizer(folder, backbone, family, len(tokenizer))
    _ = backbone.transform  # a configuration that cannot be read should fail here, not at the first image
    return backbone


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise BackboneError(f"{folder} has no {name}; give a folder written by save_pretrained, or a Hub id")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BackboneError(f"{path} is not valid JSON ({error}); copy or download it again") from error
    if not isinstance(content, dict):
        raise BackboneError(f"{path} holds no JSON object; copy or download it again")
    return content


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).is_file():
        shards = _read_json(folder, INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise BackboneError(f"{folder / INDEX} lists no weights; copy or download it again")
        files = [folder / shard for shard in sorted(set(shards.values()))]
    else:
        pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
        if pickles:
            raise BackboneError(
                f"{folder} has pickled weights only ({pickles[0]}), which can run code when opened; if you trust them, "
                "load them with transformers once and write them with save_pretrained, which makes model.safetensors"
            )
        raise BackboneError(f"{folder} has no {WEIGHTS}; copy the weights there, in safetensors format")
    for file in files:
        if not file.is_file():
            raise BackboneError(f"{file} is missing, though {INDEX} names it; copy or download it again")
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"{file} is damaged ({_line(error)}); copy or download it again") from error
    return files


def _processor_config(folder: Path) -> dict[str, Any]:
    if (folder / "preprocessor_config.json").is_file():
        return _read_json(folder, "preprocessor_config.json")
    nested = _read_json(folder, "processor_config.json") if (folder / "processor_config.json").is_file() else {}
    if isinstance(nested.get("image_processor"), dict):
        return nested["image_processor"]
    raise BackboneError(
        f"{folder} has no preprocessor_config.json, which says how images are resized and normalised; "
        "copy it from the original model"
    )


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZERS):
        raise BackboneError(f"{folder} has no tokenizer (tokenizer.json); copy its files from the original model")
    try:
        with _quiet():
            try:
                return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            except ImportError:  # SigLIP names a class that wants sentencepiece; tokenizer.json does without it
                if not (folder / "tokenizer.json").is_file():
                    raise
                return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise BackboneError(f"{folder}: the tokenizer cannot be read ({_line(error)})") from error


def _model(folder: Path, family: type[Family], files: list[Path], dtype: torch.dtype) -> torch.nn.Module:
    try:
        with _quiet():
            model, report = family.model_class().from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # reported below, all at once
                output_loading_info=True,
            )
    except Exception as error:
        raise BackboneError(f"{folder}: transformers cannot load the model ({_line(error)})") from error
    absent, misfit = sorted(report["missing_keys"]), sorted(str(key[0]) for key in report["mismatched_keys"])
    for kind, keys in (("lacks", absent), ("has other shapes than config.json says for", misfit)):
        if keys:  # transformers would fill these with random numbers
            raise BackboneError(
                f"{files[0]} {kind} {len(keys)} of the model's weights, first {keys[0]}; "
                f"use a complete {family.name} checkpoint with both towers"
            )
    return model


def _check_tokenizer(folder: Path, backbone: DualEncoder, family: Family, size: int) -> None:
    rows, eos = family.text_model.embeddings.token_embedding.num_embeddings, backbone.tokenizer.eos
    if max(eos, backbone.tokenizer.pad) >= rows:
        raise BackboneError(f"{folder}: the tokenizer has {size} tokens, the model {rows}; use the files of one model")
    if int(family.text_pool(torch.tensor([[*backbone.tokenizer.lead, eos]]))[0]) != len(backbone.tokenizer.lead):
        raise BackboneError(
            f"{folder}: the tokenizer ends texts with id {eos}, config.json says text_config.eos_token_id="
            f"{family.text_config.eos_token_id}; set it to {eos}"
        )


def _line(error: BaseException) -> str:
    """The first line of a message, shortened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".:; ")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and reports off the terminal; what matters in them we say ourselves."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.CRITICAL)
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
