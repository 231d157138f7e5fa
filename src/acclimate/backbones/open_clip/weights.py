"""Names and tensors of a checkpoint file, whatever it is wrapped in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from acclimate.backbones.checkpoints import first_line
from acclimate.backbones.open_clip.names import SAFE
from acclimate.errors import BackboneError

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
PREFIXES = ("module.", "_orig_mod.", "model.")  # of distributed training, of torch.compile, of Lightning
AGAIN = "copy or download it again"


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, by name and without the prefixes that training wrapped them in.

    A pickle is read by torch's restricted loader (`weights_only`), which makes tensors and plain containers and calls
    nothing that the file names.

    Raises:
        BackboneError: a file that is damaged, that holds more than tensors, or none.
    """
    content = _safe(file) if file.suffix == SAFE else _restricted(file)
    found = content
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            found = content[name]
            break
    if not isinstance(found, Mapping):
        raise BackboneError(f"{file} holds a {type(found).__name__}, and no weights by name; give a state dict")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        names = ", ".join(repr(str(name)[:40]) for name in list(found)[:3]) or "nothing"
        raise BackboneError(f"{file} holds no tensors (it has {names}); give a state dict, or a folder that holds one")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _safe(file: Path) -> Any:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{file} is damaged ({first_line(error)}); {AGAIN}") from error


def _restricted(file: Path) -> Any:
    with _opened(file) as stream:
        zipped = stream.read(4) == b"PK\x03\x04"
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # torch raises bare ones of many kinds
        if "TorchScript" in str(error):
            raise BackboneError(
                f"{file} is a TorchScript archive, which holds code beside weights; for OpenAI's own files use the "
                "same weights from the Hub, such as openai/clip-vit-base-patch32, for others a state dict"
            ) from None
        if type(error).__name__ == "UnpicklingError" and "weights_only" in str(error):
            raise BackboneError(
                f"{file} holds more than weights ({_named(error)}), which could run code when opened; where you trust "
                "it, write its state dict alone with torch.save, and give that file"
            ) from None
        raise BackboneError(f"{file} cannot be read ({first_line(error)}); {AGAIN}") from error


def _opened(file: Path) -> Any:
    try:
        return file.open("rb")
    except OSError as error:
        raise BackboneError(f"{file} cannot be read ({error.strerror}); see its permissions") from error


def _named(error: Exception) -> str:
    """What the restricted loader met, from its long message."""
    words = str(error).replace("\n", " ")
    for mark in ("Unsupported global: GLOBAL ", "Unsupported class ", "Unsupported operand "):
        if mark in words:
            return words.partition(mark)[2].split(" ")[0][:80]
    return first_line(error)[:80]
