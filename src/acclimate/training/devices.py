"""Device and precision, resolved once, through Accelerate."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from acclimate import arguments
from acclimate.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PATIENCE = timedelta(days=7)  # that processes wait for the first, which encodes images and measures alone


def resolve_device(device: str) -> torch.device:
    """Return the torch device of `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: for an unknown name, or a device that this machine does not have.
    """
    arguments.text("device", device)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if device not in available:
        raise ConfigError(f"`{device=}`: choose auto, {', '.join(available)}")
    if not available[device]:
        raise ConfigError(f"`{device=}`: this machine (or this build of torch) has none; use `device='auto'`")
    if device == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # one for each process of a launcher
    return torch.device(device)


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """Return the number format that a name means on a device, see `make_accelerator`.

    Raises:
        ConfigError: an unknown name, or one that the device has no use for.
    """
    arguments.one_of("precision", precision, get_args(Precision))
    if precision == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("`precision='fp16'` needs a GPU; use bf16 or fp32 on the CPU")
    return precision


def in_precision(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes the contexts in which a model computes in a number format, in the thread that enters them.

    Matrix products and convolutions run in it; weights stay what they are, and so does what a method computes in full
    precision, such as cosines.

    Raises:
        ConfigError: see `resolve_precision`.
    """
    types = {"bf16": torch.bfloat16, "fp16": torch.float16}
    chosen = types.get(resolve_precision(precision, device))
    return nullcontext if chosen is None else partial(torch.autocast, device.type, chosen)


def make_accelerator(
    device: torch.device, precision: Precision = "auto", track: str | None = None, folder: Path | None = None
) -> Accelerator:
    """Return an accelerator for one run on `device`, with a tracker that writes into a folder where one is named.

    `auto` is bf16 autocast on a GPU that has it and fp32 elsewhere: on the CPU, fp32 keeps a resumed run bit-identical
    to an unbroken one on machines with and without bf16 units.
    """
    precision = resolve_precision(precision, device)
    # Accelerate keeps one process-wide state, whose precision cannot change; each run starts from a clean one.
    # The processes that `accelerate launch` or `torchrun` has started stay connected meanwhile.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision={"fp32": "no"}.get(precision, precision),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        log_with=track,
        project_dir=folder,
    )
