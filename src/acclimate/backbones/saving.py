"""Encoders in Hugging Face format, written whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from acclimate.backbones.checkpoints import quiet
from acclimate.errors import RunError
from acclimate.files import part_of, remove_parts, replace_file, write_json

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"


def save_encoder(model: Any, processor: dict[str, Any], folder: Path) -> None:
    """Write configuration, weights and preprocessing of a transformers model; each file is whole or not there.

    Args:
        model: the model.
        processor: what preprocessor_config.json says.
        folder: where to.

    Raises:
        RunError: when they cannot be written.
    """
    remove_parts(folder / "model")
    part = part_of(folder / "model")
    try:
        with quiet():
            model.save_pretrained(part, max_shard_size="100GB")  # one file, which is what readers look for first
        for name in (CONFIG, WEIGHTS):
            replace_file(folder / name, (part / name).read_bytes())
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunError(f"cannot write {folder}: {reason}; free some space or choose another `out`") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    write_json(folder / PROCESSOR, processor)
