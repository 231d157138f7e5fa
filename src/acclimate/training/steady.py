"""The same features bit for bit, whatever else is computed beside them: pieces of one shape, one thread each.

The last bits of a matrix product depend on its shape, on how many threads share it out, and with several of them on the
place of a row. So rows run in pieces of one size, the last filled up with copies, and on the CPU each piece has one
thread; as many pieces run side by side as torch may use threads. In such a piece neither the place of a row nor the
others in it change its bits, which a test holds for every family of encoders.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

ROWS = {"cpu": 8}  # in a piece: on one thread as quick as larger ones, and little is wasted on a few images
OTHERWISE = 64  # on accelerators


def steady(encode: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device) -> Tensor:
    """Apply a frozen encoder row by row, as it were.

    Neither gradient nor autocast reaches it: what is kept does not depend on the precision of a training.

    Args:
        encode: maps inputs (P, ...) to features (P, F).
        inputs: (N, ...), N at least 1.
        device: where it computes.

    Returns:
        (N, F) in float32, on the CPU.
    """
    size = piece_size(device)
    pieces = [_filled(piece, size) for piece in inputs.split(size)]

    def run(piece: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):  # both belong to a thread
            return encode(piece).float().cpu()

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        rows = [run(piece) for piece in pieces]
    else:
        try:
            with ThreadPoolExecutor(min(threads, len(pieces)), "steady", torch.set_num_threads, (1,)) as pool:
                rows = list(pool.map(run, pieces))
        finally:
            torch.set_num_threads(threads)  # a number is set for its thread, and for all threads that begin later
    return torch.cat(rows)[: len(inputs)]


def piece_size(device: torch.device) -> int:
    """Return how many rows a piece has."""
    return ROWS.get(device.type, OTHERWISE)


def at_once(device: torch.device) -> int:
    """Return how many rows it is worth handing over together: whole pieces, and some for each thread."""
    return max(OTHERWISE, torch.get_num_threads() * piece_size(device))


def computed_on(device: torch.device, dtype: torch.dtype) -> str:
    """Return a name for what decides the last bits of features, beside weights and pixels."""
    unit = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return f"{piece_size(device)} rows, {dtype}, {device.type} {unit}, torch {torch.__version__}"


def _filled(piece: Tensor, size: int) -> Tensor:
    """Return a piece with copies of its last row up to `size` rows."""
    return piece if len(piece) == size else torch.cat([piece, piece[-1:].expand(size - len(piece), *piece.shape[1:])])
