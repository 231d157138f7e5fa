"""Checkpoints written once as plain folders in Hugging Face format, which then load as any other."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from acclimate.backbones.catalogue import known_file
from acclimate.backbones.checkpoints import INDEX, WEIGHTS, first_line
from acclimate.backbones.open_clip import timm_bert
from acclimate.backbones.open_clip.configuration import form_of, read_config
from acclimate.backbones.open_clip.facts import Facts, facts_of, tower_configs
from acclimate.backbones.open_clip.mapping import ONE_MODEL, Sizes, check_layout, plain_text, sizes_of, to_transformers
from acclimate.backbones.open_clip.names import CHECKPOINTS, CONFIG, PICKLED, SUFFIXES, TOKENIZERS
from acclimate.backbones.open_clip.tokenizing import write_tokenizer
from acclimate.backbones.open_clip.weights import read_weights
from acclimate.backbones.saving import PROCESSOR
from acclimate.data.cache import default_cache_dir
from acclimate.errors import BackboneError, RunError
from acclimate.files import part_of, remove_parts, write_json

OWN = "config.json"  # of transformers
PICKLE = "pytorch_model.bin"  # of transformers before safetensors
FORM = 1  # of the folders in the cache; another number writes them anew
SMALL = ("*.json", "*.txt", "*.model", "*.jinja")

log = logging.getLogger("acclimate.backbones")


def checkpoint_in(folder: Path) -> Path | None:
    """Return the checkpoint of a folder in open_clip's layout; none of a folder in that of transformers.

    Raises:
        BackboneError: there are several, and nothing says which.
    """
    config = (folder / CONFIG).is_file()
    if (folder / "adapter_config.json").exists() or ((folder / OWN).is_file() and not config):
        return None
    if (folder / OWN).is_file() and ((folder / WEIGHTS).is_file() or (folder / INDEX).is_file()):
        return None
    for name in CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (SUFFIXES if config else PICKLED)]
    if len(files) > 1:
        raise BackboneError(f"{folder} holds several checkpoints; give one of them, such as {files[0]}")
    return files[0] if files else None


def opened(file: Path) -> Path:
    """Return the folder in the cache that a checkpoint was written to, or write it now.

    Raises:
        BackboneError: it is no ViT-CLIP, or something about it is not known.
        RunError: the folder cannot be written.
    """
    folder = conversion_of(file)
    if not folder.is_dir():
        _write(folder, lambda part: _convert(file, part, None))
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        log.info("%s is now in Hugging Face format, too, %.0f MB in %s", file.name, size, folder)
    return folder


def conversion_of(file: Path) -> Path:
    """Return where the cache has, or would have, what a checkpoint was written to: by path, sizes and times."""
    signature: list[Any] = [FORM, (info := known_file(file)) and info.activation]
    real = file.resolve()
    for path in (real, *(file.parent / name for name in (CONFIG, *TOKENIZERS))):
        if path.is_file():
            status = path.stat()
            signature.append([str(path) if path == real else path.name, status.st_size, status.st_mtime_ns])
    return conversions() / hashlib.sha256(json.dumps(signature).encode()).hexdigest()[:32]


def conversions() -> Path:
    """Return the folder of the cache with what checkpoints were written to."""
    return default_cache_dir() / "backbones"


def convert_backbone(
    source: str | os.PathLike[str], out: str | os.PathLike[str], activation: str | None = None
) -> Path:
    """Write a checkpoint of open_clip, or pickled weights of transformers, as a plain folder in Hugging Face format.

    Args:
        source: a file, a folder, or a Hub id, of which only the files that are needed are downloaded.
        out: the folder to write; it must not hold anything yet.
        activation: "quick_gelu" or "gelu", where nothing else says it.

    Returns:
        The folder.

    Raises:
        BackboneError: nothing found, it is no ViT-CLIP, something about it is not known, or it needs no conversion.
        RunError: the folder cannot be written, or is not empty.
    """
    from acclimate.backbones.hub import find_checkpoint

    target = Path(out).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} is no empty folder; choose another `out`")
    place = find_checkpoint(os.fspath(source), pickled=True)
    file = checkpoint_in(place) if place.is_dir() else place
    if file is not None:
        _write(target, lambda part: _convert(file, part, activation))
    elif (place / PICKLE).is_file() and not (place / WEIGHTS).is_file():
        _write(target, lambda part: _unpickle(place, part))
    else:
        raise BackboneError(
            f"{place} holds no checkpoint to convert; where it is in Hugging Face format, use it as it is"
        )
    return target


def _write(folder: Path, make: Callable[[Path], None]) -> None:
    """Write a folder, whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(folder)
        part = part_of(folder)
        part.mkdir()
        try:
            make(part)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        if folder.is_dir() and any(folder.iterdir()):  # another process was faster
            return
        reason = getattr(error, "strerror", None) or first_line(error)
        raise RunError(
            f"cannot write {folder}: {reason}; free some space, or set ACCLIMATE_CACHE to another place"
        ) from None


