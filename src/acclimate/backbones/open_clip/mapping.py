"""From the names of OpenAI's CLIP and open_clip to those of transformers, and sizes from shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acclimate.backbones.open_clip import naming
from acclimate.errors import BackboneError

NEEDED = ("visual.conv1.weight", "visual.class_embedding", "visual.positional_embedding", "visual.proj")
NEEDED_TEXT = ("token_embedding.weight", "positional_embedding", "logit_scale")
ONE_MODEL = "use the file of one model, whole"
WHAT = {"clip": "ViT-CLIP", "timm_bert": "ViT of timm and a BERT"}  # forms of models in naming.yaml


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


def to_transformers(file: Path, tensors: Mapping[str, Tensor], form: str = "clip") -> dict[str, Tensor]:
    """Return the weights under the names of transformers, in the type that they are stored in.

    Args:
        file: to name.
        tensors: of a ViT-CLIP as `plain_text` returns them, checked by `check_layout`.
        form: a form of model in naming.yaml.

    Raises:
        BackboneError: a weight that has no place there.
    """
    found: dict[str, Tensor] = {}
    table = naming()[form]
    for name, value in tensors.items():
        if name in table["ignored"]:
            continue
        placed = list(_placed(table, name, value))
        if not placed:
            raise BackboneError(
                f"{file}: nothing in the layers of a {WHAT[form]} takes the weight {name[:80]}; this is a model of "
                "another form, for which there is no door yet: use one with CLIP's own layers"
            )
        for other, tensor in placed:
            kind = torch.float32 if tensor.dtype == torch.float64 else tensor.dtype
            found[other] = tensor.to(kind).contiguous().clone()
    found["logit_scale"] = found["logit_scale"].reshape(())
    return found


def _placed(table: Mapping[str, Any], name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
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
            for own, third in zip(table["thirds"], value.chunk(3), strict=True):
                yield f"{layers}.{number}.{own}.{table['fused'][rest]}", third
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
    conv = tensors["visual.conv1.weight"]
    return Sizes(
        int(tensors["visual.proj"].shape[-1]),
        int(conv.shape[-1]),
        grid_of(file, conv, tensors["visual.positional_embedding"].shape[0] - 1),
        int(conv.shape[0]),
        *layers_of(file, tensors, "image", "visual.transformer.resblocks", "ln_1", "mlp.c_fc"),
        int(tensors["token_embedding.weight"].shape[1]),
        *layers_of(file, tensors, "text", "transformer.resblocks", "ln_1", "mlp.c_fc"),
        int(tensors["token_embedding.weight"].shape[0]),
        int(tensors["positional_embedding"].shape[0]),
    )


def grid_of(file: Path, conv: Tensor, rows: int) -> int:
    """Return the patches along a side of a square image.

    Args:
        file: to name.
        conv: (width, 3, patch, patch), what makes a token of a patch.
        rows: number of patches.

    Raises:
        BackboneError: patches or image are not square, or the image has no three channels.
    """
    shape, grid = tuple(conv.shape), math.isqrt(max(rows, 0))
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or grid * grid != rows or not grid:
        raise BackboneError(
            f"{file}: no square image of three channels in patches of shape {shape} on {rows} positions; {ONE_MODEL}"
        )
    return grid


def layers_of(
    file: Path, tensors: Mapping[str, Tensor], tower: str, prefix: str, norm: str, mlp: str
) -> tuple[int, int]:
    """Return how many layers a tower has, and the inner width of their MLPs.

    Args:
        file: to name.
        tensors: by name.
        tower: what it is called, to name.
        prefix: of the names of its layers.
        norm: a norm of every layer.
        mlp: the first matrix of its MLP.

    Raises:
        BackboneError: there are none, or not all.
    """
    inside = re.compile(rf"{re.escape(prefix)}\.(\d+)\.{re.escape(norm)}\.weight")
    numbers = sorted({int(match[1]) for name in tensors if (match := inside.fullmatch(name))})
    first = f"{prefix}.0.{mlp}.weight"
    if not numbers or numbers != list(range(len(numbers))) or first not in tensors:
        raise BackboneError(f"{file}: the {tower} tower has the layers {numbers[:20]}; {ONE_MODEL}")
    return len(numbers), int(tensors[first].shape[0])
