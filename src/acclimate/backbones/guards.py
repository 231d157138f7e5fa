"""What in a folder would make transformers load something else than the files say, or more than they hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from acclimate.errors import BackboneError

# Entries of config.json that change weights or code on loading, with what to do about them.
_ELSEWHERE = "write the model again with save_pretrained, and use the folder that it makes"
_CHANGING = {
    "quantization_config": "use the weights before quantisation, or dequantise and save them with save_pretrained",
    "compression_config": "use the weights before compression, or decompress and save them with save_pretrained",
    "transformers_weights": _ELSEWHERE,
    "configuration_files": _ELSEWHERE,
    "fusion_config": _ELSEWHERE,
}
_PEFT = "adapter_config.json"
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_ATTENTION = (None, "eager", "sdpa")  # others need a package, or fetch code from the Hub
_REPEATED = re.compile(r"(^|_)(layers?|depths?|stages?|blocks?)$")  # of which each is at least one tensor
_COUNTED = re.compile(r"(hidden|image|patch|intermediate|vocab)_size|num_(attention_heads|hidden_layers|channels)")
_LABELS, _LARGEST = 100_000, 2**24
_SLACK = 2**22  # numbers, 16 MB: small models may differ from their files and are told precisely how
_PACKED = {"I8", "U8", "I4", "U4"}


def refuse_adapters(folder: Path) -> None:
    """Refuse a folder with an adapter of PEFT, which transformers would put into the model.

    Raises:
        BackboneError: there is one.
    """
    if (folder / _PEFT).exists():
        raise BackboneError(
            f"{folder / _PEFT}: a PEFT adapter changes the weights on loading; merge it first (PeftModel's "
            f"merge_and_unload, then save_pretrained into another folder), or remove {_PEFT} to do without it"
        )


def check_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a folder that transformers would change on loading, so that its weights are not those of its files.

    Args:
        folder: in Hugging Face format.
        config: content of its config.json.

    Raises:
        BackboneError: quantisation, or weights, configuration or attention from elsewhere; or it is a model of timm.
    """
    if config.get("model_type") == "timm_wrapper" or {"architecture", "pretrained_cfg"} <= config.keys():
        raise BackboneError(
            f"{folder / 'config.json'}: this is a model of timm ({repr(config.get('architecture'))[:60]}), which takes "
            "timm and torchvision to read, and this package does without torchvision; use one in the form of "
            "transformers, such as owkin/phikon for tissue or facebook/dinov2-base"
        )
    for path in folder.iterdir():
        if _DISTRIBUTED.fullmatch(path.name):
            raise BackboneError(
                f"{path}: shards of distributed training are loaded in place of other weights; {_ELSEWHERE}"
            )
    for name, key, value in _entries(config):
        if key in _CHANGING and value is not None:
            raise BackboneError(f"{folder / 'config.json'}: {name} changes what is loaded; {_CHANGING[key]}")
        if key.lstrip("_") == "attn_implementation" and value not in _ATTENTION:
            raise BackboneError(
                f"{folder / 'config.json'}: {name}={repr(value)[:80]} is not supported; remove the entry"
            )


def check_sizes(folder: Path, config: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Refuse a configuration that asks for nothing, or for far more than the files hold, before memory is asked for.

    Args:
        folder: to name in errors.
        config: content of its config.json.
        files: its weights.

    Raises:
        BackboneError: numbers that no such model has.
    """
    tensors = sum(1 for _ in _headers(files))
    for name, key, value in _entries(config):
        limit = tensors if _REPEATED.search(key) else _LABELS if key == "num_labels" else _LARGEST
        for number in value if isinstance(value, list) else [value]:
            if _COUNTED.fullmatch(key) and number is not None and (type(number) is not int or number < 1):
                raise BackboneError(
                    f"{folder / 'config.json'}: {name}={repr(value)[:40]} is no whole number from 1 on; use the files "
                    "of one model"
                )
            if isinstance(number, int) and number > limit:
                held = f", and the files hold {tensors} tensors" if limit == tensors else ""
                raise BackboneError(
                    f"{folder / 'config.json'}: {name}={str(value)[:40]} is too large{held}; use the files of one model"
                )


def check_numbers(folder: Path, model_class: Any, options: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Refuse a model that is far larger than the files, which transformers would fill with random numbers.

    Args:
        folder: to name in errors.
        model_class: the transformers class.
        options: that it is made with.
        files: its weights.

    Raises:
        BackboneError: the model has half as many numbers again as the files.
    """
    config = model_class.config_class.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = model_class(config, **options)
    wanted = sum(weight.numel() for weight in model.parameters())
    held = sum(math.prod(shape) for _, _, shape in _headers(files))
    if wanted > 1.5 * held + _SLACK:
        raise BackboneError(
            f"{folder / 'config.json'} describes a model of {wanted:,} numbers, and the files hold {held:,}; use the "
            "files of one model"
        )


def check_stored(files: Sequence[Path]) -> None:
    """Refuse weights of 8 bits or fewer, which are no numbers without the table that unpacks them.

    Raises:
        BackboneError: naming the first of them.
    """
    for name, kind, _ in _headers(files):
        if kind in _PACKED:
            raise BackboneError(
                f"{files[0].parent}: the weights are quantised ({name} is stored as {kind}); use those before "
                "quantisation"
            )


def check_finite(files: Sequence[Path], model: Any) -> None:
    """Refuse weights that are not numbers, which would make every feature NaN.

    Args:
        files: what the model was loaded from, to find the weight that is broken in the file.
        model: a loaded transformers model.

    Raises:
        BackboneError: naming tensor and file.
    """
    broken = next((name for name, weight in model.named_parameters() if not _finite(weight.detach())), None)
    if broken is None:
        return
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                if not _finite(opened.get_tensor(name)):
                    raise BackboneError(
                        f"{file}: the weight {name} has numbers that are NaN or infinite; copy or download it again, "
                        "or take an earlier checkpoint if training made them"
                    )
    raise BackboneError(f"{files[0]}: the weight {broken} does not fit into {model.dtype}; load it as float32")


def _finite(weight: torch.Tensor) -> bool:
    if not weight.numel() or not weight.is_floating_point():
        return True
    if weight.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        weight = weight.float()  # eight bits know no extremes
    low, high = weight.aminmax()  # NaN where there is one
    return math.isfinite(float(low)) and math.isfinite(float(high))


def _headers(files: Iterable[Path]) -> Iterator[tuple[str, str, list[int]]]:
    """Name, type and shape of every stored tensor; reads no weights."""
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                part = opened.get_slice(name)
                yield name, part.get_dtype(), part.get_shape()


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Full name, key and value of every entry, those of nested configurations too, however deep."""
    waiting = [("", config)]
    while waiting:
        before, entries = waiting.pop()
        for key, value in entries.items():
            yield f"{before}{key}"[:120], key, value
            if isinstance(value, dict):
                waiting.append((f"{before}{key}."[:120], value))
