"""Bounded and inverse hyperbolic functions, over their argument, with true derivatives at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from immersion.core.scalars import SMALL

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Below this argument the quotients are summed as series of four terms, whose remainder is below
#: 3e-18. Above it their first derivatives keep 12 digits in float64.
NEAR = 1e-2


def tanhc(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """tanh(t) / t for t >= 0."""
    near = t < NEAR
    far = torch.where(near, 1, t)
    return torch.where(near, _series(t, -1 / 3, 2 / 15, -17 / 315), torch.tanh(far) / far)


def asinhc(z: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """asinh(z) / z for z >= 0."""
    near = z < NEAR
    far = torch.where(near, 1, z)
    return torch.where(near, _series(z, -1 / 6, 3 / 40, -5 / 112), torch.asinh(far) / far)


def sech_squared(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """1 - tanh(t)^2 for t >= 0, to rounding, and without overflow."""
    decay = torch.exp(-2 * t)
    return 4 * decay / (1 + decay).square()


def _series(t: Float[Tensor, "*b"], a: float, b: float, c: float) -> Float[Tensor, "*b"]:
    """1 + a t^2 + b t^4 + c t^6, of the least argument that matters: it must not overflow."""
    square = t.clamp_max(NEAR).square()
    return 1 + square * (a + square * (b + square * c))


def excess(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """(sinh(t) / t - 1) / t^2, 1/6 at zero."""
    near = t.abs() < SMALL
    square = torch.where(near, t, 0).square()
    total = torch.ones_like(square)
    for k in range(8, 1, -1):
        total = 1 + square * total / (2 * k * (2 * k + 1))
    far = torch.where(near, 1, t)
    return torch.where(near, total / 6, (torch.sinh(far) / far - 1) / far.square())
