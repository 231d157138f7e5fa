"""A hash that tells whether two sets of weights are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor


def fingerprint(weights: Iterable[tuple[str, Tensor]]) -> str:
    """First 32 hexadecimal digits of SHA-256 over names, shapes and fp32 bytes.

    Stored precision, sharding and order of the files do not matter: fp16 weights and their fp32 copy are the same.

    Args:
        weights: (name, tensor) pairs sorted by name.
    """
    digest = hashlib.sha256()
    for name, tensor in weights:
        if name.endswith("position_ids"):  # a buffer of counts that old checkpoints hold and new ones do not
            continue
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def digest_of_values(weights: Iterable[Tensor], usage: str) -> str:
    """First 32 hexadecimal digits of SHA-256 over what is read from the weights, and their shapes and fp32 bytes.

    Names and order do not matter: transformers renames the weights of an encoder between its releases, and saves them
    under other names where the encoder is part of a larger model.

    Args:
        weights: the tensors.
        usage: how the model is used.
    """
    digests = []
    for tensor in weights:
        digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().view(-1).view(torch.uint8).numpy().data)
        digests.append(digest.digest())
    return hashlib.sha256(usage.encode() + b"".join(sorted(digests))).hexdigest()[:32]


def stored_names(files: Sequence[Path]) -> list[str]:
    """Names of all tensors in safetensors files; reads no weights."""
    names: list[str] = []
    for file in files:
        with safe_open(file, framework="pt") as opened:
            names += opened.keys()
    return names


def stored_weights(files: Sequence[Path]) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) pairs of safetensors files, sorted by name over all of them, one tensor in memory at a time."""
    with ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
        for name, source in sorted((name, index) for index, file in enumerate(opened) for name in file.keys()):  # noqa: SIM118
            yield name, opened[source].get_tensor(name)
