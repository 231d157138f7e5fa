"""Finished prompt labels, from our own files and from those that SPG's authors released."""

from __future__ import annotations

import io
from collections.abc import Mapping
from glob import escape
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from acclimate.errors import DataError
from acclimate.methods.prerequisites import GivenFile

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder

ADVICE = "give one file for each domain: DOMAIN.safetensors with the tensor 'context' (n, D), or a released .pt file"
ZIP = b"PK"  # how a file of `torch.save` begins


def given_label(folder: str, domain: str) -> GivenFile:
    """Return where the label of a domain is found: DOMAIN.safetensors, DOMAIN.pt, or the released *_CoOp_LETTER.pt."""
    name, letter = escape(domain), escape(domain[0].lower())
    names = (f"{name}.safetensors", f"{name}.pt"), (f"*_CoOp_{letter}.pt",)
    return GivenFile(folder, names, read_label, f"prompt label of the domain '{domain}'", ADVICE)


def read_label(content: bytes, backbone: DualEncoder) -> Mapping[str, Tensor]:
    """Return a prompt label, `context` (n, D) in float32, from the bytes of a file.

    Args:
        content: of a safetensors file with a tensor `context`, or what `torch.save` wrote of a tensor or of CoOp's
            prompt learner, which is read by torch's restricted loader (`weights_only`).
        backbone: whose text tower is D wide.

    Raises:
        DataError: the file holds something else, or a label of another width.
    """
    label = _released(content) if content.startswith(ZIP) else _saved(content)
    if label is None or label.ndim != 2 or not label.is_floating_point() or not label.isfinite().all():
        raise DataError(f"not a prompt label; {ADVICE}")
    if label.shape[1] != backbone.text_width:
        raise DataError(
            f"a prompt label of width {label.shape[1]}, but the text tower has {backbone.text_width}; name the "
            "backbone that the label was learned with"
        )
    return {"context": label.detach().float().clone()}


def _saved(content: bytes) -> Tensor | None:
    try:
        return load(content).get("context")
    except SafetensorError:
        return None


def _released(content: bytes) -> Tensor | None:
    """Return the tensor of a `torch.save` file; a released label is a view into the prompts of all classes, on a GPU.

    CoOp's own checkpoints hold the context as `ctx` among the weights of the prompt learner, alone or in `state_dict`.
    """
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # whatever is wrong with a foreign file, it is no label
        return None
    if isinstance(found, dict):
        weights = found.get("state_dict", found)
        found = weights.get("ctx") if isinstance(weights, dict) else None
    return found if isinstance(found, Tensor) else None
