"""Draws from densities that are volumes of manifolds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def by_inverse(
    rng: np.random.Generator,
    n: int,
    low: float,
    high: float,
    cumulative: Function,
    density: Function,
) -> NDArray[np.float64]:
    """n numbers in [low, high] whose density is proportional to `density`.

    Exact to rounding: the increasing integral of the density is inverted by Newton steps, halving
    the bracket where a step leaves it.
    """
    ends = cumulative(np.array([low, high]))
    target = rng.uniform(ends[0], ends[1], n)
    below, above = np.full(n, low), np.full(n, high)
    x = low + (high - low) * (target - ends[0]) / (ends[1] - ends[0])
    for _ in range(200):
        error = cumulative(x) - target
        below, above = np.where(error <= 0, x, below), np.where(error >= 0, x, above)
        step = x - error / np.maximum(density(x), 1e-300)
        inside = (step >= below) & (step <= above)
        following = np.where(inside, step, (below + above) / 2)
        moved = np.abs(following - x).max(initial=0.0)
        x = following
        if moved <= 4e-16 * max(abs(low), abs(high)):
            break
    return x


def by_rejection(
    rng: np.random.Generator,
    n: int,
    propose: Callable[[int], NDArray[np.float64]],
    density: Function,
    most: float,
) -> NDArray[np.float64]:
    """n rows drawn with odds by `density`, which is at most `most`, among proposals."""
    kept: list[NDArray[np.float64]] = []
    missing = n
    while missing > 0:
        rows = propose(max(1024, 2 * missing))
        accepted = rows[rng.uniform(0, most, len(rows)) < density(rows)]
        kept.append(accepted[:missing])
        missing -= len(kept[-1])
    return np.concatenate(kept)


def directions(rng: np.random.Generator, n: int, width: int) -> NDArray[np.float64]:
    """n unit vectors (n, width), uniform on the sphere."""
    vectors = rng.normal(size=(n, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def in_ball(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float64]:
    """n points (n, dim), uniform in the unit ball."""
    return directions(rng, n, dim) * rng.uniform(size=(n, 1)) ** (1 / dim)