def _convert(file: Path, folder: Path, activation: str | None) -> None:
    tensors = plain_text(read_weights(file))
    write = _write_timm_bert if timm_bert.is_timm_bert(tensors) else _write_clip
    sizes, facts, weights = write(file, folder, tensors, activation)
    write_json(folder / PROCESSOR, _processor(facts))
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    log.info(
        "%s: ViT of %d layers, patches of %d in %d pixels, %d and %d heads; %s (%s)",
        file.name, sizes.vision_layers, sizes.patch, facts.image_size, *facts.heads, facts.activations[0], facts.source,
    )  # fmt: skip


def _write_clip(
    file: Path, folder: Path, tensors: dict[str, Tensor], activation: str | None
) -> tuple[Sizes, Facts, dict[str, Tensor]]:
    """Write configuration and tokenizer of a ViT-CLIP; return its sizes, facts and weights."""
    check_layout(file, tensors)
    sizes = sizes_of(file, tensors)
    facts = facts_of(file, tensors, sizes, known_file(file), activation)
    weights = to_transformers(file, tensors)
    tokenizer = write_tokenizer(file.parent, facts.tokenizer, sizes.vocabulary, sizes.context_length, folder)
    ends = tokenizer("")["input_ids"]
    if not ends or ends[-1] != max(tokenizer.get_vocab().values()):
        raise BackboneError(
            f"{file.parent}: open_clip reads a text at its highest id, and the tokenizer ends texts with the id "
            f"{(ends or ['none'])[-1]}; copy the tokenizer of the original model"
        )
    write_json(folder / OWN, _config(sizes, facts, ends, tokenizer))
    return sizes, facts, weights


def _write_timm_bert(
    file: Path, folder: Path, tensors: dict[str, Tensor], activation: str | None
) -> tuple[Sizes, Facts, dict[str, Tensor]]:
    """Write configuration and tokenizer of a ViT of timm and a BERT; return sizes, facts and weights of the model."""
    path = file.parent / CONFIG
    if not path.is_file():
        raise BackboneError(
            f"{file} has towers of timm and BERT, and how they are read cannot be seen from weights; put the "
            f"{CONFIG} of the model beside it"
        )
    if activation is not None:
        raise BackboneError(
            f"{file}: towers of timm and BERT have GELU; leave `activation` out, which is for CLIP's own"
        )
    blocks = read_config(path)
    if form_of(blocks) != "timm_bert":
        raise BackboneError(f"{path} names no towers of timm and BERT, which {file.name} has; {ONE_MODEL}")
    sizes = timm_bert.sizes_of(file, tensors, path, blocks["text_cfg"])
    facts = timm_bert.facts_of(path, blocks, sizes)
    weights = to_transformers(file, tensors, "timm_bert")
    tokenizer = write_tokenizer(file.parent, facts.tokenizer, sizes.vocabulary, sizes.context_length, folder)
    if tokenizer.pad_token_id is None:
        raise BackboneError(f"{file.parent}: the tokenizer has no padding; copy that of the original model")
    write_json(folder / OWN, timm_bert.config_of(tensors, sizes, facts, tokenizer.pad_token_id))
    return sizes, facts, weights


def _unpickle(source: Path, folder: Path) -> None:
    """Write weights that transformers has pickled as safetensors, with everything else beside them."""
    weights = {name: value.contiguous().clone() for name, value in read_weights(source / PICKLE).items()}
    for pattern in SMALL:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def _config(sizes: Sizes, facts: Facts, ends: list[int], tokenizer: Any) -> dict[str, Any]:
    """What config.json says."""
    vision, text = ({**told, "projection_dim": sizes.embed_dim} for told in tower_configs(sizes, facts))
    pad = tokenizer.pad_token_id
    tokens = {"bos_token_id": ends[0], "eos_token_id": ends[-1], "pad_token_id": ends[-1] if pad is None else pad}
    text |= {"vocab_size": sizes.vocabulary, "max_position_embeddings": sizes.context_length, **tokens}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": sizes.embed_dim,
        "text_config": {"model_type": "clip_text_model", **text},
        "vision_config": {
            "model_type": "clip_vision_model",
            **vision,
            "image_size": facts.image_size,
            "patch_size": sizes.patch,
        },
    }


def _processor(facts: Facts) -> dict[str, Any]:
    """What preprocessor_config.json says."""
    square = {"height": facts.image_size, "width": facts.image_size}
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": square if facts.squash else {"shortest_edge": facts.image_size},
        "resample": 2 if facts.bilinear else 3,
        "do_center_crop": not facts.squash,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(facts.mean),
        "image_std": list(facts.std),
    }
