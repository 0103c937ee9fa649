"""The largest empty cap of a patch: how far a patch is from being full on all sides.

In the interior of a manifold the k neighbours of a point fill a ball evenly. At distance t from a
boundary nothing lies beyond a plane at distance t. For every direction v the plane at
s(v) = max_j u_j . v cuts off an empty cap; the largest one measures the boundary. Its likelihood
ratio against a full ball is (1 - share)^-k, where share is the cap's share of the ball, so
-k log(1 - share) has an exponential tail.

Where the density falls towards the cap, fewer neighbours are expected there: the share is then that
of the thinned mass, for the slope of the log density that the neighbours' own radii give.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import beta, betainc

from immersion.core.chunking import row_chunks

if TYPE_CHECKING:
    Array = NDArray[np.float64]

_DRAWS = 20_000
"""Patches simulated for the null distribution; beyond its last percent the tail is exponential."""

_TAIL = 0.01
_GRID, _STEEPEST = 400, 5.0
_STEPS = 24
"""Steps that turn the best direction; the same for the data and for the null."""


def cap_share(s: Array, dim: int) -> Array:
    """Share of the unit ball's volume where the first coordinate exceeds s.

    Example:
        >>> cap_share(np.array([-1.0, 0.0, 0.5, 2.0]), 3).round(6).tolist()
        [1.0, 0.5, 0.15625, 0.0]
    """
    at = np.clip(s, -1, 1)
    half: Array = 0.5 * betainc((dim + 1) / 2, 0.5, 1 - at * at)
    return np.where(at < 0, 1 - half, half)


def thinned_share(s: Array, slope: Array, dim: int) -> Array:
    """Share of the cap beyond s (m,) where the log density falls by -slope (m,) a radius.

    Densities that rise towards the cap count as even: they make a void no less likely. A fall of
    more than 5 is taken for 5, which a patch no longer tells from a boundary.

    Example:
        >>> s, slope = np.zeros(3), np.array([1.0, 0.0, -1.0])
        >>> thinned_share(s, slope, 2).round(3).tolist()
        [0.5, 0.5, 0.299]
    """
    grid = (2 * np.arange(_GRID) + 1) / _GRID - 1
    even = section(grid, dim)
    fall = np.clip(np.nan_to_num(slope), -_STEEPEST, 0)
    found = np.empty(len(s))
    for part in row_chunks(len(s), 24 * _GRID, 1 << 26):
        mass = np.zeros((len(fall[part]), _GRID + 1))
        np.cumsum(even * np.exp(fall[part, None] * grid), axis=1, out=mass[:, 1:])
        place = (np.clip(s[part], -1, 1) + 1) / 2 * _GRID
        below = np.minimum(place.astype(np.int64), _GRID - 1)
        rows = np.arange(len(mass))
        low, high = mass[rows, below], mass[rows, below + 1]
        found[part] = 1 - (low + (place - below) * (high - low)) / mass[:, -1]
    return np.where(fall < 0, found, cap_share(s, dim))


def section(s: Array, dim: int) -> Array:
    """Density of the first coordinate at s of a uniform point of the unit ball.

    Example:
        >>> section(np.array([0.0, 0.6, 1.0]), 3).round(6).tolist()
        [0.75, 0.48, 0.0]
    """
    flat = np.maximum(1 - np.clip(s, -1, 1) ** 2, 0) ** ((dim - 1) / 2)
    return flat / beta((dim + 1) / 2, 0.5)


def largest_caps(u: Array) -> tuple[Array, Array]:
    """Least extent s (m,) over directions, and the unit direction (m, d), of patches u (m, k, d).

    Directions tried are those of the neighbours and their opposites; the best is then turned away
    from the neighbour that limits it while that helps. So the result turns with the patch.

    Cost: 4 k^2 d flops a patch.
    """
    extent, direction = np.empty(len(u)), np.empty((len(u), u.shape[2]))
    _search(np.ascontiguousarray(u), _STEPS, extent, direction)
    return extent, direction


@dataclass(frozen=True, eq=False)
class VoidNull:
    """Null distribution of -k log(1 - share of the largest empty cap).

    Attributes:
        sorted: values of simulated full patches, ascending.
        start: where the exponential tail begins.
        scale: mean excess over `start`.
    """

    sorted: Array
    start: float
    scale: float

    def p_values(self, statistic: Array) -> Array:
        """Share of full patches with at least this value; NaN stays NaN."""
        n = len(self.sorted)
        above = n - np.searchsorted(self.sorted, statistic, side="left")
        tail = _TAIL * np.exp(-np.maximum(statistic - self.start, 0) / self.scale)
        p = np.where(statistic > self.start, tail, (above + 1) / (n + 1))
        return np.where(np.isnan(statistic), np.nan, np.minimum(p, 1))


def void_statistic(share: Array, k: int) -> Array:
    """-k log(1 - share), at most what 1e-12 of the ball left gives."""
    return -k * np.log(np.maximum(1 - share, 1e-12))


@functools.lru_cache(maxsize=64)
def void_null(dim: int, k: int, seed: int) -> VoidNull:
    """Null for k neighbours in dimension dim: uniform in the ball, the furthest on its rim."""
    rng = np.random.default_rng([seed, dim, k])
    values = np.empty(_DRAWS)
    step = max(1, (1 << 22) // (k * dim))
    for start in range(0, _DRAWS, step):
        m = min(step, _DRAWS - start)
        u = rng.normal(size=(m, k, dim))
        u /= np.linalg.norm(u, axis=2, keepdims=True)
        u[:, 1:] *= rng.uniform(size=(m, k - 1, 1)) ** (1 / dim)
        values[start : start + m] = void_statistic(cap_share(largest_caps(u)[0], dim), k)
    values.sort()
    begin = float(values[round((1 - _TAIL) * _DRAWS)])
    return VoidNull(values, begin, float((values[values > begin] - begin).mean()))


@numba.njit(cache=True, nogil=True)
def _extent(patch: NDArray[np.float64], v: NDArray[np.float64]) -> tuple[float, int]:
    most, who = -np.inf, 0
    for j in range(len(patch)):
        along = 0.0
        for axis in range(len(v)):
            along += patch[j, axis] * v[axis]
        if along > most:
            most, who = along, j
    return most, who


@numba.njit(cache=True, nogil=True)
def _search(
    u: NDArray[np.float64],
    steps: int,
    extent: NDArray[np.float64],
    direction: NDArray[np.float64],
) -> None:
    dim = u.shape[2]
    trial = np.empty(dim)
    best = np.empty(dim)
    for i in range(len(u)):
        patch = u[i]
        least, limit = np.inf, 0
        best[:] = 0.0
        for j in range(len(patch)):
            size = 0.0
            for axis in range(dim):
                size += patch[j, axis] ** 2
            if size == 0.0:
                continue
            for sign in (1.0, -1.0):
                for axis in range(dim):
                    trial[axis] = sign * patch[j, axis] / np.sqrt(size)
                most, who = _extent(patch, trial)
                if most < least:
                    least, limit = most, who
                    best[:] = trial
        pace = 0.5
        for _ in range(steps if dim > 1 else 0):
            size = 0.0
            for axis in range(dim):
                trial[axis] = best[axis] - pace * (patch[limit, axis] - least * best[axis])
                size += trial[axis] ** 2
            trial /= np.sqrt(size)
            most, who = _extent(patch, trial)
            if most < least:
                least, limit = most, who
                best[:] = trial
            else:
                pace *= 0.5
        extent[i] = least
        direction[i] = best
