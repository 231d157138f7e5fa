"""From the names of OpenAI's CLIP and open_clip to those of transformers, and sizes from shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from acclimate.backbones.open_clip import naming
from acclimate.errors import BackboneError

NEEDED = ("visual.conv1.weight", "visual.class_embedding", "visual.positional_embedding", "visual.proj")
NEEDED_TEXT = ("token_embedding.weight", "positional_embedding", "logit_scale")
ONE_MODEL = "use the file of one model, whole"


@dataclass(frozen=True)
class Sizes:
    """What the shapes of the weights say.

    Attributes:
        embed_dim: width of the joint space.
        patch: side of a patch in pixels.
        grid: patches along a side.
        vision_width, vision_layers, vision_inner: width, layers and inner width of the image tower.
        text_width, text_layers, text_inner: of the text tower.
        vocabulary: rows of the table of tokens.
        context_length: text positions.
    """

    embed_dim: int
    patch: int
    grid: int
    vision_width: int
    vision_layers: int
    vision_inner: int
    text_width: int
    text_layers: int
    text_inner: int
    vocabulary: int
    context_length: int


def check_layout(file: Path, names: Mapping[str, object]) -> None:
    """Refuse what is no ViT-CLIP, with what it is and what to use in its stead.

    Args:
        file: to name.
        names: of the tensors.

    Raises:
        BackboneError: so it is.
    """
    for other in naming()["others"]:
        if all(any(name.startswith(start) for name in names) for start in other["names"]):
            raise BackboneError(f"{file} holds {other['what']} and cannot be read here; {other['instead']}")
    absent = [name for name in (*NEEDED, *NEEDED_TEXT) if name not in names]
    if absent:
        raise BackboneError(
            f"{file} is no CLIP in open_clip's form: it has {len(names)} tensors, first {next(iter(sorted(names)))}, "
            f"and no {absent[0]}; give a checkpoint with both towers"
        )


def plain_text(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with a text tower of its own class (`text.`) named as those of the usual one."""
    if "text.token_embedding.weight" not in tensors:
        return dict(tensors)
    return {name.removeprefix("text."): value for name, value in tensors.items()}


def to_transformers(file: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under the names of transformers' CLIPModel, in the type that they are stored in.

    Args:
        file: to name.
        tensors: as `plain_text` returns them, checked by `check_layout`.

    Raises:
        BackboneError: a weight that has no place there.
    """
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in naming()["ignored"]:
            continue
        placed = list(_placed(name, value))
        if not placed:
            raise BackboneError(
                f"{file}: nothing in CLIP's layers takes the weight {name[:80]}; this is a model of another form, for "
                "which there is no door yet: use one with CLIP's own layers"
            )
        for other, tensor in placed:
            kind = torch.float32 if tensor.dtype == torch.float64 else tensor.dtype
            found[other] = tensor.to(kind).contiguous().clone()
    found["logit_scale"] = found["logit_scale"].reshape(())
    return found


def _placed(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    table = naming()
    part, _, last = name.rpartition(".")
    if name in table["bare"]:
        yield table["bare"][name], value
    elif name in table["transposed"]:
        yield table["transposed"][name], value.t()
    elif name in table["linear"]:
        yield table["linear"][name], value
    elif part in table["once"]:
        yield f"{table['once'][part]}.{last}", value
    for tower, layers in table["towers"].items():
        inside = re.fullmatch(rf"{re.escape(tower)}\.(\d+)\.(.+)", name)
        if inside is None:
            continue
        number, rest = inside.groups()
        part, _, last = rest.rpartition(".")
        if rest in table["fused"]:
            for own, third in zip("qkv", value.chunk(3), strict=True):
                yield f"{layers}.{number}.self_attn.{own}_proj.{table['fused'][rest]}", third
        elif part in table["layer"]:
            yield f"{layers}.{number}.{table['layer'][part]}.{last}", value


def sizes_of(file: Path, tensors: Mapping[str, Tensor]) -> Sizes:
    """Read the sizes of a model from the shapes of its weights.

    Args:
        file: to name.
        tensors: as `plain_text` returns them, checked by `check_layout`.

    Raises:
        BackboneError: shapes that do not belong together.
    """
    conv, rows = tensors["visual.conv1.weight"], tensors["visual.positional_embedding"].shape[0] - 1
    shape, grid = tuple(conv.shape), math.isqrt(max(rows, 0))
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or grid * grid != rows or not grid:
        raise BackboneError(
            f"{file}: no square image of three channels in patches of shape {shape} on {rows} positions; {ONE_MODEL}"
        )
    widths = {}
    for tower, prefix in (("image", "visual.transformer.resblocks"), ("text", "transformer.resblocks")):
        numbers = sorted({int(name.split(".")[-3]) for name in tensors if re.match(rf"{prefix}\.\d+\.ln_1\.w", name)})
        if not numbers or numbers != list(range(len(numbers))) or f"{prefix}.0.mlp.c_fc.weight" not in tensors:
            raise BackboneError(f"{file}: the {tower} tower has the layers {numbers[:20]}; {ONE_MODEL}")
        widths[tower] = (len(numbers), int(tensors[f"{prefix}.0.mlp.c_fc.weight"].shape[0]))
    return Sizes(
        int(tensors["visual.proj"].shape[-1]),
        int(shape[2]),
        grid,
        int(shape[0]),
        *widths["image"],
        int(tensors["token_embedding.weight"].shape[1]),
        *widths["text"],
        int(tensors["token_embedding.weight"].shape[0]),
        int(tensors["positional_embedding"].shape[0]),
    )
