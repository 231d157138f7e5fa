"""Finished prompt labels from files: our own, and those that SPG's authors released. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acclimate.errors import DataError
from acclimate.training.checkpoint import read_tensors

_DTYPES: dict[str, np.dtype] = {"torch HalfStorage": np.dtype("<f2"), "torch FloatStorage": np.dtype("<f4")}
_KNOWN = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict", *_DTYPES}
_NEXT = "give one file for each domain: DOMAIN.safetensors with the tensor 'context' (n, D), or a released .pt file"


def find_label(folder: Path, domain: str) -> Path:
    """Return the file of a domain's prompt label: DOMAIN.safetensors, DOMAIN.pt, or the released *_CoOp_LETTER.pt.

    Raises:
        DataError: there is none, or there are several.
    """
    names = (f"{domain}.safetensors", f"{domain}.pt")
    found = [folder / name for name in names if (folder / name).is_file()]
    found = found or sorted(folder.glob(f"*_CoOp_{domain[0].lower()}.pt"))
    if len(found) != 1:
        what = "no prompt label" if not found else f"{len(found)} prompt labels ({', '.join(f.name for f in found)})"
        raise DataError(f"{folder}: {what} of the domain '{domain}'; {_NEXT}")
    return found[0]


def read_label(path: Path, width: int) -> Tensor:
    """Return a prompt label (n, D) in float32.

    Args:
        path: `.safetensors` with a tensor `context`, or what `torch.save` wrote of a tensor.
        width: D that the text tower has.

    Raises:
        DataError: the file holds something else, or a label of another width.
    """
    label = read_tensors(path)[0].get("context") if path.suffix == ".safetensors" else _read_released(path)
    if label is None or label.ndim != 2 or not label.isfinite().all():
        raise DataError(f"{path}: not a prompt label; {_NEXT}")
    if label.shape[1] != width:
        raise DataError(
            f"{path}: a prompt label of width {label.shape[1]}, but the text tower has {width}; "
            "name the backbone that the label was learned with"
        )
    return label.float()


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_released(path: Path) -> Tensor | None:
    """Read a 2-D tensor that `torch.save` wrote, from its numbers and the description of their layout.

    The description is a pickle, of which the instructions are looked at and not followed. A released label is a view
    into the prompts of all classes, so that its file is a hundred times larger than the label.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (described,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            numbers = archive.read(described.removesuffix("data.pkl") + "data/0")
            layout = _layout(archive.read(described))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    if layout is None:
        return None
    dtype, offset, shape, strides = layout
    values = np.frombuffer(numbers, dtype=dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min(shape) < 1 or min(strides) < 0 or last >= len(values):
        return None
    steps = tuple(stride * dtype.itemsize for stride in strides)
    return torch.from_numpy(np.lib.stride_tricks.as_strided(values[offset:], shape, steps).astype(np.float32))


def _layout(pickled: bytes) -> tuple[np.dtype, int, tuple[int, int], tuple[int, int]] | None:
    """Return type, offset, shape and strides of a 2-D tensor from the instructions of its pickle."""
    dtype: np.dtype | None = None
    numbers, behind = [], False
    for instruction, argument, _ in pickletools.genops(pickled):
        if instruction.name in ("EMPTY_DICT", "EMPTY_LIST"):  # not a tensor alone
            return None
        if instruction.name in ("GLOBAL", "STACK_GLOBAL"):
            if argument not in _KNOWN:
                return None
            dtype = _DTYPES.get(argument, dtype)
        behind = behind or instruction.name == "BINPERSID"  # the storage; what follows is its view
        if behind and isinstance(argument, int) and instruction.name in ("BININT", "BININT1", "BININT2", "LONG1"):
            numbers.append(argument)
    if dtype is None or len(numbers) != 5:
        return None
    offset, rows, columns, down, across = numbers
    return dtype, offset, (rows, columns), (down, across)
