"""Distances to hyperplanes of hyperbolic space, which its linear layers are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from immersion.core.scalars import safe_length
from immersion.known.hyperbolic.boundary import gap

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Largest sqrt(c) offset: beyond it the gradient of asinh, and soon sinh, overflow in float64. The
#: points that a float64 ball stores are no farther than 36 from the origin.
FARTHEST = 300.0


def scores(
    x: Float[Tensor, "*b n"],
    weight: Float[Tensor, "k n"],
    offset: Float[Tensor, " k"] | None,
    c: float | Tensor,
) -> Float[Tensor, "*b k"]:
    """|w_k| times the signed distance of x from hyperplane k, x in the Poincare ball.

    The hyperplane is orthogonal to w_k at the signed distance `offset[k]` from the origin. With
    l = 2/(1 - c|x|^2) the distance is asinh(sqrt(c) l <x, w/|w|> cosh(o) - (l - 1) sinh(o)) /
    sqrt(c), o = sqrt(c) offset: no logarithm of a quotient, so nothing overflows on the way to the
    boundary, and the sign costs no digits. A weight of zero scores zero.

    Source: Ganea, Becigneul and Hofmann 2018, arXiv:1805.09112; in this form Shimizu, Mukuta and
    Harada 2021, arXiv:2006.08210, whose z_k is w_k / 2 and r_k is offset[k] / 2.
    """
    length = safe_length(weight)
    along = x @ weight.mT / torch.where(length > 0, length, 1)
    root = c**0.5
    factor = 2 / gap(x, c)
    argument = root * factor * along.double()
    if offset is not None:
        shift = (root * offset.double()).clamp(-FARTHEST, FARTHEST)
        argument = argument * torch.cosh(shift) - (factor - 1) * torch.sinh(shift)
    return (length * torch.asinh(argument) / root).to(x.dtype)
