"""Scalar functions in forms that keep their accuracy, and their gradient, in the hard places.

Written straight, each of these loses digits or yields NaN where it matters most: at zero, where
points coincide. Where a branch is needed, both sides are evaluated on arguments that are safe for
them (the "double where"), since a NaN in the side not taken still poisons the gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Below this argument the quotients are summed as series: there the derivative of the quotient
#: cancels, and loses eps / t of its digits.
SMALL = 0.5


def safe_sqrt(a: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """sqrt(max(a, 0)), whose derivative at zero and below is zero and not infinite."""
    positive = ~(a <= 0)  # NaN stays NaN
    return torch.where(positive, torch.sqrt(torch.where(positive, a, 1)), 0)


def safe_length(a: Float[Tensor, "*b n"], *, keepdim: bool = False) -> Float[Tensor, "*b"]:
    """Euclidean length along the last axis, with all derivatives zero at the zero vector.

    Scaled by the largest entry first, so that neither 1e-30 nor 1e30 is lost in float32.
    """
    scale = a.detach().abs().amax(-1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1)
    length = scale * safe_sqrt((a / scale).square().sum(-1, keepdim=True))
    return length if keepdim else length.squeeze(-1)


def sinc(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """sin(t) / t, 1 at zero. torch.sinc has the value but loses digits of the derivative."""
    small = t.abs() < SMALL
    safe = torch.where(small, 1, t)
    return torch.where(small, _series(-torch.where(small, t, 0).square()), torch.sin(safe) / safe)


def sinhc(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """sinh(t) / t, 1 at zero."""
    small = t.abs() < SMALL
    safe = torch.where(small, 1, t)
    return torch.where(small, _series(torch.where(small, t, 0).square()), torch.sinh(safe) / safe)


def versinc(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """(1 - cos t) / t^2 without cancellation, 1/2 at zero."""
    return sinc(t / 2).square() / 2


def _series(square: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Sum of s^k / (2k + 1)!, k to 7: sinhc of the root of s, sinc where s is negative.

    The first term left out is below 1e-19 for |s| <= SMALL^2.
    """
    total = torch.ones_like(square)
    for k in range(7, 0, -1):
        total = 1 + square * total / (2 * k * (2 * k + 1))
    return total
