"""The polar factor of a matrix by matrix products alone.

An odd polynomial of a matrix, X (a + b X^T X + c (X^T X)^2), acts on its singular values and leaves
its singular vectors. A few of them in turn bring all singular values near 1, and that is the polar
factor. No factorisation is needed, so it runs at the speed of products, also in bfloat16.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from immersion.core.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Singular values below this share of the largest are not promised to reach 1.
LOWEST = 1e-2

#: From this width on the interval is a point to double precision, and the best polynomial is its
#: limit, that of Newton and Schulz.
NARROW = 1e-5

#: Polynomials before the last read 1% more than the interval, for in bfloat16 a singular value can
#: be rounded past its end, where a polynomial made for the interval grows fast.
SAFETY = 1.01


@cache
def sign_polynomials(
    iterations: int, lowest: float = LOWEST
) -> tuple[tuple[float, float, float], ...]:
    """Coefficients (a, b, c) of the odd polynomials a t + b t^3 + c t^5, in the order of use.

    Each is the best approximation to 1, in the largest error, on the interval to which those
    before it bring [lowest, 1]; their composition is then the best there is (Amsel, Persson, Musco
    and Gower, "The Polar Express", 2505.16932, theorem 4.1). From [0.01, 1] the largest error after
    1 to 5 of them is 0.92, 0.71, 0.28, 0.020 and 2.3e-5, `SAFETY` included.

    Args:
        iterations: how many, at least 1.
        lowest: smallest singular value to bring to 1, as a share of the largest; in (0, 1).

    Raises:
        InputError: an argument out of range.
    """
    if iterations < 1 or not 0 < lowest < 1:
        raise InputError(
            "sign_polynomials needs at least 1 iteration and 0 < lowest < 1, not "
            f"{iterations} and {lowest}"
        )
    low, high = lowest, 1.0
    found: list[tuple[float, float, float]] = []
    for left in range(iterations - 1, -1, -1):
        if high - low < NARROW:
            found.append((15 / 8, -10 / 8, 3 / 8))
            continue
        a, b, c, error = _best_polynomial(low, high)
        margin = SAFETY if left else 1.0
        found.append((a / margin, b / margin**3, c / margin**5))
        low, high = 1 - error, 1 + error
    return tuple(found)


def _best_polynomial(low: float, high: float) -> tuple[float, float, float, float]:
    """Coefficients and largest error on [low, high], by the exchange of Remez.

    The error of the best one has four extrema of equal size and alternating sign: both ends of the
    interval and the two roots of the derivative, which the iteration moves to their places.
    """
    inner = ((3 * low + high) / 4, (low + 3 * high) / 4)
    a = b = c = error = 0.0
    for _ in range(50):
        t = np.array([low, *inner, high])
        rows = np.stack([t, t**3, t**5, [1, -1, 1, -1]], axis=1)
        a, b, c, error = (float(value) for value in np.linalg.solve(rows, np.ones(4)))
        root = (9 * b * b - 20 * a * c) ** 0.5
        before, inner = (
            inner,
            (((-3 * b - root) / (10 * c)) ** 0.5, ((-3 * b + root) / (10 * c)) ** 0.5),
        )
        if max(abs(inner[0] - before[0]), abs(inner[1] - before[1])) < 1e-14:
            break
    return a, b, c, abs(error)


def matrix_sign(matrix: Float[Tensor, "*b m n"], iterations: int = 5) -> Float[Tensor, "*b m n"]:
    """Nearly U V^T for a matrix U S V^T: its singular values brought to 1, zero left at zero.

    After 5 iterations singular values from 1% of the largest on are within 2.3e-5 of 1, and smaller
    ones between 0 and that; each further iteration takes in those 1.9 times smaller. No singular
    value exceeds 1 by more than that error. The largest one is bounded by (sum s^4)^(1/4), which is
    between 1 and n^(1/4) times too large. float32 on a CUDA device is computed in bfloat16, which
    costs an error of about 5e-3.

    Costs `iterations` times two products with the matrix and one of its Gram matrix.

    Args:
        matrix: (*b, m, n), any shape.
        iterations: polynomials in turn, at least 1.

    Example:
        >>> from immersion.optim.orthogonal.matrix_sign import matrix_sign
        >>> matrix_sign(torch.tensor([[3.0, 0.0], [0.0, -0.1]])).round(decimals=3)
        tensor([[ 1.,  0.],
                [ 0., -1.]])
    """
    if matrix.shape[-2] < matrix.shape[-1]:
        return matrix_sign(matrix.mT, iterations).mT
    x = matrix.reshape(-1, *matrix.shape[-2:])
    largest = x.abs().amax((-2, -1), keepdim=True)
    x = x / torch.where(largest > 0, largest, 1)
    bound = _frobenius(x.mT @ x).sqrt()
    x = x / torch.where(bound > 0, bound, 1)
    if x.is_cuda and x.dtype == torch.float32:
        x = x.to(torch.bfloat16)
    for a, b, c in sign_polynomials(iterations):
        gram = x.mT @ x
        x = torch.baddbmm(x, x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), beta=a)
    return x.to(matrix.dtype).reshape(matrix.shape)


def _frobenius(a: Float[Tensor, "k m n"]) -> Float[Tensor, "k 1 1"]:
    return cast("Tensor", torch.linalg.vector_norm(a, dim=(-2, -1), keepdim=True))
