"""How far a point of the ball is from its boundary, to the last digits, and how near it may come.

Everything in the Poincare ball divides by 1 - c|x|^2. In the coordinates' own precision that
difference is noise long before the points are: at |x| = 1 - 1e-6 a float32 sum leaves 10 % of error
and a float64 sum 1e-10. `gap` gives it to rounding, from the coordinates as they are stored.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from immersion.known.hyperbolic.rows import as_rows

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Points are kept at norms up to (1 - MARGIN eps) / sqrt(c), eps of their dtype. Rounding a
#: point, or scaling it, moves its norm by at most eps: it stays strictly inside.
MARGIN = 4


def gap(x: Float[Tensor, "*b n"], c: float | Tensor) -> Float[Tensor, "*b 1"]:
    """1 - c|x|^2 in float64, correct to rounding for the stored x.

    At least 2 eps of the dtype of x: a point on the boundary or outside, where no hyperbolic point
    is, counts as one just inside it, with gradient zero.
    """
    least = least_gap(x.dtype)
    rows = as_rows(x)
    if rows is not None and isinstance(c, float):
        from immersion.known.hyperbolic.kernels import gap_rows  # numba takes 0.3 s to import

        gaps = torch.empty(*x.shape[:-1], 1, dtype=torch.float64)
        gap_rows(rows[0], c, split_grid(c), least, gaps.view(-1).numpy())
        return gaps
    inside = _gap64(x, c) if x.dtype == torch.float64 else 1 - c * _squares(x.double())
    return inside.clamp_min(least)


def least_gap(dtype: torch.dtype) -> float:
    """The gap that a point on the boundary or outside is given: 2 eps."""
    return 2 * torch.finfo(dtype).eps


def largest_norm(dtype: torch.dtype) -> float:
    """Largest norm of sqrt(c) x that is stored: 1 - 4.8e-7 in float32, 1 - 8.9e-16 in float64."""
    return 1 - MARGIN * torch.finfo(dtype).eps


def _squares(x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    return x.square().sum(-1, keepdim=True)


def _gap64(x: Float[Tensor, "*b n"], c: float | Tensor) -> Float[Tensor, "*b 1"]:
    """1 - c|x|^2 for float64, with an absolute error of 1e-22 instead of 1e-16.

    The coordinates are split as x = high + low on a grid of 2^-26 times the ball's radius. The
    squares of `high` are multiples of 2^-52 whose sum stays below 2, so that sum is exact in any
    order; the rest, low (x + high), is 2^26 times smaller and so is its rounding. The derivative
    comes out right by itself, as that of `high` is zero.
    """
    if isinstance(c, torch.Tensor):
        grid = torch.exp2(torch.ceil(-torch.log2(c.detach()) / 2) - 26)
    else:
        grid = split_grid(c)
    high = torch.round(x / grid) * grid
    low = x - high
    rest = (low * (x + high)).sum(-1, keepdim=True)
    square = _squares(high)
    return (1 - c * square) - (_product_error(c, square) + c * rest)


def split_grid(c: float) -> float:
    """2^-26 times the power of two at or above 1 / sqrt(c)."""
    return math.ldexp(1, math.ceil(-math.log2(c) / 2) - 26)


def _product_error(c: float | Tensor, square: Float[Tensor, "*b 1"]) -> Tensor | float:
    """The rounding error of c * square, exact but for its last bits (Dekker 1971)."""
    s = square.detach()
    if isinstance(c, torch.Tensor):
        fixed = c.detach()
    elif math.frexp(c)[0] == 0.5:
        return 0.0  # powers of two multiply exactly
    else:
        fixed = s.new_full((), c)
    c1, s1 = upper_half(fixed), upper_half(s)
    c2, s2 = fixed - c1, s - s1
    return ((c1 * s1 - fixed * s) + c1 * s2 + c2 * s1) + c2 * s2


def upper_half(a: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The first 26 bits of a float64."""
    shifted = 134217729.0 * a
    return shifted - (shifted - a)
