"""The closed forms of the Poincare ball, arranged so that nothing cancels.

With d = y - x and the gap g(x) = 1 - c|x|^2 the textbook expressions, differences of numbers near
1, become sums of positive terms:

    1 - 2c<x,y> + c^2 |x|^2 |y|^2  =  g(x) g(y) + c|d|^2,
    1 - 2c<x,y> + c|y|^2           =  g(x) + c|d|^2.

Everything here takes float64 tensors, gaps of shape (*b, 1), and c > 0.
Source: Ungar 2008, A Gyrovector Space Approach to Hyperbolic Geometry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from immersion.core.scalars import safe_length
from immersion.known.hyperbolic.quotients import asinhc, sech_squared, tanhc

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def moebius_sum(
    x: Float[Tensor, "*b n"],
    y: Float[Tensor, "*b n"],
    gap_x: Float[Tensor, "*b 1"],
    gap_y: Float[Tensor, "*b 1"],
    c: float | Tensor,
) -> Float[Tensor, "*b n"]:
    """x (+) y = x + g(x) (y + c|y|^2 x) / (g(x) g(y) + c|x+y|^2)."""
    denominator = gap_x * gap_y + c * _dot(x + y, x + y)
    return x + gap_x / denominator * (y + c * _dot(y, y) * x)


def exponential(
    x: Float[Tensor, "*b n"],
    u: Float[Tensor, "*b n"],
    gap_x: Float[Tensor, "*b 1"],
    c: float | Tensor,
) -> Float[Tensor, "*b n"]:
    """x (+) w for w = tanh(t) u / (sqrt(c)|u|), t = sqrt(c)|u| / g(x) half the length of u.

    g(w) = sech(t)^2 is known better than from w.
    """
    t = c**0.5 * safe_length(u, keepdim=True) / gap_x
    return moebius_sum(x, tanhc(t) / gap_x * u, gap_x, sech_squared(t), c)


def separation(
    d: Float[Tensor, "*b n"],
    gap_x: Float[Tensor, "*b 1"],
    gap_y: Float[Tensor, "*b 1"],
    c: float | Tensor,
) -> Float[Tensor, "*b 1"]:
    """sinh of half the distance: sqrt(c)|d| / sqrt(g(x) g(y))."""
    return c**0.5 * safe_length(d, keepdim=True) / (gap_x * gap_y).sqrt()


def logarithm(
    x: Float[Tensor, "*b n"],
    d: Float[Tensor, "*b n"],
    gap_x: Float[Tensor, "*b 1"],
    gap_y: Float[Tensor, "*b 1"],
    c: float | Tensor,
) -> Float[Tensor, "*b n"]:
    """asinh(z)/z / sqrt(1 + z^2) (g(x) d - c|d|^2 x) / g(y), z = sinh of half the distance.

    The two terms in brackets cancel by a factor of 3 at most, for x and y in the ball.
    """
    z = separation(d, gap_x, gap_y, c)
    scale = asinhc(z) / ((1 + z.square()).sqrt() * gap_y)
    return scale * (gap_x * d - c * _dot(d, d) * x)


def transported(
    x: Float[Tensor, "*b n"],
    d: Float[Tensor, "*b n"],
    v: Float[Tensor, "*b n"],
    gap_x: Float[Tensor, "*b 1"],
    gap_y: Float[Tensor, "*b 1"],
    c: float | Tensor,
) -> Float[Tensor, "*b n"]:
    """Parallel transport of v from x to x + d: g(y)/g(x) gyr[y, -x] v."""
    square = c * _dot(d, d)
    xv, dv = _dot(x, v), _dot(d, v)
    along_x = dv * gap_x - xv * square
    along_d = xv * (gap_y + square) + c * _dot(x, x) * dv
    turned = v + 2 * c / (gap_x * gap_y + square) * (along_x * x - along_d * d)
    return gap_y / gap_x * turned


def shortened(x: Float[Tensor, "*b n"], largest: float, c: float | Tensor) -> Float[Tensor, "*b n"]:
    """x where sqrt(c)|x| is at most `largest`, else brought to that."""
    length = safe_length(x, keepdim=True)
    limit = largest * c**-0.5
    outside = length > limit
    return torch.where(outside, limit / torch.where(outside, length, 1), 1) * x


def _dot(u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    return (u * v).sum(-1, keepdim=True)
