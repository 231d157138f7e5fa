"""Folders in Hugging Face format: what is read from them, and what is said when they are broken."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from acclimate.backbones.guards import (
    check_finite,
    check_folder,
    check_numbers,
    check_sizes,
    check_stored,
    refuse_adapters,
)
from acclimate.errors import BackboneError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Content of a JSON file of the folder.

    Raises:
        BackboneError: the file is missing, or holds no JSON object.
    """
    path = folder / name
    if not path.is_file():
        raise BackboneError(f"{folder} has no {name}; give a folder written by save_pretrained, or a Hub id")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BackboneError(f"{path} is not valid JSON ({first_line(error)}); copy or download it again") from error
    except RecursionError:
        raise BackboneError(f"{path} is nested too deeply to be read; copy or download it again") from None
    except OSError as error:
        raise BackboneError(f"{path} cannot be read ({error.strerror}); see its permissions") from error
    if not isinstance(content, dict):
        raise BackboneError(f"{path} holds no JSON object; copy or download it again")
    return content


def model_config(folder: Path) -> dict[str, Any]:
    """Content of config.json, of a folder that loads as its files say.

    Raises:
        BackboneError: no such file, or something in the folder that would change the model on loading.
    """
    refuse_adapters(folder)
    config = read_json(folder, "config.json")
    check_folder(folder, config)
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the folder, opened once to see that they are whole.

    Raises:
        BackboneError: none, damaged ones, or pickles only.
    """
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).is_file():
        shards = read_json(folder, INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise BackboneError(f"{folder / INDEX} lists no weights; copy or download it again")
        for weight, shard in shards.items():
            if not isinstance(shard, str) or not shard.endswith(".safetensors") or Path(shard).name != shard:
                raise BackboneError(
                    f"{folder / INDEX}: the weight {weight[:80]} is said to be in {str(shard)[:80]!r}, which is no "
                    "safetensors file of the folder; copy or download it again"
                )
        files = [folder / shard for shard in sorted(set(shards.values()))]
    else:
        pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
        if pickles:
            raise BackboneError(
                f"{folder} has pickled weights only ({pickles[0]}), which can run code when opened; "
                "give it to `acclimate backbones convert`, which reads only tensors and writes model.safetensors"
            )
        raise BackboneError(f"{folder} has no {WEIGHTS}; copy the weights there, in safetensors format")
    for file in files:
        if not file.is_file():
            raise BackboneError(f"{file} is missing, though {INDEX} names it; copy or download it again")
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"{file} is damaged ({first_line(error)}); copy or download it again") from error
    return files


def processor_config(folder: Path) -> dict[str, Any]:
    """Configuration of the image processor, from its own file or from that of a whole processor.

    Raises:
        BackboneError: there is none.
    """
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder, "preprocessor_config.json")
    nested = read_json(folder, "processor_config.json") if (folder / "processor_config.json").is_file() else {}
    if isinstance(nested.get("image_processor"), dict):
        return nested["image_processor"]
    raise BackboneError(
        f"{folder} has no preprocessor_config.json, which says how images are resized and normalised; "
        "copy it from the original model"
    )


def load_model(
    folder: Path, model_class: Any, files: list[Path], dtype: torch.dtype, advice: str, spare: str = "", **options: Any
) -> Any:
    """Load a model of a transformers class; weights in the files that it has no place for are left alone.

    Args:
        folder: what to load.
        model_class: the transformers class.
        files: from `weight_files`, to name in errors.
        dtype: type of the loaded weights.
        advice: what to do when weights are missing, the end of an error message.
        spare: weights with this in their names are not used and may be missing.
        options: passed to the class.

    Raises:
        BackboneError: what transformers cannot load or would change, weights that do not fill the model, or that are
            not finite.
    """
    config = read_json(folder, "config.json")
    check_sizes(folder, config, files)
    check_stored(files)
    try:
        with quiet():
            if getattr(model_class, "config_class", None) is not None:  # an automatic class has none
                check_numbers(folder, model_class, options, files)
            model, report = model_class.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # reported below, all at once
                output_loading_info=True,
                **options,
            )
    except BackboneError:
        raise
    except Exception as error:
        raise BackboneError(
            f"{folder}: transformers cannot load the model ({first_line(error)}); use the files of one model, or "
            "download them again"
        ) from error
    absent, misfit = sorted(report["missing_keys"]), sorted(str(key[0]) for key in report["mismatched_keys"])
    for kind, keys in (("lacks", absent), ("has other shapes than config.json says for", misfit)):
        wanted = [key for key in keys if not (spare and spare in key)]
        if wanted:  # transformers would fill these with random numbers
            raise BackboneError(f"{files[0]} {kind} {len(wanted)} of the model's weights, first {wanted[0]}; {advice}")
    check_finite(files, model)
    return model


def read_tokenizer(folder: Path) -> Any:
    """The Hugging Face tokenizer of the folder.

    Raises:
        BackboneError: it cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        with quiet():
            try:
                return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            except ImportError:  # SigLIP names a class that wants sentencepiece; tokenizer.json does without it
                if not (folder / "tokenizer.json").is_file():
                    raise
                return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise BackboneError(
            f"{folder}: the tokenizer cannot be read ({first_line(error)}); download it again"
        ) from error


@contextmanager
def followed(folder: Path, what: str) -> Iterator[None]:
    """Name what is at fault where values of a wrong kind are met only when they are used.

    Raises:
        BackboneError: in place of whatever is raised within.
    """
    try:
        yield
    except BackboneError as error:
        raise BackboneError(f"{folder}: {error}" if str(folder) not in str(error) else str(error)) from error
    except Exception as error:  # the tokenizers of transformers raise bare ones
        raise BackboneError(
            f"{folder}: {what} cannot be followed ({type(error).__name__}: {first_line(error)}); copy it from the "
            "original model"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of a message, shortened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".:; ")


@contextmanager
def quiet() -> Iterator[None]:
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
