"""What distance ratios say about d points in a ball: the bias of a boundary, undone.

In d dimensions n points lie within O(n^{-1/d}) of a boundary or of each other's antipodes, so a
neighbourhood is never a small part of the manifold when n is not exponential in d, and ratio
estimates fall short. For the uniform d-ball the mean log-ratio is known in closed form up to two
integrals, and the dimension at which it equals the observed one is free of that bias for a ball,
and nearly so for other convex bodies.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import betainc

_CENTRES, _RADII = 24, 240
"""Nodes of the two integrals: their relative error is below 2e-4 for d up to 200."""

_LARGEST = 500.0
"""Dimensions above this one are not told apart."""


@lru_cache(maxsize=512)
def ball_log_ratio(d: float, n: int, near: int, far: int) -> float:
    """E[log(r_far / r_near)], neighbour distances of n uniform points in the unit d-ball.

    Given the point x, the share p(r) of the ball within r of x makes the number of neighbours
    within r binomial, so E[log(r_far / r_near)] = int P(near <= Bin(n - 1, p(r)) < far) dlog r,
    averaged over x.

    Example:
        >>> round(ball_log_ratio(1.0, 10**6, 1, 2), 4)  # 1 / d where the boundary is far
        1.0
        >>> round(1 / ball_log_ratio(20.0, 2000, 1, 2), 1)
        16.3
    """
    nodes, weights = np.polynomial.legendre.leggauss(_CENTRES)
    # The radius of x has density d rho^{d - 1}; its d-th power is uniform.
    rho = ((nodes + 1) / 2)[:, None] ** (1 / d)
    low = (math.log(1e-6 / n)) / d
    t = np.linspace(low, math.log(2), _RADII)
    share = _share_within(rho, np.exp(t)[None, :], d)
    if far == near + 1 == 2:
        between = (n - 1) * share * (1 - share) ** (n - 2)
    else:
        between = betainc(near, n - near, share) - betainc(far, n - far, share)
    inner = (t[1] - t[0]) * (between.sum(axis=1) - (between[:, 0] + between[:, -1]) / 2)
    return float(weights / 2 @ inner)


def calibrated(mean_log_ratio: float, n: int, near: int = 1, far: int = 2) -> float:
    """The dimension of the uniform ball whose n points have the observed mean log-ratio.

    Infinite above 500.

    Example:
        >>> round(calibrated(ball_log_ratio(24.0, 1000, 1, 2), 1000), 3)
        24.0
    """

    def excess(log_d: float) -> float:
        return math.log(ball_log_ratio(math.exp(log_d), n, near, far) / mean_log_ratio)

    low, high = math.log(0.05), math.log(_LARGEST)
    if excess(high) > 0:
        return math.inf
    if excess(low) < 0:
        return 0.05
    root = cast("float", optimize.brentq(excess, low, high, xtol=1e-6))
    return math.exp(root)


def _share_within(
    rho: NDArray[np.float64], r: NDArray[np.float64], d: float
) -> NDArray[np.float64]:
    """Share of the unit d-ball within r of a point at distance rho from its centre.

    The two spheres meet in a hyperplane, which cuts a cap off each ball.
    """
    plane = (rho**2 + 1 - r**2) / (2 * rho)
    unit = _cap(np.clip(plane, -1, 1), d)
    other = _cap(np.clip((rho - plane) / r, -1, 1), d)
    inside = unit + r**d * other
    return np.where(r >= 1 + rho, 1.0, np.where(r <= 1 - rho, r**d, np.minimum(inside, 1)))


def _cap(height: NDArray[np.float64], d: float) -> NDArray[np.float64]:
    """Share of the unit d-ball beyond a hyperplane at the signed distance `height`."""
    half: NDArray[np.float64] = betainc((d + 1) / 2, 0.5, 1 - height**2) / 2
    return np.where(height >= 0, half, 1 - half)
