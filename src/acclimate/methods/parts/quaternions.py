"""Quaternion layers: linear maps whose weights and inputs are multiplied as quaternions.

A vector of width 4d holds d quaternions r + i i + j j + k k as four quarters [r | i | j | k]. With the rules
i² = j² = k² = ijk = -1 the product of units a and b, counted 0 to 3 for 1, i, j, k, is the unit a xor b with a sign:

          1   i   j   k
     1    1   i   j   k
     i    i  -1   k  -j
     j    j  -k  -1   i
     k    k   j  -i  -1

Source: Hamilton 1843; as layers Parcollet et al. 2019 (arXiv 1806.04418), section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from acclimate.errors import ConfigError

SIGN = ((1, 1, 1, 1), (1, -1, 1, -1), (1, -1, -1, 1), (1, 1, -1, -1))  # of the product of two units, by row and column


def hamilton_product(p: Tensor, q: Tensor) -> Tensor:
    """Return the quaternion product p q; it is associative and distributive, but p q is not q p.

    Args:
        p, q: (..., 4, d) d quaternions each, components 1, i, j, k; shapes broadcast.

    Returns:
        (..., 4, d).
    """
    components = [
        torch.stack([SIGN[a][a ^ c] * p[..., a, :] * q[..., a ^ c, :] for a in range(4)]).sum(dim=0) for c in range(4)
    ]
    return torch.stack(components, dim=-2)


class QuaternionLinear(nn.Module):
    """y = W x + bias, with quaternions for the entries of W and x, in any of their four components.

    A quarter as many weights as in a real layer: each is used four times, with the signs of the Hamilton product. The
    four components of one weight start with a random phase around a random axis, at the scale of Glorot: real part
    m cos t, imaginary part m sin t v, with m from a chi distribution of four degrees of freedom times s, t uniform in
    (-pi, pi), v a random unit vector and s = 1 / sqrt(2 (inputs + outputs) / 4). The bias starts at zero.
    Source: Parcollet et al. 2019 (arXiv 1806.04418), sections 3.2 and 3.4.

    Args:
        inputs, outputs: widths, multiples of four.
        device: where the weights are made.

    Raises:
        ConfigError: a width that does not divide by four.
    """

    def __init__(self, inputs: int, outputs: int, device: torch.device | None = None) -> None:
        super().__init__()
        for width in (inputs, outputs):
            if width % 4:
                raise ConfigError(
                    f"quaternions have four components, and a width of {width} does not divide by four; use mixer=dense"
                )
        weight = _random_quaternions(inputs // 4, outputs // 4)
        self.weight = nn.Parameter(weight.to(device))  # (4, inputs / 4, outputs / 4)
        self.bias = nn.Parameter(torch.zeros(outputs, device=device))

    def forward(self, **components: Tensor) -> Tensor:
        """Return y (..., outputs).

        Args:
            components: any of r, i, j, k, each (..., inputs / 4); those left out are zero and cost nothing.
        """
        return sum((values @ self.block(name) for name, values in components.items()), start=self.bias)

    def block(self, component: str) -> Tensor:
        """Return the real matrix (inputs / 4, outputs) that maps one component of x to all four of y."""
        b = "rijk".index(component)
        return torch.cat([SIGN[b ^ c][b] * self.weight[b ^ c] for c in range(4)], dim=-1)


def _random_quaternions(inputs: int, outputs: int) -> Tensor:
    """Draw weights (4, inputs, outputs)."""
    shape = (inputs, outputs)
    modulus = torch.randn(4, *shape).square().sum(dim=0).sqrt() / math.sqrt(2 * (inputs + outputs))
    phase = (torch.rand(shape) * 2 - 1) * math.pi
    axis = nn.functional.normalize(torch.randn(3, *shape), dim=0)
    return torch.cat([(modulus * phase.cos())[None], modulus * phase.sin() * axis])
