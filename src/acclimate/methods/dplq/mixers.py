"""Mixers: layers that turn a learned prompt and the domain's bias into the prompt that enters a tower."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.methods.parts.quaternions import QuaternionLinear


class Mixer(nn.Module):
    """Base of the mixers: (prompt (n, D), bias (B, D)) to (B, n, outputs), or without a bias to (n, outputs)."""

    def forward(self, prompt: Tensor, bias: Tensor | None) -> Tensor:
        """Return the mixed prompts."""
        raise NotImplementedError

    def start_at_zero(self) -> None:
        """Make the output zero, until training moves the last layer."""
        last = [module for module in self.modules() if isinstance(module, nn.Linear | QuaternionLinear)][-1]
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)


class DenseMixer(Mixer):
    """W (P + b) + c with a full matrix: (D + 1) outputs numbers."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(width, outputs))

    def forward(self, prompt: Tensor, bias: Tensor | None) -> Tensor:
        """Return the mixed prompts."""
        return self.layer(_shift(prompt, bias))


class BottleneckMixer(Mixer):
    """U V (P + b) + c, as narrow between as makes it equal in size to a quaternion layer on (0, P + b).

    It holds about D outputs / 2 + outputs numbers: the control for what the quaternion structure brings.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        between = max(1, round(width * outputs / 2 / (width + outputs)))
        self.layer = nn.Sequential(nn.Linear(width, between, bias=False), nn.Linear(between, outputs))

    def forward(self, prompt: Tensor, bias: Tensor | None) -> Tensor:
        """Return the mixed prompts."""
        return self.layer(_shift(prompt, bias))


class PaddedQuaternionMixer(Mixer):
    """W q + c with q = [0 | P + b] as the released code has it: the real part and i are zero, j and k hold halves."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layer = QuaternionLinear(2 * width, outputs)

    def forward(self, prompt: Tensor, bias: Tensor | None) -> Tensor:
        """Return the mixed prompts."""
        j, k = _shift(prompt, bias).chunk(2, dim=-1)
        return self.layer(j=j, k=k)


class AxesQuaternionMixer(Mixer):
    """W q + c with q = P + b i: text on the real axis, vision on an imaginary one, so that the product relates them."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layer = QuaternionLinear(4 * width, outputs)

    def forward(self, prompt: Tensor, bias: Tensor | None) -> Tensor:
        """Return the mixed prompts."""
        return self.layer(r=prompt) if bias is None else self.layer(r=prompt, i=bias[:, None])


MIXERS: dict[str, type[Mixer]] = {
    "dense": DenseMixer,
    "bottleneck": BottleneckMixer,
    "quaternion-padded": PaddedQuaternionMixer,
    "quaternion-axes": AxesQuaternionMixer,
}


def make_mixer(name: str, width: int, outputs: int, device: torch.device, zero: bool) -> Mixer:
    """Return a mixer from prompts of one width to prompts of another; `zero` starts it at zero."""
    mixer = MIXERS[name](width, outputs)
    if zero:
        mixer.start_at_zero()
    return mixer.to(device)


def _shift(prompt: Tensor, bias: Tensor | None) -> Tensor:
    return prompt if bias is None else prompt + bias[:, None]
